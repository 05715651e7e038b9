"""Schedules that are declared, in code or in a settings file, and brought about at start: made, changed and removed."""

import logging
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from naq_core._settings_file import read_settings_file
from naq_core.errors import ConfigurationError, EncodeError, InvalidScheduleError, ScheduleNotFoundError
from naq_core.functions import function_name, import_function, importable_name
from naq_core.job import Job
from naq_core.option_set import OptionSet
from naq_core.schedules.firing import sealed
from naq_core.schedules.spec import ScheduleSpec, make_named_spec, make_spec
from naq_core.schedules.store import delete_schedule, list_schedule_documents, put_schedule
from naq_core.settings import Settings
from naq_core.storage.connection import Connection

log = logging.getLogger(__name__)

FILE_ORIGIN = "naq.toml"

_TOML_NAMES = {list: "list", dict: "table", str: "text"}
_declared: dict[str, "Declaration"] = {}


class Declaration(msgspec.Struct, frozen=True):
    """What `@task(cron=…)` has noted; made into a schedule when settings are known."""

    function: Callable[..., Any]
    job_options: OptionSet
    options: dict[str, Any]

    @property
    def origin(self) -> str:
        """The module that declares it."""
        return f"code:{function_name(self.function).partition(':')[0]}"

    def spec(self, settings: Settings) -> ScheduleSpec:
        """Return the schedule.

        Raises:
            InvalidScheduleError, EncodeError: It cannot be one. InvalidCallError: The function needs arguments.
        """
        name = importable_name(self.function)
        function = self.function if name is None else import_function(name)  # decorators above the task may have wrapped it
        job: Job[Any] = Job(
            function,
            queue=self.job_options.queue or settings.default_queue,
            serializer=settings.job_serializer,
            options=self.job_options,
        )
        schedule_id = re.sub(r"[^A-Za-z0-9_]+", "-", function_name(self.function)).strip("-")[-90:]
        return make_spec(job, **{"schedule_id": schedule_id, **self.options}, origin=self.origin)


class Reconciled(msgspec.Struct):
    """What a reconciliation has done: ids of schedules."""

    added: list[str] = []
    changed: list[str] = []
    removed: list[str] = []
    unchanged: list[str] = []


def declare(function: Callable[..., Any], job_options: OptionSet, options: dict[str, Any]) -> None:
    """Note that a function is to be scheduled; importing its module again changes the note.

    Raises:
        InvalidScheduleError: A value is wrong.
    """
    stand_in: Job[Any] = Job("naq_core:unused", options=job_options)
    make_spec(stand_in, **options)  # refused here, at the decorator, instead of when the scheduler starts
    _declared[function_name(function)] = Declaration(function, job_options, options)


def declared_specs(settings: Settings, modules: Iterable[str] = ()) -> dict[str, list[ScheduleSpec]]:
    """Return the schedules declared by `@task(cron=…)` so far, by their origin.

    Args:
        modules: Modules that were imported for their schedules: those that declare none (any more) have an empty list.
    """
    found: dict[str, list[ScheduleSpec]] = {f"code:{module}": [] for module in modules}
    for each in tuple(_declared.values()):
        found.setdefault(each.origin, []).append(each.spec(settings))
    return found


def file_specs(settings: Settings, start: Path | None = None) -> dict[str, list[ScheduleSpec]]:
    """Return the schedules of `[[schedules]]` in `naq.toml` (or `[[tool.naq.schedules]]`), by their origin.

    Nothing is returned where the file says nothing of schedules: `schedules = []` declares an empty list.

    Raises:
        ConfigurationError: The file cannot be read, or an entry is wrong; names it.
    """
    path, values = read_settings_file(start or Path.cwd())
    if path is None or "schedules" not in values:
        return {}
    tables = values["schedules"]
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise ConfigurationError("schedules", "must be a list of tables: [[schedules]]", str(path))
    return {FILE_ORIGIN: [_of_table(table, number, path, settings) for number, table in enumerate(tables, 1)]}


def _of_table(table: Mapping[str, Any], number: int, path: Path, settings: Settings) -> ScheduleSpec:
    values = {key.replace("-", "_"): value for key, value in table.items()}
    where = f"schedules, entry {number} ({values.get('id', 'without id')})"
    for name in ("id", "function"):
        if not isinstance(values.get(name), str):
            raise ConfigurationError(where, f"requires {name} = '…'", str(path))
    for name, kind in (("args", list), ("kwargs", dict), ("options", dict), ("queue", str)):
        if name in values and not isinstance(values[name], kind):
            raise ConfigurationError(where, f"{name} = {values[name]!r} must be a {_TOML_NAMES[kind]}", str(path))
    try:
        return make_named_spec(
            values.pop("function"),
            values.pop("args", ()),
            values.pop("kwargs", None),
            queue=values.pop("queue", settings.default_queue),
            serializer=settings.job_serializer,
            options=values.pop("options", None),
            schedule_id=values.pop("id"),
            origin=FILE_ORIGIN,
            **values,
        )
    except (ValueError, EncodeError) as error:
        raise ConfigurationError(where, str(error), str(path)) from error


async def reconcile(connection: Connection, origin: str, specs: Iterable[ScheduleSpec]) -> Reconciled:
    """Make the stored schedules of an origin those that are declared there; doing it again changes nothing.

    A schedule that stays keeps its count, its history and its pause; what was changed in it by hand is as declared again.

    Raises:
        InvalidScheduleError: Two have the same id. BrokerError: It is unknown how far it came; do it again.
    """
    wanted: dict[str, ScheduleSpec] = {}
    for spec in specs:
        if spec.schedule_id in wanted:
            raise InvalidScheduleError("schedule id", spec.schedule_id, f"is declared twice in {origin}")
        wanted[spec.schedule_id] = msgspec.structs.replace(spec, origin=origin)
    there = {document.spec.schedule_id: document for document in await list_schedule_documents(connection)}
    done = Reconciled()
    for schedule_id, spec in wanted.items():
        old = there.get(schedule_id)
        if old is not None and old.spec == sealed(connection, spec):
            done.unchanged.append(schedule_id)
            continue
        if old is not None and old.spec.origin != origin:
            log.warning("schedule %s moved from %r to %r", schedule_id, old.spec.origin or "hand", origin)
        await put_schedule(connection, spec)
        (done.added if old is None else done.changed).append(schedule_id)
    for schedule_id, old in there.items():
        if old.spec.origin == origin and schedule_id not in wanted:
            try:
                await delete_schedule(connection, schedule_id)
            except ScheduleNotFoundError:
                continue  # another process reconciles too
            done.removed.append(schedule_id)
    if done.added or done.changed or done.removed:
        log.info("schedules of %s: %s added, %s changed, %s removed", origin, done.added, done.changed, done.removed)
    return done
