"""Cancelling a job, wherever it is in its life."""

import asyncio
import logging
from enum import StrEnum

import msgspec

from naq_core import transitions
from naq_core.dependents import release
from naq_core.envelope import Envelope, decode_envelope
from naq_core.errors import BrokerError, DecodeError, SignatureError, WrongSequenceError
from naq_core.inspect import list_workers
from naq_core.names import check_place
from naq_core.previews import clean_text
from naq_core.record import JobRecord, JobState, UnreadableRecord
from naq_core.storage.connection import Connection
from naq_core.storage.control import ControlRequest, ask_worker
from naq_core.storage.deliveries import consumer_state
from naq_core.storage.end_waiting import has_callbacks_for, leave_to_worker, unrun_record
from naq_core.storage.messages import if_newest, move, remove, schedule_headers
from naq_core.storage.presence import is_worker_id
from naq_core.storage.records import Stored, find_job, look_up, not_found, write_record
from naq_core.storage.subjects import ASIDE, LEVELS, PLACE, state_of_subject
from naq_core.transport.headers import FIRST, TTL, ttl_text
from naq_core.transport.message import Message
from naq_core.values import text

log = logging.getLogger(__name__)

REASON_LIMIT = 2000


class CancelOutcome(StrEnum):
    """What a job was doing when it was cancelled."""

    BEFORE_START = "before_start"
    """It waited, for a worker, its time, a retry or other jobs: nothing of it runs from now on."""
    WHILE_RUNNING = "while_running"
    """It ran. Its worker cancels an async function, kills a process, and sets a flag for a function in a thread
    (`current_job().is_cancelled`). Whatever it still returns is refused. The same is returned where only a worker knows whether
    it has started: for a job that was delivered and is not claimed, and for every `fast=True` job."""
    ALREADY_ENDED = "already_ended"
    """It had succeeded, failed, expired or been cancelled before; nothing was changed."""


async def cancel_job(connection: Connection, job_id: str, reason: str = "", *, queue: str = "*") -> CancelOutcome:
    """End a job as cancelled, whether it waits, is held or runs.

    The job's record is compared-and-set to cancelled: from then on no worker can claim the job or store a result, whatever
    else is lost on the way. Then the worker that runs it is told, jobs that wait for it are ended or released, and it is laid
    aside, from where `retry_job` can put it back. Cancelling again is safe, and completes what an earlier call left.

    Args:
        reason: For people; kept in the record and in the `JobCancelledError` of those who wait. At most 2,000 characters.
        queue: Its queue; by default it is looked for in all.

    Raises:
        JobNotFoundError: Neither the job nor a record of it exists (any more).
        AmbiguousJobError: No queue was given, and several have a job of this id.
        BrokerError: It is unknown whether the job was cancelled; do it again.
    """
    job_id, queue = check_place(job_id, queue)
    reason = clean_text(text(reason, "reason", most=1_000_000), REASON_LIMIT)
    while True:
        job = await find(connection, job_id, queue)
        record, revision = job.to_end()
        if record is None:
            if job.is_left_over:
                await _conclude(connection, job.ended())
            return CancelOutcome.ALREADY_ENDED
        was_running = record.state is JobState.RUNNING
        transitions.cancelled(record, connection.clock.now(), reason)
        if not await store_end(connection, record, revision):
            continue  # a claim, a report or the end came first: look again
        may_run = was_running or job.is_fast
        if not may_run:  # else its worker counts it
            connection.tally.add(record.queue, record.function, "cancelled")
        log.debug("job %s (%s) is cancelled%s", job_id, record.function, " while it runs" if was_running else "")
        if may_run:
            conclude = _conclude(connection, record, is_running=True)
            await asyncio.gather(_tell_workers(connection, record, known=was_running), conclude)
            return CancelOutcome.WHILE_RUNNING
        await _conclude(connection, record, has_run=False)
        # Only now, as it is delivered no more.
        if await _is_delivered(connection, job):
            await _tell_workers(connection, record, known=False)
            return CancelOutcome.WHILE_RUNNING
        return CancelOutcome.BEFORE_START


class Found(msgspec.Struct):
    """A job's record and message, as they were found one right after the other."""

    stored: Stored | None
    message: Message | None
    envelope: Envelope | None = None
    """The envelope of the message; None if it is not a job."""
    is_live: bool = False
    """The message is ready or delayed, not archived."""

    @property
    def queue(self) -> str:
        """The job's queue."""
        return state_of_subject(self.message.subject)[1] if self.message is not None else self.ended().queue

    @property
    def is_ended(self) -> bool:
        """The run that the message belongs to is over; so is a job of which only the record or the dead message is left."""
        return self.to_end()[0] is None

    @property
    def is_fast(self) -> bool:
        """A live job that runs without a claim."""
        return self.is_live and self.envelope is not None and self.envelope.opt.fast

    @property
    def waits_for(self) -> str:
        """What a held job without a time waits for, as a sentence."""
        signal = "" if self.envelope is None else self.envelope.signal
        return f"it is waiting for the signal {signal}" if signal else "it is waiting for other jobs"

    @property
    def is_of_record(self) -> bool:
        """The message belongs to the run in the record, not to a later one of the same id."""
        if self.stored is None:
            return False
        record = self.stored.record
        return self.envelope is None or self.envelope.run == record.run or isinstance(record, UnreadableRecord)

    @property
    def is_left_over(self) -> bool:
        """The job has ended, but its live message is still there."""
        return self.is_live and self.is_of_record

    def ended(self) -> JobRecord:
        """Return the record, which must be there."""
        assert self.stored is not None  # noqa: S101 - there is one or the other
        return self.stored.record

    def to_end(self) -> tuple[JobRecord | None, int]:
        """Return the record with which to end the job, and the revision to compare-and-set against; None if it has ended."""
        if self.stored is not None and not self.stored.record.state.is_final:
            record, revision = self.stored
            if self.is_live and self.envelope is not None:
                record = msgspec.structs.replace(record, run=self.envelope.run)
            return record, revision
        if not self.is_live or (self.stored is not None and self.is_of_record):
            return None, 0
        return self.fresh(), 0 if self.stored is None else self.stored.revision

    def fresh(self) -> JobRecord:
        """Return the record of the live or kept job as if it was never claimed."""
        assert self.message is not None  # noqa: S101 - of a job that is there
        _, queue, job_id = state_of_subject(self.message.subject)
        return unrun_record(self.message.data, (queue, job_id))


