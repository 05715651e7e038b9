"""From outcome to record, retry or dead job, and only then the acknowledgement."""

import logging
from collections.abc import Callable
from typing import TypeAlias

from naq_core import transitions
from naq_core.envelope import NO_OPTIONS, JobOptions, Large
from naq_core.errors import PayloadTooLargeError, WrongSequenceError
from naq_core.previews import clean_text
from naq_core.record import UNREADABLE, AttemptError, JobRecord, JobState
from naq_core.results import sign_result
from naq_core.storage import objects
from naq_core.storage.connection import Connection
from naq_core.storage.deliveries import Delivery
from naq_core.storage.messages import if_newest, schedule_headers
from naq_core.storage.records import read_record
from naq_core.storage.subjects import PLACE, TURN
from naq_core.transport.headers import TTL, ttl_text
from naq_worker import _attempt_log
from naq_worker._active import Claim, Counters
from naq_worker._backpressure import Backpressure
from naq_worker._record_writer import LostError, RecordWriter
from naq_worker._shortage import ShortageError
from naq_worker._suspects import acquit, is_condemned
from naq_worker.outcome import Cancelled, Completed, Crashed, Failed, Interrupted, Outcome, Short, Snoozed

log = logging.getLogger(__name__)

LONGEST_NAK = 10.0
"""A longer delay becomes a held message: a NAKed one counts as in flight, for the consumer's limit and for autoscalers."""
LONGEST_NAK_IF_LIMITED = 0.25
"""The consumer of a limited queue lets no more be in flight than may run: those that back off would stop the others."""
PUT_OFF = 1.0
"""Seconds before a job that has to run alone, and cannot have its worker for itself, is delivered again."""
MOST_DELIVERIES = 20
"""From this delivery on a job that finds no memory for its arguments or its result has failed: it may be the one to blame."""
LONGEST_REASON = 500

Finish: TypeAlias = Callable[[Delivery, JobRecord, JobOptions], None]
"""Takes a job whose end is on record: does the duty to its dependents, enqueues its callbacks, and then acknowledges."""


