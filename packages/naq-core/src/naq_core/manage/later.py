"""Jobs that wait for their time: to be run now, at another time, or not any more."""

import logging
from datetime import datetime

import msgspec

from naq_core import transitions
from naq_core.dependents import release as release_dependents
from naq_core.errors import JobNotFoundError, JobStateError, WrongSequenceError
from naq_core.manage.cancel import Found, find, store_end
from naq_core.names import check_place
from naq_core.option_kinds import instant
from naq_core.record import JobRecord, JobState, encode_record
from naq_core.sent_signal import reason_of_expiry
from naq_core.storage.connection import Connection
from naq_core.storage.end_waiting import leave_to_worker
from naq_core.storage.events import record_headers
from naq_core.storage.messages import Moved, due_of, remove, run_of
from naq_core.storage.messages import reschedule as reschedule_message
from naq_core.storage.records import find_job
from naq_core.storage.subjects import ALL, ASIDE, FOR_KEY, WAITS, state_of_subject

log = logging.getLogger(__name__)


async def run_now(connection: Connection, job_id: str, *, queue: str = "*") -> None:
    """Make a delayed job ready now, instead of at its time; a job that is ready or runs already is left alone.

    Args:
        queue: Its queue; by default it is looked for in all.

    Raises:
        JobNotFoundError: Neither the job nor a record of it exists (any more).
        AmbiguousJobError: No queue was given, and several have a job of this id.
        JobStateError: It has ended, or waits for other jobs.
    """
    await _give_time(connection, job_id, queue, 0.0)


async def reschedule(connection: Connection, job_id: str, at: datetime, *, queue: str = "*") -> None:
    """Give a delayed job another time, earlier or later; one that has passed means now.

    A job whose schedule has fired in this very moment cannot be called back.

    Args:
        at: An aware time.
        queue: Its queue; by default it is looked for in all.

    Raises:
        InvalidOptionError: `at` is naive, or too far ahead.
        JobNotFoundError: Neither the job nor a record of it exists (any more).
        AmbiguousJobError: No queue was given, and several have a job of this id.
        JobStateError: It waits for a worker already, runs, has ended, or waits for other jobs.
    """
    await _give_time(connection, job_id, queue, instant(at, "at"))


async def _give_time(connection: Connection, job_id: str, queue: str, due: float) -> None:
    job_id, queue = check_place(job_id, queue)
    while True:
        found = await find(connection, job_id, queue)
        message = found.message
        if message is None or not found.is_live or found.is_ended:
            raise JobStateError(job_id, _state(found), "it has ended")
        if state_of_subject(message.subject)[0] != "held":
            if due <= connection.clock.now():
                return
            raise JobStateError(job_id, _state(found), "it is no longer delayed")
        if FOR_KEY in message.headers:
            whom = "the rate of its queue" if message.headers[FOR_KEY] == ALL else "its key to have room"
            raise JobStateError(job_id, JobState.HELD, f"it is waiting for {whom}: it starts by itself")
        if due_of(message) is None:
            raise JobStateError(job_id, JobState.HELD, found.waits_for)
        record = found.stored
        if record is not None and record.record.state is JobState.RETRYING and not await _move_retry(connection, found, due):
            continue
        if await reschedule_message(connection, message, due) in {Moved.MOVED, Moved.ALREADY}:
            log.info(
                "job %s is due %s", job_id, "now" if due <= connection.clock.now() else datetime.fromtimestamp(due).astimezone()
            )
            return


async def _move_retry(connection: Connection, found: Found, due: float) -> bool:
    """Let the record say when the retry is due, before the message is moved: a worker hands back what comes before that."""
    stored = found.stored
    assert stored is not None  # noqa: S101 - of a job that is retried
    record = msgspec.structs.replace(stored.record, next_at=max(due, connection.clock.now()))
    try:
        await connection.publish(
            connection.names.result(record.queue, record.job_id), encode_record(record), record_headers(record, stored.revision)
        )
    except WrongSequenceError:
        return False
    return True


def _state(found: Found) -> JobState:
    if found.stored is not None and (found.is_of_record or not found.is_live):
        return found.stored.record.state
    return JobState.QUEUED if found.is_live else JobState.DEAD


async def expire_job(connection: Connection, job_id: str, *, queue: str = "*", now: float | None = None) -> bool:
    """End a job whose `expires` has passed while it waited, as a sweep does; workers do so at its delivery.

    Idempotent, and safe against a worker that claims the job in the same moment: one of the two wins.

    Args:
        queue: Its queue; by default it is looked for in all.
        now: Seconds since the epoch; by default the server's time.

    Returns:
        Whether the job has ended as expired, now or before; False where it runs, has no expiry, or is not late.
    """
    job_id, queue = check_place(job_id, queue)
    while True:
        try:
            found = await find(connection, job_id, queue)
        except JobNotFoundError:
            return False
        if found.message is None or not found.is_live or found.envelope is None:
            return found.stored is not None and found.stored.record.state is JobState.EXPIRED
        record, revision = found.to_end()
        if record is None:
            ended = found.ended()
            if ended.state is JobState.EXPIRED:
                await _conclude(connection, ended)
            return ended.state is JobState.EXPIRED
        if record.state is JobState.RUNNING or not 0 < found.envelope.expires < (connection.clock.now() if now is None else now):
            return False
        transitions.expired(
            record, connection.clock.now(), reason_of_expiry(found.envelope, waits=WAITS in found.message.headers)
        )
        if await store_end(connection, record, revision):
            log.info("job %s (%s) has expired", job_id, record.function)
            await _conclude(connection, record)
            return True


async def _conclude(connection: Connection, record: JobRecord) -> None:
    """Do what follows the end; a call that dies before is repeated by the next sweep or by the job's delivery."""
    await release_dependents(connection, record)
    message = await find_job(connection, record.job_id, record.queue)
    if message is None or state_of_subject(message.subject)[0] in ASIDE or run_of(message) != record.run:
        return
    if not await leave_to_worker(connection, message, JobState.EXPIRED):
        await remove(connection, message)