async def find(connection: Connection, job_id: str, queue: str) -> Found:
    """Look a job up.

    Raises:
        JobNotFoundError: There is neither record nor message.
        AmbiguousJobError: No queue was given, and several have a job of this id.
    """
    stored, message = await look_up(connection, job_id, queue)
    if stored is None and message is None:
        raise await not_found(connection, job_id, queue)
    return found_of(stored, message)


def found_of(stored: Stored | None, message: Message | None) -> Found:
    """Return a job's record and its newest message, of which at least one is there."""
    found = Found(stored, message)
    if message is not None:
        found.is_live = state_of_subject(message.subject)[0] not in ASIDE
        try:
            found.envelope = decode_envelope(message.data)
        except DecodeError as error:
            log.debug("message %s is not a job: %s", message.subject, error)
    return found


async def store_end(connection: Connection, record: JobRecord, revision: int) -> bool:
    """Compare-and-set a final record; return False where somebody else was faster."""
    return await write_record(connection, record, revision, connection.settings.failure_ttl.total_seconds()) is not None


async def _is_delivered(connection: Connection, job: Found) -> bool:
    """Whether a worker may have started a job without a claim, as it was the first one to get it."""
    message = job.message
    if job.stored is not None or message is None or FIRST not in message.headers:
        return False
    level, queue, _ = state_of_subject(message.subject)
    if level not in LEVELS:
        return False
    try:
        return (await consumer_state(connection, queue, level)).newest >= message.sequence
    except BrokerError as error:  # then it is stopped when it is to be claimed
        log.debug("cannot determine whether job %s was delivered: %s", job.queue, error)
        return False


async def _tell_workers(connection: Connection, record: JobRecord, *, known: bool) -> None:
    """Interrupt the job where it runs; a worker that cannot be reached finds out when it reconnects, reports or ends."""
    # Presence is some seconds old: it may not list yet what a worker has just taken.
    workers = (
        [record.worker] * is_worker_id(record.worker)
        if known
        else [each["worker_id"] for each in await list_workers(connection) if "unreadable" not in each]
    )
    request = ControlRequest("cancel", record.queue, record.job_id)
    await asyncio.gather(*(_tell(connection, each, request) for each in workers))


async def _tell(connection: Connection, worker_id: str, request: ControlRequest) -> None:
    try:
        if await ask_worker(connection, worker_id, request) is None:
            log.warning("job %s is cancelled, but worker %s does not answer", request.job_id, worker_id)
    except SignatureError as error:
        log.warning("job %s is cancelled, but continues until its worker reports: %s", request.job_id, error)


async def _conclude(connection: Connection, record: JobRecord, *, is_running: bool = False, has_run: bool = True) -> None:
    """Do what follows the end: all of it may be done again, by the job's next delivery or by another call.

    Args:
        has_run: Its worker, or else its next delivery, gives up the message of a job that has a place of its key.
    """
    try:
        await release(connection, record)  # before the message goes: who dies here is followed by its next delivery
        message = await find_job(connection, record.job_id, record.queue)
        state = "" if message is None else state_of_subject(message.subject)[0]
        if message is None or state in ASIDE or not _is_of_run(message, record.run):
            return
        # Otherwise the place of its key is free only when its function has ended.
        if not (has_run and PLACE in message.headers and state in LEVELS):
            await _set_aside(connection, message, is_running=is_running)
    except BrokerError as error:
        log.warning("job %s is cancelled, but still in its queue (%s): its next delivery removes it", record.job_id, error)


async def _set_aside(connection: Connection, message: Message, *, is_running: bool) -> None:
    """Archive a cancelled job; one with callbacks is left to a worker, which enqueues them: the one that runs it, if any."""
    if is_running and has_callbacks_for(message, JobState.CANCELLED):
        return
    if not await leave_to_worker(connection, message, JobState.CANCELLED):
        await archive(connection, message, JobState.CANCELLED)


def _is_of_run(message: Message, run: str) -> bool:
    try:
        return decode_envelope(message.data).run == run
    except DecodeError:
        return True  # it has no run, and its record ends it


async def archive(connection: Connection, message: Message, ended: JobState) -> None:
    """Archive the call of a job that ended, so that it can be requeued. If another process was faster, it did the same."""
    state, queue, job_id = state_of_subject(message.subject)
    archived = connection.names.archive(queue, job_id, ended)
    ttl = connection.settings.dead_ttl.total_seconds()
    if state == "held":
        await move(connection, message, archived, ttl=ttl)
        return
    headers = {
        **if_newest(connection, queue, job_id, message.sequence),
        TTL: ttl_text(ttl),
        **schedule_headers(message.subject, None),
    }
    try:
        await connection.publish(archived, message.data, headers)
    except WrongSequenceError:
        return
    await remove(connection, message, arguments=False)