class Settler:
    """Ends attempts for one worker."""

    def __init__(
        self,
        connection: Connection,
        counters: Counters,
        backpressure: Backpressure,
        finish: Finish,
        is_limited: Callable[[str], bool],
    ) -> None:
        self._connection = connection
        self._settings = connection.settings
        self._now = connection.clock.now
        self._counters = counters
        self._finish = finish
        self._is_limited = is_limited
        self._records = RecordWriter(connection, backpressure)
        self.handed_back = 0
        """How many jobs were handed back as the worker was short of something."""

    async def settle(self, delivery: Delivery, options: JobOptions, claim: Claim, outcome: Outcome) -> JobState | None:
        """Record the outcome of the attempt and acknowledge, or hand the job on to its next attempt.

        Returns:
            The state it leaves the job in; None if another worker owns the job by now.
        """
        record = claim.record
        if record.crashes and not isinstance(outcome, Crashed | Interrupted | Short):
            acquit(record, self._settings.max_crashes)
        try:
            match outcome:
                case Completed():
                    await self._succeed(delivery, options, claim, outcome)
                case Failed():
                    await self._fail(delivery, options, claim, outcome)
                case Crashed(reason=reason):
                    await self._crash(delivery, options, claim, reason)
                case Snoozed(delay=delay, reason=reason):
                    record.reason = reason
                    record.attempt -= 1  # the next claim adds one: a snooze uses up no attempt
                    await self._again(delivery, claim, delay)
                    _attempt_log.snoozed(record, delay, reason)
                case Cancelled(reason=reason):
                    transitions.cancelled(record, self._now(), reason)
                    await self._end(delivery, options, claim, self._settings.failure_ttl.total_seconds())
                    _attempt_log.cancelled(record, reason)
                case Interrupted(lease_lost=lease_lost):
                    await self._hand_back(delivery, claim, "lease lost" if lease_lost else "returned by a stopping worker")
                    _attempt_log.interrupted(record, lease_lost=lease_lost)
                case Short():
                    await self._put_back(delivery, options, claim, outcome)
        except LostError:
            return await self._give_up(delivery, options, record, outcome)
        return record.state

    async def _give_up(self, delivery: Delivery, options: JobOptions, record: JobRecord, outcome: Outcome) -> JobState | None:
        """Drop the outcome of an attempt that no longer belongs to this worker; a cancelled job is still acknowledged."""
        stored = await read_record(self._connection, record.queue, record.job_id)
        failure = outcome if isinstance(outcome, Failed) else None
        if stored is None or not stored.record.state.is_final or stored.record.run != record.run:
            _attempt_log.discarded(record, "was taken over by another worker", failure)
            return None
        if stored.record.state is JobState.CANCELLED:
            _attempt_log.cancelled(stored.record, stored.record.reason)
        else:
            _attempt_log.discarded(record, f"had ended already ({stored.record.state})", failure)
        await self.finish_duties(delivery, stored.record, options)
        # One that was cancelled before its claim has been counted by the canceller.
        return JobState.CANCELLED if stored.record.state is JobState.CANCELLED and stored.record.worker else None

    async def _succeed(self, delivery: Delivery, options: JobOptions, claim: Claim, outcome: Completed) -> None:
        record = claim.record
        ttl = self._settings.result_ttl.total_seconds() if options.result_ttl is None else options.result_ttl
        record.result_type, record.result, record.result_text = outcome.content_type, outcome.result, outcome.text
        if len(outcome.result) > self._connection.large_limit:
            record.result, record.large = b"", await self._put_result(record, outcome.result, ttl)
        sign_result(self._connection, record)
        transitions.succeeded(record, self._now())
        try:
            await self._end(delivery, options, claim, ttl)
        except LostError:
            if record.large is not None:
                await objects.remove(self._connection, record.large)
            raise
        except PayloadTooLargeError as error:
            transitions.not_stored(record)
            if record.large is None and len(outcome.result) > self._connection.large_limit:  # the server's limit was lowered
                await self._succeed(delivery, options, claim, outcome)
                return
            record.result_type, record.result, record.signature = "", b"", b""
            failed = Failed("naq_core.errors.PayloadTooLargeError", f"the result: {error}", retry=False)
            await self._fail(delivery, options, claim, failed)

    async def _put_result(self, record: JobRecord, result: bytes, ttl: float) -> Large:
        """Store a large result, to stay as long as its record, which is written next."""
        ttl += 2 * self._settings.publish_budget.total_seconds()
        where = (self._connection, record.queue, record.job_id, objects.RESULT)
        return await self._records.insist(record, lambda: objects.put(*where, result, ttl))

    async def _fail(self, delivery: Delivery, options: JobOptions, claim: Claim, outcome: Failed) -> None:
        record, policy = claim.record, options.retry
        self._note(record, outcome.type, outcome.message, outcome.traceback)
        failures = record.attempt - record.crashes
        most = policy.max_retries + 1 + record.crashes
        if outcome.retry and failures <= policy.max_retries:
            self._counters.retried += 1
            delay = policy.delay(failures) if outcome.delay is None else outcome.delay
            await self._again(delivery, claim, delay)
            _attempt_log.will_retry(record, outcome, most, delay)
        else:
            await self._die(delivery, options, claim, outcome, most)

    async def _crash(self, delivery: Delivery, options: JobOptions, claim: Claim, reason: str) -> None:
        record = claim.record
        record.crashes += 1
        self._note(record, "WorkerLost", reason)
        if is_condemned(record, self._settings.max_crashes):
            await self._die(delivery, options, claim, Failed("WorkerLost", reason), None)
        else:
            await self._again(delivery, claim, 0)
            _attempt_log.will_retry(record, Failed("WorkerLost", reason), None, 0)

    async def die_of_crashes(self, delivery: Delivery, options: Callable[[], JobOptions], claim: Claim) -> None:
        """End a job that has taken its workers down too often, without running it again.

        Args:
            options: Returns the job's options; called when the job has ended, as the import of its task may be what kills.
        """
        last = claim.record.errors[-1]
        try:
            await self._bury(delivery, claim, Failed(last.type, last.message))
        except LostError:
            log.info("job %s: taken over by another worker", claim.record.job_id)
        else:
            self._finish(delivery, claim.record, options())

    async def dead_letter(self, delivery: Delivery, error: Exception) -> None:
        """Move a message that is no job to the dead ones, with the reason."""
        record = transitions.unclaimed(delivery.job_id, delivery.queue, UNREADABLE)
        self._note(record, type(error).__name__, str(error))
        transitions.dead(record, self._now())
        log.error("queue %s: rejected message %s, moved to the dead-letter subject: %s", delivery.queue, delivery.job_id, error)
        self._counters.failed += 1
        try:
            await self._records.write(Claim(record, 0, 0), self._settings.failure_ttl.total_seconds())
        except LostError:
            log.info("job %s already has a record, which is kept", delivery.job_id)
        await self.archive(delivery, JobState.DEAD)
        self._finish(delivery, record, NO_OPTIONS)

    async def finish_duties(self, delivery: Delivery, record: JobRecord, options: JobOptions) -> None:
        """Do what a worker that died between record and acknowledgement left undone; all of it may be done twice."""
        self._counters.skipped += 1
        if record.state in {JobState.DEAD, JobState.CANCELLED}:
            await self.archive(delivery, record.state)
        self._finish(delivery, record, options)

    async def end_unrun(self, delivery: Delivery, record: JobRecord, options: JobOptions) -> None:
        """Give up the message of a job that has ended on record without having run; it is kept, to be tried again."""
        await self.archive(delivery, record.state)
        self._finish(delivery, record, options)

    async def progress(self, claim: Claim, *, has_news: bool = True) -> bool:
        """Write the record of a running job, with its progress; return whether it is still this worker's.

        Args:
            has_news: It has progress or lines to tell; else it is only claimed, if it was not yet.
        """
        try:
            if not claim.revision:
                await self._records.write(claim, None, insists=False)
            if has_news:
                await self._records.write(claim, None, progress=True, insists=False)
        except LostError:
            log.info("job %s: progress dropped; the job was cancelled or taken over by another worker", claim.record.job_id)
            return False
        return True

    def _note(self, record: JobRecord, kind: str, message: str, traceback: str = "") -> None:
        text, now = clean_text(message, 2000), self._now()
        error = AttemptError(
            kind, text, traceback, attempt=record.attempt, at=now, worker=record.worker, started=record.started_at
        )
        transitions.note_error(record, error)

    async def _end(self, delivery: Delivery, options: JobOptions, claim: Claim, ttl: float) -> None:
        """Store that the job has succeeded or was cancelled."""
        await self._records.write(claim, ttl)
        if claim.record.state is JobState.SUCCEEDED:
            self._counters.succeeded += 1
        else:
            await self.archive(delivery, JobState.CANCELLED)
        self._finish(delivery, claim.record, options)

    async def _die(self, delivery: Delivery, options: JobOptions, claim: Claim, failure: Failed, most: int | None) -> None:
        await self._bury(delivery, claim, failure, most)
        self._finish(delivery, claim.record, options)

    async def _bury(self, delivery: Delivery, claim: Claim, failure: Failed, most: int | None = None) -> None:
        """Store that the job has failed for good."""
        record = claim.record
        transitions.dead(record, self._now())
        await self._records.write(claim, self._settings.failure_ttl.total_seconds())
        self._counters.failed += 1
        _attempt_log.failed_for_good(record, failure, most)
        await self.archive(delivery, JobState.DEAD)

    async def archive(self, delivery: Delivery, state: JobState) -> None:
        """Keep the whole message for requeue: a schedule for a far future, which the server removes at its TTL.

        Only while it is the newest of its job: a late re-delivery must not bury what has been put back to work since.
        """
        names = self._connection.names
        headers = {
            **if_newest(self._connection, delivery.queue, delivery.job_id, delivery.sequence),
            **schedule_headers(names.ready(delivery.queue, delivery.job_id, delivery.level), None),
            TTL: ttl_text(self._settings.dead_ttl.total_seconds()),
        }
        try:
            self._connection.check_size("the job", len(delivery.data))
            await self._connection.publish(names.archive(delivery.queue, delivery.job_id, state), delivery.data, headers)
        except WrongSequenceError:
            log.debug("job %s is already archived, or was requeued", delivery.job_id)
        except PayloadTooLargeError as error:  # only a foreign message can be; its record says what it was
            log.error("job %s cannot be archived for a requeue: %s", delivery.job_id, error)  # noqa: TRY400 - the size says it all

    async def _again(
        self, delivery: Delivery, claim: Claim, delay: float, move: Callable[[JobRecord, float], None] = transitions.retrying
    ) -> None:
        record = claim.record
        move(record, self._now() + delay)
        ttl = delay + self._settings.failure_ttl.total_seconds()  # for one that is purged meanwhile, and never ends
        if delay <= (LONGEST_NAK_IF_LIMITED if self._is_limited(delivery.queue) else LONGEST_NAK):
            await self._records.write(claim, ttl)
            await delivery.nak(delay)
            return
        await self._hold(delivery, delay)
        record.superseded = delivery.sequence
        await self._records.write(claim, ttl)
        await delivery.ack()

    async def put_off(self, delivery: Delivery, claim: Claim) -> None:
        """Hand a suspect back for a moment: in a limited queue as a held job, since those in flight keep others waiting."""
        if not self._is_limited(delivery.queue):
            await delivery.nak(PUT_OFF)
            return
        try:
            await self._again(delivery, claim, PUT_OFF, transitions.put_off)
        except LostError:
            log.debug("job %s was already postponed by another worker", delivery.job_id)

    async def _hold(self, delivery: Delivery, delay: float) -> None:
        """Publish the job on its held subject, against its own ready message, so that it can happen only once."""
        names = self._connection.names
        headers = {
            **if_newest(self._connection, delivery.queue, delivery.job_id, delivery.sequence),
            **schedule_headers(names.ready(delivery.queue, delivery.job_id, delivery.level), self._now() + delay),
        }
        if delivery.place:  # nothing of its key overtakes it
            headers[PLACE] = delivery.place
        if delivery.turn:
            headers[TURN] = delivery.turn
        try:
            await self._connection.publish(names.held(delivery.queue, delivery.job_id), delivery.data, headers)
        except WrongSequenceError:
            log.debug("job %s is already delayed", delivery.job_id)

    async def _put_back(self, delivery: Delivery, options: JobOptions, claim: Claim, outcome: Short) -> None:
        """Hand back a job that the worker could not run, unless it has done so too often and the job may be to blame."""
        if outcome.may_be_the_jobs and delivery.delivered >= MOST_DELIVERIES:
            await self._fail(delivery, options, claim, Failed(ShortageError.__name__, outcome.reason))
            return
        self.handed_back += 1
        await self._hand_back(delivery, claim, outcome.reason)
        _attempt_log.handed_back(claim.record, outcome.reason)

    async def _hand_back(self, delivery: Delivery, claim: Claim, reason: str) -> None:
        transitions.handed_back(claim.record, clean_text(reason, LONGEST_REASON))
        await self._records.write(claim, self._settings.failure_ttl.total_seconds())
        await delivery.nak()
