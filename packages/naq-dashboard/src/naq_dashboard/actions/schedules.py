"""Schedules made and changed with forms: words become the arguments of naq_core.schedules."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from litestar.exceptions import ValidationException

from naq_core import schedules
from naq_core.storage.connection import Connection
from naq_dashboard.actions.calls import SERIALIZER, read_call, read_function
from naq_dashboard.actions.details import Details, Target

__all__ = ["create_schedule", "delete_schedule", "edit_schedule", "pause_schedule", "resume_schedule", "trigger_schedule"]


async def create_schedule(connection: Connection, words: Mapping[str, str]) -> str:
    """Make a schedule of a function named `module:function`; nothing is imported here, the worker will."""
    spec = schedules.make_named_spec(
        read_function(words.get("function", "")),
        *read_call(words),
        queue=words.get("queue", "").strip() or connection.settings.default_queue,
        serializer=SERIALIZER,
        schedule_id=words.get("schedule_id", "").strip() or None,
        origin="dashboard",
        **_options(words),
    )
    if connection.signer:
        raise ValidationException("jobs are signed: create schedules in a program or with naq schedule")
    view = await schedules.put_schedule(connection, spec, must_be_new=True)
    return f"Schedule {view.schedule_id} is created."


async def edit_schedule(connection: Connection, words: Mapping[str, str]) -> str:
    """Change when a schedule fires; what it calls stays as it is."""
    schedule_id = words.get("schedule_id", "").strip()
    await schedules.update_schedule(connection, schedule_id, **_options(words))
    return f"Schedule {schedule_id} is changed."


async def trigger_schedule(connection: Connection, target: Target, _: Details) -> str:
    """Enqueue a schedule's job now."""
    job_id = await schedules.trigger_schedule(connection, target.name)
    return f"Enqueued now as {job_id}."


async def pause_schedule(connection: Connection, target: Target, _: Details) -> str:
    """Pause a schedule."""
    view = await schedules.pause_schedule(connection, target.name)
    return f"Schedule {view.schedule_id} is paused."


async def resume_schedule(connection: Connection, target: Target, _: Details) -> str:
    """Resume a paused schedule."""
    view = await schedules.resume_schedule(connection, target.name)
    return f"Schedule {view.schedule_id} fires again."


async def delete_schedule(connection: Connection, target: Target, _: Details) -> str:
    """Delete a schedule."""
    await schedules.delete_schedule(connection, target.name)
    return f"Schedule {target.name} is deleted; its jobs are kept."


def _options(words: Mapping[str, str]) -> dict[str, Any]:
    """Return the options that the form has; an empty field means the default."""
    cron, interval = words.get("cron", "").strip(), words.get("interval", "").strip()
    if bool(cron) == bool(interval):
        raise ValidationException("give either cron or an interval")
    options: dict[str, Any] = {"cron": cron or None, "interval": interval or None}
    for name, read in _READERS.items():
        text = words.get(name, "").strip()
        if text:
            try:
                options[name] = read(text)
            except ValueError as error:
                raise ValidationException(f"{name}: {error}") from error
    return options


def _instant(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at


_READERS: dict[str, Callable[[str], Any]] = {
    "timezone": str,
    "start_at": _instant,
    "end_at": _instant,
    "max_runs": int,
    "jitter": str,
    "overlap": str,
    "misfire": str,
    "grace": str,
}
