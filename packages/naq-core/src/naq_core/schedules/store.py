"""Schedules as they are stored: made, read, changed and removed, by compare-and-set."""

import asyncio
import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Any

import msgspec

from naq_core.decoding import complain
from naq_core.errors import (
    InvalidScheduleError,
    ScheduleNotFoundError,
    UnreadableError,
)
from naq_core.names import check_schedule_id, new_id
from naq_core.options import SCHEDULE_OPTIONS
from naq_core.record import UNREADABLE
from naq_core.schedules.document import (
    ScheduleDocument,
    changed_document,
    decode_document,
    encode_document,
    new_document,
    view_of,
)
from naq_core.schedules.firing import enqueue_firing, sealed
from naq_core.schedules.spec import ScheduleSpec, make_spec
from naq_core.storage.connection import Connection
from naq_core.storage.records import peek_record
from naq_core.storage.topology import ensure_queue, ensure_schedules
from naq_core.transport.buckets import delete_document, list_documents, read_document, write_document
from naq_core.transport.streams import stream_span
from naq_core.values import flag
from naq_core.views import Firing, ScheduleView

log = logging.getLogger(__name__)


async def list_schedules(connection: Connection) -> list[ScheduleView]:
    """Return every schedule, sorted by id; of one that cannot be read the id and the reason (`unreadable`)."""
    now = connection.clock.utc()
    views = [_view(key, found, now) for key, found in await _all(connection)]
    return sorted(views, key=lambda view: view.schedule_id)


async def list_schedule_documents(connection: Connection) -> list[ScheduleDocument]:
    """Return every schedule as it is stored, but for those that cannot be read; reading creates nothing."""
    return [found for _, found in await _all(connection) if isinstance(found, ScheduleDocument)]


async def _all(connection: Connection) -> list[tuple[str, ScheduleDocument | UnreadableError]]:
    names = connection.names
    if not (await stream_span(connection, names.schedules_stream)).messages:
        return []
    entries = await list_documents(connection, names.schedules_stream, names.schedule("*"))
    return [(_key(entry.subject), _try(entry.subject, entry.data)) for entry in entries if entry.data]


def _key(subject: str) -> str:
    return subject.rpartition(".")[2]


def _try(subject: str, data: bytes) -> ScheduleDocument | UnreadableError:
    """Return a schedule, or why it cannot be read, which is logged once."""
    try:
        return decode_document(data, _key(subject))
    except UnreadableError as error:
        complain(log, subject, error, "one that never fires")
        return error


def _view(key: str, found: ScheduleDocument | UnreadableError, now: datetime) -> ScheduleView:
    if isinstance(found, ScheduleDocument):
        return view_of(found, now)
    return ScheduleView(schedule_id=key, queue="", function=UNREADABLE, unreadable=str(found))


async def get_schedule(connection: Connection, schedule_id: str) -> ScheduleView:
    """Return one schedule.

    Raises:
        ScheduleNotFoundError: There is no schedule with this id. InvalidNameError: The id is not valid.
    """
    found, _ = await _find(connection, schedule_id)
    return _view(schedule_id, found, connection.clock.utc())


