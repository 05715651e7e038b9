"""Ending a job that waits: on record, and kept whole beside the dead ones."""

import logging

from naq_core import transitions
from naq_core.envelope import Envelope, decode_envelope
from naq_core.errors import DecodeError, QueueFullError
from naq_core.record import JobRecord, JobState
from naq_core.storage.connection import Connection
from naq_core.storage.edges import Key
from naq_core.storage.messages import deliver_again, move, release, remove
from naq_core.storage.records import read_record, write_record
from naq_core.storage.subjects import state_of_subject
from naq_core.transport.headers import FIRST
from naq_core.transport.message import Message

log = logging.getLogger(__name__)


async def cancel_waiting(connection: Connection, message: Message, reason: str) -> JobRecord | None:
    """Cancel a held job: first its record, then its message is moved to the ended ones, whole, so that it can be tried again.

    One with callbacks is made ready instead: a worker enqueues them, and then moves it there. Where there is no room for a move,
    the message is deleted: the record says how the job has ended.

    Returns:
        The record of the end, this call's or an earlier one's; None where the job is not waiting any more.
    """
    _, queue, job_id = state_of_subject(message.subject)
    record = unrun_record(message.data, (queue, job_id))
    transitions.cancelled(record, connection.clock.now(), reason)
    ended = await record_end(connection, record)
    if ended is None:
        return None
    if await leave_to_worker(connection, message, ended.state):
        return ended
    ttl = connection.settings.dead_ttl.total_seconds()
    try:
        await move(connection, message, connection.names.archive(queue, job_id, ended.state), ttl=ttl)
    except QueueFullError as error:
        log.warning("job %s is not archived for a requeue: %s", job_id, error.description)
        await remove(connection, message)
    return ended


async def leave_to_worker(connection: Connection, message: Message, state: JobState) -> bool:
    """Give a job that has ended on record to a worker of its queue, if it has callbacks for that end: workers enqueue them.

    A job that a worker may start without a claim is stored once more, so that its record is read before it is started.

    Returns:
        Whether it was given to one: then its message stays until the callbacks are enqueued.
    """
    if not has_callbacks_for(message, state):
        return False
    if state_of_subject(message.subject)[0] == "held":
        await release(connection, message)
    elif FIRST in message.headers:
        await deliver_again(connection, message)
    return True


def has_callbacks_for(message: Message, state: JobState) -> bool:
    """Whether a job's message names callbacks for an end; of a job that was enqueued by name, those of its task are not known."""
    try:
        return bool(decode_envelope(message.data).opt.callbacks(state))
    except DecodeError:
        return False


def unrun_record(body: bytes, key: Key) -> JobRecord:
    """Return the record of a job that never ran, made from its message: QUEUED, to be ended."""
    queue, job_id = key
    try:
        envelope = decode_envelope(body)
    except DecodeError:
        envelope = Envelope(v=0, id=job_id, fn="?", ct="", body=b"", at=0.0)
    return transitions.unclaimed(
        job_id,
        queue,
        envelope.fn,
        run=envelope.run,
        enqueued_at=envelope.at,
        arguments=envelope.args,
        workflow=envelope.workflow,
        schedule=envelope.schedule,
        options=envelope.opt,
    )


async def record_end(connection: Connection, record: JobRecord) -> JobRecord | None:
    """Write the final record of a job that never ran, unless it has ended or runs."""
    revision = 0
    while True:
        if await write_record(connection, record, revision, connection.settings.failure_ttl.total_seconds()) is not None:
            return record
        stored = await read_record(connection, record.queue, record.job_id)
        if stored is None:
            revision = 0
            continue
        old = stored.record
        if old.run == record.run and old.state.is_final:
            return old
        if not old.state.is_final and old.state not in {JobState.QUEUED, JobState.HELD}:
            return None
        revision = stored.revision  # of an earlier run of this id, or put back for another one
