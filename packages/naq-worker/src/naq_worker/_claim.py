"""Claiming a delivered job: exactly one worker may run it, whatever the server has forgotten."""

import logging
from collections import deque
from collections.abc import Awaitable, Callable
from enum import Enum, auto

import msgspec

from naq_core import transitions
from naq_core.envelope import Envelope
from naq_core.record import AttemptError, JobRecord, JobState, UnreadableRecord
from naq_core.sent_signal import reason_of_expiry
from naq_core.storage.bells import leaving_bell, ring
from naq_core.storage.connection import Connection
from naq_core.storage.deliveries import Delivery
from naq_core.storage.presence import read_presence
from naq_core.storage.records import Stored, read_record, write_record
from naq_worker import _attempt_log
from naq_worker._active import Active, Claim
from naq_worker._late import Late
from naq_worker._suspects import Isolation, charge, is_condemned

log = logging.getLogger(__name__)

BUSY_DELAY = 1.0
"""Seconds before a job in another worker's living hands is looked at again."""
MOST_UNRECORDED = 1000
EARLY = 0.05
"""A retry that arrives this much before its time is run."""


class Owner(Enum):
    """What the worker that a record names does with its job."""

    RUNS_IT = auto()
    COULD_NOT_RECORD = auto()
    """It lives and has run the job, but the server did not take the record of its end."""
    GONE = auto()
    """It died, or knows nothing of the job."""


