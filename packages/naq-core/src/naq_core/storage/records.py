"""Reading messages and job records back from their streams."""

import asyncio
import logging
from collections.abc import Sequence
from typing import NamedTuple

from naq_core.decoding import complain
from naq_core.errors import (
    AmbiguousJobError,
    JobNotFoundError,
    WrongSequenceError,
)
from naq_core.record import JobRecord, UnreadableRecord, encode_record, record_at
from naq_core.storage.connection import Connection
from naq_core.storage.events import record_headers
from naq_core.transport.direct import Entry
from naq_core.transport.headers import TTL, ttl_text
from naq_core.transport.message import Message
from naq_core.transport.streams import count_by_subject, read_direct, read_last

log = logging.getLogger(__name__)


class Stored(NamedTuple):
    """A record and the stream sequence to compare-and-set against."""

    record: JobRecord
    """An `UnreadableRecord` where it cannot be read."""
    revision: int


def stored_of(message: Message | Entry) -> Stored | None:
    """Return the record that a message of the results bucket holds, None for the marker that a deletion leaves."""
    record = record_at(message.subject, message.data)
    if isinstance(record, UnreadableRecord):
        complain(log, message.subject, record.reason, "that of a dead job")
    return None if record is None else Stored(record, message.sequence)


async def read_record(connection: Connection, queue: str, job_id: str) -> Stored | None:
    """Read a job's record from the leader: for decisions."""
    names = connection.names
    message = await read_last(connection, names.results_stream, names.result(queue, job_id))
    return None if message is None else stored_of(message)


async def peek_record(connection: Connection, queue: str, job_id: str) -> Stored | None:
    """Read a job's record from any replica: for showing and waiting."""
    names = connection.names
    message = await read_direct(connection, names.results_stream, names.result(queue, job_id))
    return None if message is None else stored_of(message)


async def write_record(connection: Connection, record: JobRecord, revision: int, ttl: float | None = None) -> int | None:
    """Compare-and-set a job's record and return its new revision, or None where somebody else was faster.

    Args:
        ttl: Seconds after which the server removes it; None: never, as of a job that runs.

    Raises:
        BrokerError: It is unknown whether it was stored.
    """
    names = connection.names
    subject, body = names.result(record.queue, record.job_id), encode_record(record)
    headers = record_headers(record, revision)
    if ttl is not None:
        headers[TTL] = ttl_text(ttl)
    try:
        return await connection.publish(subject, body, headers)
    except WrongSequenceError:
        if revision:
            return None
    found = await read_last(connection, names.results_stream, subject)
    if found is None or found.data:
        return None
    return await write_record(connection, record, found.sequence, ttl)  # the marker of a deletion is as good as nothing


async def find_job(connection: Connection, job_id: str, queue: str = "*") -> Message | None:
    """Find the message of a live (or dead and kept) job; `look_up` is for an id whose queue is not known."""
    names = connection.names
    return await read_last(connection, names.jobs_stream, names.any_state(queue, job_id))


async def look_up(connection: Connection, job_id: str, queue: str = "*") -> tuple[Stored | None, Message | None]:
    """Read a job's record and its message at once.

    Args:
        queue: Its queue; `*` where it is not known.

    Raises:
        AmbiguousJobError: The queue is not known, and several have a job of this id.
    """
    if queue == "*":
        found = the_queue(job_id, await queues_of(connection, job_id))
        if found is None:
            return None, None
        queue = found
    stored, message = await asyncio.gather(read_record(connection, queue, job_id), find_job(connection, job_id, queue))
    if stored is None and message is None:
        stored = await read_record(connection, queue, job_id)  # it may have ended between the two reads
    return stored, message


def the_queue(job_id: str, queues: Sequence[str], preferred: str = "") -> str | None:
    """Return the one queue that has a job of this id, or None.

    Args:
        preferred: The queue that is meant where it is one of several.

    Raises:
        AmbiguousJobError: There are several.
    """
    if preferred in queues:
        return preferred
    if len(queues) > 1:
        raise AmbiguousJobError(job_id, queues)
    return queues[0] if queues else None


async def queues_of(connection: Connection, job_id: str) -> list[str]:
    """Return the queues that have a job or a record of this id, in the order of their names.

    Two requests, and a third if there is no such job. Their cost grows with the number of queues, not with that of jobs.
    """
    names = connection.names
    records = names.results_stream, names.result("*", job_id)
    ended, live = await asyncio.gather(
        count_by_subject(connection, *records),
        count_by_subject(connection, names.jobs_stream, names.any_state("*", job_id)),
    )
    if not ended and not live:
        ended = await count_by_subject(connection, *records)  # it may have ended between the two reads
    return sorted({subject.split(".")[-2] for subject in (*ended, *live)})


async def not_found(connection: Connection, job_id: str, queue: str) -> JobNotFoundError:
    """Return the error that says that a queue has no such job, and which queues have one of its id."""
    return JobNotFoundError(job_id, queue, [] if queue == "*" else await queues_of(connection, job_id))
