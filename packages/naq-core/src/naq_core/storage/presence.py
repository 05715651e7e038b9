"""Worker presence: one key per worker process, which the server removes a few heartbeats after the last one."""

import asyncio
import logging
from typing import Any, TypedDict

from naq_core.decoding import Count, Decoder, Instant, check_value, complain
from naq_core.errors import UnreadableError
from naq_core.names import check_queue, check_queue_pattern
from naq_core.storage.connection import Connection
from naq_core.storage.topology import ensure_streams
from naq_core.transport.direct import Entry
from naq_core.transport.many import read_many
from naq_core.transport.message import Message
from naq_core.transport.streams import read_last

log = logging.getLogger(__name__)

WHAT = "the presence of a worker"


class _Told(TypedDict):
    """What must be there."""

    worker_id: str
    running: dict[str, Instant]
    """Ids of jobs, and since when they run."""
    at: Instant


class Presence(_Told, total=False):
    """What a worker tells of itself, as far as others compute with it; versions to come may add to it."""

    host: str
    name: str
    pid: Count
    rss: Count
    version: str
    python: str
    queues: list[str]
    patterns: list[str]
    """Its queues are those that match them, or are named."""
    concurrency: Count
    state: str
    started_at: Instant
    in_progress: dict[str, Count]
    unrecorded: list[str]
    reconnects: Count
    processed: Count
    succeeded: Count
    failed: Count
    retried: Count
    skipped: Count


_decoder = Decoder(WHAT, dict[str, Any])


def decode_presence(data: bytes, subject: str) -> dict[str, Any]:
    """Return a worker's presence, its known fields checked.

    Raises:
        UnreadableError: It is not one, or that of another worker.
    """
    found = _decoder.decode(data)
    told = check_value(WHAT, found, Presence)
    if told["worker_id"] != subject.rpartition(".")[2]:
        raise UnreadableError(WHAT, f"it names worker {told['worker_id'][:200]!r}")
    try:
        for queue in told.get("queues", ()):
            check_queue(queue)
        for pattern in told.get("patterns", ()):
            check_queue_pattern(pattern)
    except ValueError as error:
        raise UnreadableError(WHAT, str(error)) from error
    return found


def presence_at(message: Message | Entry) -> dict[str, Any] | None:
    """Return the presence that a message holds; what cannot be read counts as that of no worker."""
    if not message.data:
        return None
    try:
        return decode_presence(message.data, message.subject)
    except UnreadableError as error:
        complain(log, message.subject, error, "the presence of no worker")
        return None


async def read_presences(connection: Connection) -> list[Message]:
    """Read every worker's presence: one batched direct get (ADR-31), no consumer."""
    await ensure_streams(connection)
    names = connection.names
    return await read_many(connection, names.workers_stream, [names.worker("*")], names.worker("*"))


async def read_presence(connection: Connection, worker_id: str) -> dict[str, Any] | None:
    """Read one worker's presence from the leader, or None where it is gone or cannot be read."""
    if not is_worker_id(worker_id):
        return None
    message = await read_last(connection, connection.names.workers_stream, connection.names.worker(worker_id))
    return None if message is None else presence_at(message)


def is_worker_id(text: str) -> bool:
    """Return whether text could name a worker: one token of a subject."""
    return bool(text) and text.isprintable() and not set(text) & set(" .*>")


async def remove_presence(connection: Connection, worker_id: str) -> None:
    """Remove a worker's presence at once, at its orderly end."""
    names = connection.names
    await connection.api(
        f"STREAM.PURGE.{names.workers_stream}",
        {"filter": names.worker(worker_id)},
        deadline=asyncio.get_running_loop().time() + 1,
    )
