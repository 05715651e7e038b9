"""The ends of jobs whose messages were removed: recorded, and reported to the jobs that wait for them.

The messages are removed first, which frees space: in a full store the rest could not be written otherwise. A process that dies in
between leaves the edges: the server's timer has the waiting jobs checked, and repeating the removal continues here.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import NamedTuple

import msgspec

from naq_core import transitions
from naq_core.dependents import release
from naq_core.errors import QueueFullError
from naq_core.manage.cancel import Found, found_of
from naq_core.names import SIGNAL
from naq_core.record import UNREADABLE, JobRecord, JobState
from naq_core.storage.connection import Connection
from naq_core.storage.edges import edges_of
from naq_core.storage.parents import ParentState, parent_statuses
from naq_core.storage.records import read_record, stored_of, write_record
from naq_core.transport.many import CHUNK, read_many
from naq_core.transport.message import Message
from naq_core.transport.streams import count_by_subject

log = logging.getLogger(__name__)

AT_ONCE = 100
PAUSE = 0.05
"""Seconds after which it is tried again to write into a full store, the first time."""


class Removed(NamedTuple):
    """A job that is being removed."""

    end: JobRecord
    revision: int | None
    """Of the record that the end replaces, 0 without one; None where the end need not be put on record."""


def removal(connection: Connection, found: Found, reason: str) -> Removed | None:
    """Return the end of a job that waits; None where it runs or has ended."""
    record, revision = found.to_end()
    if record is None or record.state is JobState.RUNNING:
        return None
    end = msgspec.structs.replace(record)
    transitions.cancelled(end, connection.clock.now(), reason)
    return Removed(end, revision)


async def waiting_parents(connection: Connection, queue: str, reason: str) -> list[Removed]:
    """Return the ends of a queue's waiting jobs that others wait for; also of those that an earlier removal has left over."""
    names = connection.names
    edges = await count_by_subject(connection, names.jobs_stream, f"{names.edges}.>")
    ids = sorted({subject.split(".")[-3] for subject in edges if f".{SIGNAL}" not in subject})
    found: list[Removed] = []
    for start in range(0, len(ids), CHUNK):
        found += await _waiting_among(connection, queue, ids[start : start + CHUNK], reason)
    return found


async def _waiting_among(connection: Connection, queue: str, ids: Sequence[str], reason: str) -> list[Removed]:
    names = connection.names
    messages: dict[str, Message] = {}
    for message in await read_many(
        connection, names.jobs_stream, [names.any_state(queue, each) for each in ids], f"{names.jobs}.>"
    ):
        job_id = message.subject.rpartition(".")[2]
        if job_id not in messages or messages[job_id].sequence < message.sequence:
            messages[job_id] = message
    records = {}
    for message in await read_many(
        connection, names.results_stream, [names.result(queue, each) for each in ids], f"{names.results}.>"
    ):
        records[message.subject.rpartition(".")[2]] = stored_of(message)
    removed = [
        removal(connection, found_of(records.get(each), messages.get(each)), reason)
        for each in ids
        if each in messages or records.get(each) is not None
    ]
    unknown = [each for each in ids if each not in messages and records.get(each) is None]
    return [
        *(each for each in removed if each is not None),
        *(Removed(_gone(connection, queue, each, reason), None) for each in await _gone_of(connection, queue, unknown)),
    ]


async def _gone_of(connection: Connection, queue: str, ids: Sequence[str]) -> list[str]:
    """Return which of these ids are waited for as jobs of the queue, although no queue has them."""
    keys = {edge.parent for edge in await edges_of(connection, ids) if edge.parent[0] in {queue, "*"}}
    found = await parent_statuses(connection, keys) if keys else {}
    return [key[1] for key, status in found.items() if status.kind is ParentState.GONE]


def _gone(connection: Connection, queue: str, job_id: str, reason: str) -> JobRecord:
    record = transitions.unclaimed(job_id, queue, UNREADABLE)
    transitions.cancelled(record, connection.clock.now(), reason)
    return record


async def end_removed(connection: Connection, removed: Sequence[Removed], ttl: float) -> None:
    """Put the ends of removed jobs on record, and end or release those that wait for them.

    Where there is no room for both, the records of the removed jobs are left out: they are gone all the same.

    Args:
        ttl: Seconds for which the records stay.

    Raises:
        QueueFullError: There is no room to end all that wait, within `NAQ_PUBLISH_BUDGET`: do it again when there is.
        BrokerError: It is unknown whether all was done; do it again.
    """
    for start in range(0, len(removed), AT_ONCE):
        chunk = removed[start : start + AT_ONCE]
        ends = await asyncio.gather(*(_record_end(connection, each, ttl) for each in chunk))
        ended = [each for each in ends if each is not None]
        try:
            await release(connection, *ended)
        except QueueFullError:
            await _drop_records(connection, ended)  # they take the room that is needed here
            await when_there_is_room(connection, partial(release, connection, *ended))


async def _record_end(connection: Connection, removed: Removed, ttl: float) -> JobRecord | None:
    """Write the end of a job; None where it runs, as a worker had it, or has ended by another hand."""
    end, revision = removed
    if revision is None:
        return end
    try:
        while await write_record(connection, end, revision, ttl) is None:
            stored = await read_record(connection, end.queue, end.job_id)
            if stored is not None and (stored.record.state.is_final or stored.record.state is JobState.RUNNING):
                return None
            revision = 0 if stored is None else stored.revision
    except QueueFullError as error:
        log.warning("the end of job %s cannot be recorded: %s", end.job_id, error.description)
    connection.tally.add(end.queue, end.function, "cancelled")
    return end


async def _drop_records(connection: Connection, ended: Sequence[JobRecord]) -> None:
    names = connection.names
    for each in ended:
        filters = {"filter": names.result(each.queue, each.job_id)}
        await connection.api(f"STREAM.PURGE.{names.results_stream}", filters)


async def when_there_is_room(connection: Connection, write: Callable[[], Awaitable[None]]) -> None:
    """Write, and try again while the store is full, for as long as the budget lasts.

    Raises:
        QueueFullError: It is full still.
    """
    deadline, pause = connection.budget(), PAUSE
    while True:
        try:
            return await write()
        except QueueFullError:
            if connection.is_past(deadline):
                raise
        await asyncio.sleep(pause)
        pause = min(2 * pause, 2.0)
