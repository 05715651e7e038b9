"""Putting a job back to work, and deleting one."""

import asyncio
import logging
from functools import partial

import msgspec

from naq_core import transitions
from naq_core.delivery_options import UNIQUE
from naq_core.dependents import release as release_dependents
from naq_core.enqueue.again import failed_parent, put_back, with_envelope
from naq_core.enqueue.message import tell_enqueued
from naq_core.enqueue.within import within_stored
from naq_core.envelope import Envelope
from naq_core.errors import JobStateError, QueueFullError
from naq_core.manage._removed import end_removed, removal, when_there_is_room
from naq_core.manage.cancel import Found, archive, cancel_job, find
from naq_core.names import check_place
from naq_core.record import JobState
from naq_core.storage import objects
from naq_core.storage.connection import Connection
from naq_core.storage.end_waiting import has_callbacks_for
from naq_core.storage.messages import Moved, deliver_again, due_of, release, remove
from naq_core.storage.records import Stored, find_job, write_record
from naq_core.storage.subjects import ALL, FOR_KEY, state_of_subject
from naq_core.storage.windows import remove_windows
from naq_core.transport.message import Message
from naq_core.transport.streams import read_last

log = logging.getLogger(__name__)

PATIENCE = 2.0
"""Seconds to wait for a worker that enqueues the callbacks of a job that has just ended."""
PAUSE = 0.02
GRACE = 5.0
"""Seconds beyond a lease for which the record of a deleted job stays, for a worker that was just being given the job."""


async def retry_job(connection: Connection, job_id: str, *, queue: str = "*") -> None:
    """Requeue a dead job, or run a job now that waits for its retry.

    A dead or cancelled job is archived with its call for `NAQ_DEAD_TTL`. It restarts with its first attempt and its old priority;
    its earlier errors stay in the record. First the record is compared-and-set to queued, then the job is moved back in one
    atomic step: a process that dies in between leaves a job that still counts as dead.

    Args:
        queue: Its queue; by default it is looked for in all.

    Raises:
        JobNotFoundError: Neither the job nor a record of it exists (any more).
        AmbiguousJobError: No queue was given, and several have a job of this id.
        JobStateError: It is waiting, running, waits for other jobs, has ended and is not archived, or a job that it depends on
            has failed.
        EnqueueSkippedError: Middleware has left it out; nothing was changed.
        BrokerError: It is unknown whether the job was requeued; repeat the call.
    """
    job_id, queue = check_place(job_id, queue)
    while True:
        found = await find(connection, job_id, queue)
        if found.message is None:
            raise JobStateError(job_id, _state(found), "its call is no longer stored: enqueue it again")
        done = await (_hurry(connection, found) if found.is_live else _requeue(connection, found, found.message))
        if done:
            return


async def _requeue(connection: Connection, found: Found, message: Message) -> bool:
    """Move a dead job back; False where something has changed meanwhile."""
    if found.envelope is None:
        raise JobStateError(state_of_subject(message.subject)[2], JobState.DEAD, "it is not a job and can only be deleted")
    envelope = found.envelope
    queue = state_of_subject(message.subject)[1]
    return await within_stored(
        connection, "requeue", [(queue, envelope)], lambda changed: _put_back(connection, found, message, *changed)
    )


async def _put_back(connection: Connection, found: Found, message: Message, envelope: Envelope) -> bool:
    _, queue, job_id = state_of_subject(message.subject)
    message = with_envelope(connection, message, envelope, is_changed=envelope is not found.envelope)
    after = envelope.after
    if after and (why := await failed_parent(connection, after)):
        raise JobStateError(job_id, _state(found), f"{why}: retry that one first, or the whole workflow")
    if found.stored is not None and not await _reset(connection, found, found.stored):
        return False
    if after:
        await put_back(connection, {(queue, job_id): message})
        return True
    moved = await release(connection, message)
    if moved in {Moved.MOVED, Moved.ALREADY}:
        await tell_enqueued({queue})
        log.debug("job %s was requeued to queue %s", *reversed(state_of_subject(message.subject)[1:]))
        return True
    return False


async def _reset(connection: Connection, found: Found, stored: Stored) -> bool:
    """Make the record that of a job that waits, so that it does not stop the next run."""
    record = stored.record
    if record.state is JobState.RUNNING:
        raise JobStateError(record.job_id, record.state, "it is running")
    if not found.is_of_record:  # the id was used again since, and that run has ended or is lost
        record = found.fresh()
    elif record.state is JobState.QUEUED:  # the process that reset it died before moving the job
        return True
    else:
        transitions.put_back(record, "requeued by hand")
    ttl = connection.settings.failure_ttl.total_seconds()
    return await write_record(connection, record, stored.revision, ttl) is not None