async def put_schedule(
    connection: Connection, spec: ScheduleSpec, *, paused: bool | None = None, must_be_new: bool = False
) -> ScheduleView:
    """Store a schedule made by `make_spec`: a new one, or a change of the one that has this id.

    A change keeps its count of runs, its history and whether it is paused. Where it fires at other times than before, it
    restarts now: no time in the past counts as missed.

    Args:
        paused: Whether it is paused from now on; None: as before, a new one is not.
        must_be_new: Refuse to change one that exists.

    Raises:
        InvalidScheduleError: It exists and must not, or it would never fire.
        PayloadTooLargeError: The call takes more bytes than the server accepts.
        BrokerError: It is unknown whether it was stored; do it again.
    """
    check_schedule_id(spec.schedule_id)
    paused = None if paused is None else flag(paused, "paused")
    connection.check_size("the call of the schedule", len(spec.template) * 4 // 3 + 4096)  # base64, and its history
    await ensure_schedules(connection)
    await ensure_queue(connection, spec.queue, spec.job().opt.priority)
    spec = sealed(connection, spec)
    names = connection.names
    subject = names.schedule(spec.schedule_id)
    while True:
        found = await read_document(connection, names.schedules_stream, subject)
        stored = _try(subject, found.data) if found.data else None
        old = stored if isinstance(stored, ScheduleDocument) else None  # what cannot be read is replaced
        if old is not None and must_be_new:
            raise InvalidScheduleError("schedule id", spec.schedule_id, "a schedule with this id already exists")
        document = _put(old, spec, paused, connection.clock.utc())
        if document == old:
            return view_of(old, connection.clock.utc())
        if await write_document(connection, subject, encode_document(document), found.revision):
            log.info("schedule %s is %s", spec.schedule_id, "changed" if old else "made")
            return view_of(document, connection.clock.utc())


def _put(old: ScheduleDocument | None, spec: ScheduleSpec, paused: bool | None, at: datetime) -> ScheduleDocument:
    if old is None:
        document = new_document(spec, at, paused=paused is True)
        if document.next_at is None:
            raise InvalidScheduleError("schedule", spec.schedule_id, "has no future time: it would never fire")
        return document
    document = changed_document(old, spec, at)
    return document if paused is None else _paused(document, paused, at)


async def update_schedule(connection: Connection, schedule_id: str, **changes: Any) -> ScheduleView:
    """Change a schedule's times or policies: any option of `make_spec` but its id; the rest stays.

    Raises:
        ScheduleNotFoundError: There is no schedule with this id. InvalidScheduleError: A value is wrong; nothing was changed.
    """
    document, _ = await read_document_of(connection, schedule_id)
    spec = revised(document.spec, **changes)
    now = connection.clock.utc()
    return view_of(await change_document(connection, schedule_id, lambda found: changed_document(found, spec, now)), now)


def revised(spec: ScheduleSpec, **changes: Any) -> ScheduleSpec:
    """Return a checked copy with other values; `cron=` takes the place of `interval=` and the other way round.

    Raises:
        InvalidScheduleError: A value is wrong, or there is no such option.
    """
    from naq_core.job import Job  # noqa: PLC0415 - only here

    if "schedule_id" in changes:
        raise InvalidScheduleError("schedule_id", changes["schedule_id"], "cannot be changed; make another schedule")
    values = {name: getattr(spec, name) for name in (*SCHEDULE_OPTIONS, "origin")}
    if changes.get("cron") is not None:
        values["interval"] = None
    elif changes.get("interval") is not None:
        values["cron"] = None
    stand_in: Job[Any] = Job("naq_core:unused", queue=spec.queue)
    checked = make_spec(stand_in, **(values | changes))
    return msgspec.structs.replace(checked, template=spec.template, expires_in=spec.expires_in)


async def delete_schedule(connection: Connection, schedule_id: str) -> None:
    """Remove a schedule; the jobs it has made stay.

    Raises:
        ScheduleNotFoundError: There is no schedule with this id.
    """
    names = connection.names
    while True:
        _, revision = await _find(connection, schedule_id)
        if await delete_document(connection, names.schedules_stream, names.schedule(schedule_id), revision):
            log.info("schedule %s is deleted", schedule_id)
            return


async def pause_schedule(connection: Connection, schedule_id: str) -> ScheduleView:
    """Stop a schedule from firing until `resume_schedule`.

    Raises:
        ScheduleNotFoundError: There is no schedule with this id.
    """
    now = connection.clock.utc()
    return view_of(await change_document(connection, schedule_id, lambda found: _paused(found, True, now)), now)


async def resume_schedule(connection: Connection, schedule_id: str) -> ScheduleView:
    """Let a paused schedule fire again, from now on: the times that passed in between are not made up for.

    A schedule that does not fire because a wrong clock has put it ahead restarts now, paused or not.

    Raises:
        ScheduleNotFoundError: There is no schedule with this id.
    """
    now = connection.clock.utc()
    return view_of(await change_document(connection, schedule_id, lambda found: _paused(found, False, now)), now)


def _paused(document: ScheduleDocument, paused: bool, at: datetime) -> ScheduleDocument:
    if document.paused == paused and not (document.is_ahead(at) and not paused):
        return document
    changed = msgspec.structs.replace(document, paused=paused)
    if not paused:
        changed.rewind(at)
        changed.move_on(at)
    return changed


async def trigger_schedule(connection: Connection, schedule_id: str) -> str:
    """Enqueue the schedule's job now, whatever its times, pause and overlap policy say, and return the job's id.

    It does not count as a run, and changes nothing about when the schedule fires next.

    Raises:
        ScheduleNotFoundError: There is no schedule with this id. BrokerError: It is unknown whether the job was enqueued.
    """
    document, _ = await read_document_of(connection, schedule_id)
    job_id = f"{schedule_id}=manual-{new_id()}"
    firing = Firing(at=connection.clock.utc(), kind="manual", job_id=job_id)
    await enqueue_firing(connection, document.spec, job_id)

    def note(found: ScheduleDocument) -> ScheduleDocument:
        changed = msgspec.structs.replace(found)
        changed.remember(firing)
        return changed

    await change_document(connection, schedule_id, note)
    return job_id


def next_runs(view: ScheduleView, count: int = 5, after: datetime | None = None) -> list[datetime]:
    """Return the next times at which a schedule will fire, in UTC; fewer where it ends before. A pause is not regarded.

    Args:
        after: Only times later than this; by default now.
    """
    if view.unreadable:
        return []
    left = count if view.max_runs is None else min(count, max(0, view.max_runs - view.runs))
    return list(islice(_times_of(view, after or datetime.now(UTC)), left))


def _times_of(view: ScheduleView, after: datetime) -> Iterator[datetime]:
    spec = ScheduleSpec(
        schedule_id=view.schedule_id,
        queue=view.queue,
        template=b"",
        cron=view.cron,
        interval=view.interval,
        timezone=view.timezone,
        start_at=view.start_at,
        end_at=view.end_at,
    )
    if view.watermark is not None:
        after = max(after, view.watermark)
    return spec.times(view.anchor or after, after)


async def schedule_history(connection: Connection, schedule_id: str) -> list[Firing]:
    """Return what the schedule did lately, the newest first, with the states of the jobs whose records are kept.

    Raises:
        ScheduleNotFoundError: There is no schedule with this id.
    """
    document, _ = await _find(connection, schedule_id)
    if not isinstance(document, ScheduleDocument):
        return []
    queue = document.spec.queue
    firings = document.firings[::-1]
    records = await asyncio.gather(*(peek_record(connection, queue, each.job_id) for each in firings if each.job_id))
    states = {each.record.job_id: each.record.state for each in records if each is not None}
    return [msgspec.structs.replace(firing, state=states.get(firing.job_id)) for firing in firings]


async def _find(connection: Connection, schedule_id: str) -> tuple[ScheduleDocument | UnreadableError, int]:
    """Return a schedule, or why it cannot be read, and its revision."""
    schedule_id = check_schedule_id(schedule_id)
    names = connection.names
    subject = names.schedule(schedule_id)
    found = await read_document(connection, names.schedules_stream, subject)
    if not found.data:
        raise ScheduleNotFoundError(schedule_id)
    return _try(subject, found.data), found.revision


async def read_document_of(connection: Connection, schedule_id: str) -> tuple[ScheduleDocument, int]:
    """Return what is stored of a schedule, and its revision.

    Raises:
        ScheduleNotFoundError: There is no schedule with this id. UnreadableError: It cannot be read.
    """
    found, revision = await _find(connection, schedule_id)
    if not isinstance(found, ScheduleDocument):
        raise found
    return found, revision


async def change_document(
    connection: Connection, schedule_id: str, change: Callable[[ScheduleDocument], ScheduleDocument]
) -> ScheduleDocument:
    """Compare-and-set a change, again where somebody else (a firing) was faster."""
    names = connection.names
    while True:
        old, revision = await read_document_of(connection, schedule_id)
        new = change(old)
        data = encode_document(new)
        if new == old or await write_document(connection, names.schedule(schedule_id), data, revision):
            return new


__all__ = [
    "change_document",
    "delete_schedule",
    "get_schedule",
    "list_schedule_documents",
    "list_schedules",
    "next_runs",
    "pause_schedule",
    "put_schedule",
    "read_document_of",
    "resume_schedule",
    "revised",
    "schedule_history",
    "trigger_schedule",
    "update_schedule",
]