class Claims:
    """Claims jobs for one worker.

    Args:
        isolation: Where a suspect gets the worker for itself.
        put_off: Hands a suspect back that cannot have it now.
    """

    def __init__(
        self,
        connection: Connection,
        worker_id: str,
        isolation: Isolation,
        put_off: Callable[[Delivery, Claim], Awaitable[None]],
    ) -> None:
        self.late = Late(connection, worker_id)
        self._connection = connection
        self._worker_id = worker_id
        self._isolation = isolation
        self._put_off = put_off
        self._now = connection.clock.now
        self._max_crashes = connection.settings.max_crashes
        self.handed_back = 0
        """How many suspects were handed back for a moment."""
        self.unrecorded: deque[str] = deque(maxlen=MOST_UNRECORDED)
        """Ids of jobs that this worker has left to be redelivered, because the server did not accept their record."""
        self._failure_ttl = connection.settings.failure_ttl.total_seconds()
        self._busy_delay = min(BUSY_DELAY, connection.settings.ack_wait.total_seconds() / 3)

    async def claim(self, active: Active, envelope: Envelope) -> Claim | Stored | None:
        """Claim a job, or find out why not.

        Returns:
            The claim; or the final record of a job that has ended (expired just now, it may be), whose duties may be undone;
            or None where the delivery has been settled, as another worker has the job or its time has not come.
        """
        delivery = active.delivery
        active.started_at = self._now()
        record = transitions.claimed(envelope, delivery.queue, self._worker_id, active.started_at, delivery.sequence)
        is_late = is_expired(envelope, self._connection)
        if delivery.delivered == 1:  # a first delivery nearly always finds no record: try without reading
            claim = await self._write(self._too_late(record, delivery, envelope) if is_late else record, 0)
            if claim is not None:
                return Stored(claim.record, claim.revision) if is_late else claim
        while True:
            stored = await read_record(self._connection, delivery.queue, delivery.job_id)
            decision = await self._decide(delivery, stored, record)
            if not isinstance(decision, JobRecord):
                return decision
            revision = 0 if stored is None else stored.revision
            if decision.state is JobState.RETRYING:  # the worker died: that is put on record first
                _ = await self._write(decision, revision)
                continue
            if stored is not None and self._must_be_alone(decision) and not is_expired(envelope, self._connection):
                if not await self._isolation.enter(active):
                    self.handed_back += 1
                    await self._put_off(delivery, Claim(stored.record, revision, revision))
                    return None
                decision.alone, decision.started_at = True, self._now()
            if is_expired(envelope, self._connection) and not decision.state.is_final:
                decision = self._too_late(decision, delivery, envelope)
            claim = await self._write(decision, revision)
            if claim is not None:
                return Stored(claim.record, claim.revision) if decision.state.is_final else claim

    def _must_be_alone(self, record: JobRecord) -> bool:
        return record.suspect and not is_condemned(record, self._max_crashes)

    async def _decide(self, delivery: Delivery, stored: Stored | None, fresh: JobRecord) -> JobRecord | Stored | None:
        """Return the record to write, the final one that stands, or None after settling."""
        if stored is None:
            return fresh
        old = stored.record
        if isinstance(old, UnreadableRecord):
            return _buried(old, fresh, self._now())
        if old.run != fresh.run:
            return await self._follow(delivery, old, fresh)
        if old.state.is_final:
            if delivery.delivered > 1:
                self._note_redelivered(fresh)  # its acknowledgement was lost
            return stored
        if old.superseded == delivery.sequence:
            await delivery.ack()  # its retry is on the held subject
            return None
        now = self._now()
        match old.state:
            case JobState.RUNNING:
                return await self._decide_on_running(delivery, old, fresh)
            case JobState.RETRYING if old.next_at - now > EARLY:
                await delivery.nak(min(old.next_at - now, 60))
                return None
            case _:
                return transitions.claimed_again(old, fresh, now)

    async def _decide_on_running(self, delivery: Delivery, old: JobRecord, fresh: JobRecord) -> JobRecord | None:
        match await self._owner(old):
            case Owner.RUNS_IT:
                await delivery.nak(self._busy_delay)
                return None
            case Owner.COULD_NOT_RECORD:
                self._note_redelivered(fresh)
                return self._again(old, fresh)
            case Owner.GONE if old.worker == self._worker_id:
                return self._take_over(old, fresh, "the worker lost track of the job")
            case Owner.GONE:
                return self._take_over(old, fresh, f"worker {old.worker} died while running the job")

    async def _follow(self, delivery: Delivery, old: JobRecord, fresh: JobRecord) -> JobRecord | None:
        """Decide on another run of the id than that of the record: it comes after it, and never before its end."""
        if old.sequence > delivery.sequence:
            log.info("job %s: replaced by a later job", old.job_id)
            if delivery.place:  # that of the replaced one, which nobody else ends
                place = (delivery.queue, delivery.place, delivery.level, delivery.job_id, fresh.run)
                await ring(self._connection, [leaving_bell(self._connection, *place)])
            await delivery.ack()
            return None
        if old.state is JobState.RUNNING and await self._owner(old) is Owner.RUNS_IT:
            await delivery.nak(self._busy_delay)
            return None
        return fresh

    def _too_late(self, claim: JobRecord, delivery: Delivery, envelope: Envelope) -> JobRecord:
        """Return the end of a job in place of the claim."""
        record = msgspec.structs.replace(claim)
        transitions.expired(record, self._now(), reason_of_expiry(envelope, waits=delivery.looks is not None))
        return record

    def _take_over(self, old: JobRecord, fresh: JobRecord, reason: str) -> JobRecord:
        """Return what the death of its worker means for a job, to be stored before it is run again."""
        self._note_redelivered(fresh)
        reason += "; it ran alone" if old.alone else "; other jobs may have been the cause, so it will run alone next"
        error = AttemptError("WorkerLost", reason, attempt=old.attempt, at=self._now(), worker=old.worker, started=old.started_at)
        transitions.worker_lost(old, error)
        charge(old)
        counted = old.crashes - old.excused
        _attempt_log.lost(old, f"{reason} (counted crashes: {counted} of {self._max_crashes})")
        return old

    def _again(self, old: JobRecord, fresh: JobRecord) -> JobRecord:
        """The attempt ended while the server took no records: nobody died, so it counts neither as a crash nor as a failure."""
        reason = "the attempt ended, but its outcome could not be stored"
        _attempt_log.lost(old, reason)
        now = self._now()
        error = AttemptError("ResultLost", reason, attempt=old.attempt, at=now, worker=old.worker, started=old.started_at)
        return transitions.run_again(old, fresh, now, error)

    def _note_redelivered(self, record: JobRecord) -> None:
        """Count a redelivery of a job that a worker had."""
        self._connection.tally.add(record.queue, record.function, "redelivered")

    async def _owner(self, record: JobRecord) -> Owner:
        """Return what the worker in the record does with the job, by its presence.

        Its two stamps, of the claim and of the presence, are of one clock: a presence older than the claim cannot list it.
        """
        if record.worker == self._worker_id:
            return Owner.COULD_NOT_RECORD if record.job_id in self.unrecorded else Owner.GONE
        presence = await read_presence(self._connection, record.worker)
        if presence is None:
            # The presence may have expired while the server was down; a living owner renews it right after reconnecting.
            patience = self._connection.settings.worker_ttl.total_seconds()
            may_come_back = self._connection.generation > 0 and self._connection.seconds_connected < patience
            return Owner.RUNS_IT if may_come_back else Owner.GONE
        if record.job_id in presence["running"] or presence["at"] <= record.started_at:
            return Owner.RUNS_IT
        return Owner.COULD_NOT_RECORD if record.job_id in presence.get("unrecorded", ()) else Owner.GONE

    async def _write(self, record: JobRecord, revision: int) -> Claim | None:
        """Compare-and-set the claim; None if another worker was faster."""
        ttl = None if record.state is JobState.RUNNING else self._failure_ttl
        sequence = await write_record(self._connection, record, revision, ttl)
        if sequence is None:
            return None
        claim = Claim(record, sequence, sequence)
        self.late.note_claim(claim)
        return claim


def is_expired(envelope: Envelope, connection: Connection) -> bool:
    """Whether no attempt of a job may be started any more."""
    return 0 < envelope.expires < connection.clock.now()


def _buried(unreadable: UnreadableRecord, fresh: JobRecord, ended_at: float) -> JobRecord:
    """Return the end of a job whose record cannot be read: it may have run, and ended, so it is not run again unasked."""
    error = AttemptError("UnreadableRecord", f"{unreadable.reason}. The job may have run", at=ended_at)
    record = msgspec.structs.replace(fresh, attempt=0, worker="", started_at=0.0, errors=[error])
    transitions.dead(record, ended_at)
    return record