async def _hurry(connection: Connection, found: Found) -> bool:
    """Run a retry now that is not due yet; False where something has changed meanwhile."""
    message, stored = found.message, found.stored
    assert message is not None  # noqa: S101 - of a live job
    state, _, job_id = state_of_subject(message.subject)
    if stored is not None and stored.record.state is JobState.RUNNING:
        raise JobStateError(job_id, JobState.RUNNING, "it is running")
    if found.is_ended:
        return await _lay_aside(connection, found, message)
    if state != "held" and (stored is None or stored.record.state is not JobState.RETRYING):
        raise JobStateError(job_id, _state(found), "it is already waiting for a worker")
    if token := message.headers.get(FOR_KEY):
        whom = "the rate of its queue" if token == ALL else f"its key ({token}) to have room"
        raise JobStateError(job_id, JobState.HELD, f"it is waiting for {whom}: it starts by itself")
    if state == "held" and due_of(message) is None:
        raise JobStateError(job_id, JobState.HELD, found.waits_for)
    if stored is not None and stored.record.state is JobState.RETRYING and stored.record.next_at > connection.clock.now():
        record = msgspec.structs.replace(stored.record, next_at=connection.clock.now())
        ttl = connection.settings.failure_ttl.total_seconds()
        if await write_record(connection, record, stored.revision, ttl) is None:
            return False
    if state == "held":
        return await release(connection, message) in {Moved.MOVED, Moved.ALREADY}
    return await deliver_again(connection, message)


async def _lay_aside(connection: Connection, found: Found, message: Message) -> bool:
    """Move a job that is only just ending aside, as its worker is about to do, so that it can be put back.

    One with callbacks is left to the worker, which enqueues them first: otherwise they would be lost.
    """
    _, queue, job_id = state_of_subject(message.subject)
    state = _state(found)
    if state in {JobState.SUCCEEDED, JobState.EXPIRED}:
        raise JobStateError(job_id, state, "its call is not stored: enqueue it again")
    if not has_callbacks_for(message, state):
        await archive(connection, message, state)
        return False
    deadline = asyncio.get_running_loop().time() + PATIENCE
    while (last := await find_job(connection, job_id, queue)) is not None and last.sequence == message.sequence:
        if asyncio.get_running_loop().time() > deadline:
            raise JobStateError(job_id, state, "its callbacks are not enqueued yet: a worker of its queue has to do that first")
        await asyncio.sleep(PAUSE)
    return False


async def delete_job(connection: Connection, job_id: str, *, queue: str = "*") -> None:
    """Delete a job with its record: a dead one can then not be put back, an ended one is forgotten.

    A job that waits is cancelled first; then its record stays until no worker can have the job in its hands any more. The key of
    a unique job is free again, also within its window.

    Args:
        queue: Its queue; by default it is looked for in all.

    Raises:
        JobNotFoundError: Neither the job nor a record of it exists (any more).
        AmbiguousJobError: No queue was given, and several have a job of this id.
        JobStateError: It is running: cancel it first.
        QueueFullError: There is no room to end the jobs that wait for it; do it again when there is.
        BrokerError: It is unknown whether all was deleted; do it again.
    """
    job_id, queue = check_place(job_id, queue)
    ttl: float | None = None
    while True:
        found = await find(connection, job_id, queue)
        queue = found.queue
        if found.stored is not None and found.stored.record.state is JobState.RUNNING:
            raise JobStateError(job_id, JobState.RUNNING, "it is running: cancel it first")
        if found.is_live and not found.is_ended:
            ttl = connection.settings.ack_wait.total_seconds() + GRACE
            try:
                await cancel_job(connection, job_id, "deleted", queue=queue)
            except QueueFullError:
                if await _delete_in_full_store(connection, found, ttl):
                    return
        elif await _erase(connection, found, ttl):
            if job_id.startswith(UNIQUE):
                await remove_windows(connection, queue, job_id)
            return


async def _delete_in_full_store(connection: Connection, found: Found, ttl: float) -> bool:
    """Delete a job that waits, its message first: that makes room for its end. False where it was put back meanwhile."""
    removed = removal(connection, found, "deleted")
    if removed is None or not await _remove_messages(connection, found):
        return False
    await end_removed(connection, [removed], ttl)
    return True


async def _erase(connection: Connection, found: Found, ttl: float | None) -> bool:
    """Delete what is left of a job that has ended; False where it was put back meanwhile.

    Its messages go before the record: a ready one that was never acknowledged must not find the record gone. The jobs that wait
    for it are looked after in between: who has ended it may have died, or failed, before that.

    Args:
        ttl: Seconds after which the record is to go; None means now.
    """
    if not await _remove_messages(connection, found):
        return False
    if found.stored is not None:
        record, revision = found.stored
        await when_there_is_room(connection, partial(release_dependents, connection, record))
        if ttl is not None:
            try:
                return await write_record(connection, record, revision, ttl) is not None
            except QueueFullError:
                log.info("the store is full: the record of job %s is deleted now instead of later", record.job_id)
        if record.large is not None:
            await objects.remove(connection, record.large)
        subject = connection.names.result(record.queue, record.job_id)
        await connection.api(f"STREAM.PURGE.{connection.names.results_stream}", {"filter": subject, "seq": revision + 1})
    return True


async def _remove_messages(connection: Connection, found: Found) -> bool:
    """Delete a job's messages; False where there is a newer one by now."""
    names = connection.names
    if found.message is not None:
        _, queue, job_id = state_of_subject(found.message.subject)
        while (last := await read_last(connection, names.jobs_stream, names.any_state(queue, job_id))) is not None:
            if last.sequence > found.message.sequence:
                return False
            await remove(connection, last)
        if job_id.startswith(UNIQUE):
            await remove_windows(connection, queue, job_id)
    return True


def _state(found: Found) -> JobState:
    if found.stored is not None:
        return found.stored.record.state
    return JobState.QUEUED if found.is_live else JobState.DEAD
