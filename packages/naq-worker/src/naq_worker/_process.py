"""One delivery, from its decoding to its acknowledgement."""

import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import msgspec

from naq_core.dependency import ParentOutcome
from naq_core.envelope import EndedJob, Envelope, JobOptions, Large, decode_envelope, encode_envelope
from naq_core.errors import BrokerError, DecodeError, InvalidNameError, LargePayloadError, UnknownWireVersionError
from naq_core.names import check_job_id
from naq_core.record import FINAL, JobRecord, JobState
from naq_core.storage import objects
from naq_core.storage.connection import Connection
from naq_core.storage.deliveries import Delivery
from naq_core.storage.keys import token_of_key
from naq_core.storage.records import Stored
from naq_core.storage.subjects import ALL
from naq_worker import _attempt_log
from naq_worker._active import Active, Claim, Counters
from naq_worker._attempt import Attempts
from naq_worker._claim import Claims, is_expired
from naq_worker._declared import ByName
from naq_worker._finisher import Finisher
from naq_worker._keys import Keys
from naq_worker._limits import Limits
from naq_worker._metrics import Metrics, name_of
from naq_worker._report import Reporter, Reports
from naq_worker._settle import Settler
from naq_worker._shortage import lack_of
from naq_worker._suspects import Isolation, is_condemned, window
from naq_worker.outcome import Completed, Failed, Outcome, Short

log = logging.getLogger(__name__)

GONE_FOR_GOOD = FINAL - {JobState.DEAD, JobState.CANCELLED}
"""States in which a job's large arguments have no more use: a dead or cancelled one may be put back."""
NEWER_VERSION_DELAY = 5.0
NEWER_VERSION_TRIES = 20
LONGEST_WAIT = 30.0
"""Seconds after which a job asks again for a token of its key's rate, at the latest."""


@dataclass(slots=True)
class Processor:
    """Takes deliveries from claim to acknowledgement, for one worker."""

    connection: Connection
    counters: Counters
    claims: Claims
    attempts: Attempts
    settler: Settler
    finisher: Finisher
    limits: Limits
    keys: Keys
    reports: Reports
    metrics: Metrics
    isolation: Isolation
    finds_place: Callable[[Active], bool]
    """Asked before a `process=True` job is claimed: whether there is a child process for it."""
    on_ran: Callable[[Active, float], None]
    """Called when the function has ended, with the seconds it took."""
    on_given_up: Callable[[Active, Coroutine[Any, Any, None]], None]
    """Called when the function goes on after its cancellation, with what settles the job without it."""

    by_name: ByName = field(init=False)

    def __post_init__(self) -> None:
        self.by_name = ByName(self.connection.settings)

    def process(self, active: Active) -> Coroutine[Any, Any, None]:
        """Take one delivery from claim to acknowledgement."""
        return self._guarded(active, partial(self._begin, active))

    async def _guarded(self, active: Active, begin: Callable[[], Awaitable[object] | None]) -> None:
        """Leave a job to its next delivery where the server does not take what is to be recorded of it, or memory is short."""
        try:
            if (work := begin()) is not None:
                await work
        except Exception as error:
            if not isinstance(error, BrokerError) and lack_of(error) is None:
                raise
            # Not acknowledged, so it is redelivered, to a worker that can settle it.
            log.warning("job %s will be retried on redelivery: %s", active.delivery.job_id, str(error) or type(error).__name__)
            self.claims.unrecorded.append(active.delivery.job_id)
        finally:
            if active.leave is not None and not active.is_given_up:
                await self._leave(active)

    def _begin(self, active: Active) -> Awaitable[object] | None:
        """Decode a delivery and return what is to be done with it; None where it was put back."""
        delivery = active.delivery
        try:
            check_job_id(delivery.job_id)
        except InvalidNameError as error:  # a wildcard or a stray byte: no record can be kept under such a name
            log.error("queue %s: dropped a foreign message: %s", delivery.queue, error)  # noqa: TRY400 - the error says it all
            return delivery.ack()
        try:
            envelope = decode_envelope(self.connection.signer.open(delivery.data, delivery.queue, delivery.job_id))
            if envelope.id != delivery.job_id:
                raise DecodeError(f"its subject names job {delivery.job_id}, but its envelope {envelope.id!r}")  # noqa: TRY301
        except UnknownWireVersionError as error:
            return self._leave_to_newer(delivery, error)
        except DecodeError as error:
            return self._bury(delivery, error)
        if envelope.given is not None and (delivery.delivered == 1 or envelope.fn in self.by_name.found):
            return self._begin_as_declared(active, envelope)  # else after the claim, which counts the crashes of an import
        return self._begin_known(active, envelope)

    async def _begin_as_declared(self, active: Active, envelope: Envelope) -> None:
        """Go on with a job that was enqueued by name as its task declares it: it may have to wait for a key or a signal first."""
        envelope, gates = self.by_name.complete(envelope)
        if gates:
            delivery = active.delivery
            try:
                body = envelope.body if envelope.large is None else await objects.get(self.connection, envelope.large)
                envelope = self.by_name.with_gates(envelope, body, gates)
                delivery.data = self.connection.signer.seal(encode_envelope(envelope), *delivery.key)
                self.connection.check_size(f"the call of {envelope.fn}", len(delivery.data))
            except BrokerError:
                raise
            except Exception as error:  # noqa: BLE001 - whatever a function of the task raises
                message = f"the {' and the '.join(gates)} that its task declares cannot be applied to this call by name: {error}"
                await self._attempt(active, envelope, Failed("naq_core.errors.InvalidOptionError", message, retry=False))
                return
            if "wait_for" in gates:
                await self.finisher.hold(delivery, envelope)
                return
        if (work := self._begin_known(active, envelope)) is not None:
            await work

    def _begin_known(self, active: Active, envelope: Envelope) -> Awaitable[object] | None:
        """Return what is to be done with a job whose options are known; None where it was put back."""
        delivery = active.delivery
        if envelope.opt.key and not delivery.place:
            return self._wait_for_key(delivery, envelope)
        if envelope.opt.process and not self.finds_place(active):
            return None
        if delivery.looks is not None or self.limits.of or self.limits.paced:
            return self._attempt_if_it_may(active, envelope)
        return self._attempt_any(active, envelope)

    def _attempt_any(self, active: Active, envelope: Envelope) -> Awaitable[object]:
        if envelope.large is None:
            return self._attempt(active, envelope)
        return self._attempt_large(active, envelope, envelope.large)

    async def _attempt_if_it_may(self, active: Active, envelope: Envelope) -> None:
        if await self._may_begin(active, envelope):
            await self._attempt_any(active, envelope)

    async def _may_begin(self, active: Active, envelope: Envelope) -> bool:
        """Settle a job that still waits for others, or finds no slot of its limited queue; return whether it may begin."""
        if active.delivery.looks is not None and not await self._may_run(active.delivery, envelope):
            return False
        return (not self.limits.of or await self.limits.enter(active)) and await self._has_token(active.delivery, envelope)

    async def _has_token(self, delivery: Delivery, envelope: Envelope) -> bool:
        """Take the tokens that a job needs to start where its queue has rates; one that gets none waits, without an attempt."""
        is_paced, is_key_paced = self.limits.paced.get(delivery.queue, (False, False))
        if is_key_paced and delivery.place:
            seconds = await self.keys.begin(delivery, delivery.place, envelope.run)
            if seconds:  # a retry, or it was delivered again: it keeps its place, and needs a token of its own
                self.limits.handed_back += 1
                await delivery.nak(min(seconds, LONGEST_WAIT))
                return False
        has_to_wait = is_paced and not delivery.turn and self.keys.waits(delivery, ALL)
        if has_to_wait or (is_paced and await self.keys.begin(delivery, ALL, envelope.run)):
            await self.keys.make_wait(delivery, ALL)
            return False
        return True

    async def _wait_for_key(self, delivery: Delivery, envelope: Envelope) -> None:
        """Let a job that has no place of its key wait for one, as soon as it waits for no other jobs."""
        if delivery.looks is None or await self._may_run(delivery, envelope):
            await self.keys.make_wait(delivery, token_of_key(envelope.opt.key))

    async def _may_run(self, delivery: Delivery, envelope: Envelope) -> bool:
        """Look at what a job waits for, whose server-side timer has fired; there may be no other left to do so."""
        found = await self.finisher.look(delivery, envelope)
        if isinstance(found, JobRecord):
            await self.settler.end_unrun(delivery, found, self._options(envelope))
            return False
        return found

    async def _leave(self, active: Active) -> None:
        """Give back the slot of a limited queue; once for each."""
        leave, active.leave = active.leave, None
        if leave is not None:
            await leave()

    async def _attempt_large(self, active: Active, envelope: Envelope, large: Large) -> None:
        """As `_attempt`, with the arguments from the object store, which end with the job.

        They are fetched before the claim: while the object store is away, the job is not claimed.
        """
        failure: Failed | None = None
        try:
            envelope = msgspec.structs.replace(envelope, body=await objects.get(self.connection, large), large=None)
        except LargePayloadError as error:
            failure = Failed("naq_core.errors.LargePayloadError", str(error), retry=False)
        if await self._attempt(active, envelope, failure):
            await objects.remove(self.connection, large)

    async def _attempt(self, active: Active, envelope: Envelope, instead: Outcome | None = None) -> bool:
        """Claim a job, run it (unless it has an outcome already) and settle it; return whether it is gone for good."""
        fast = envelope.opt.fast and active.delivery.delivered == 1 and not is_expired(envelope, self.connection)
        claim: Claim | None = None
        if not fast:
            claim = self.claims.late.begin(active, envelope) or await self._claim(active, envelope)
            if claim is None:
                return False
        envelope, gates = self.by_name.complete(envelope)
        if gates:
            instead = instead or Short("its task is loaded now, and says what the job has to wait for")
        self.counters.processed += 1
        self.metrics.note_start(active.delivery, envelope.fn)
        begun = time.monotonic()
        if claim is None or claim.revision:
            reporter = Reporter(self.reports, active, claim)
        else:
            reporter = Reporter(self.reports, active, claim, self.claims.late)
            self.claims.late.watch(reporter)
        if claim is not None and claim.record.alone:
            self.isolation.share_after(active, window(claim.record), reporter.share)

        def give_up(outcome: Outcome) -> None:
            active.is_given_up = True
            conclude = partial(self._conclude, active, envelope, claim, reporter, outcome, begun)
            self.on_given_up(active, self._guarded(active, conclude))

        outcome: Outcome = instead or await self._run(active, envelope, claim, reporter, give_up)
        if active.is_given_up:
            return False
        return await self._conclude(active, envelope, claim, reporter, outcome, begun)

    async def _conclude(
        self, active: Active, envelope: Envelope, claim: Claim | None, reporter: Reporter, outcome: Outcome, begun: float
    ) -> bool:
        """Settle an attempt whose function has ended, or was given up; return whether the job is gone for good."""
        took = time.monotonic() - begun
        if active.leave is not None:
            await self._leave(active)
        self.on_ran(active, took)
        if claim is None:
            if isinstance(outcome, Completed):
                self.counters.succeeded += 1
                self.metrics.note(active.delivery.queue, envelope.fn, "succeeded", took)
                await active.delivery.ack()
                _attempt_log.succeeded(envelope.id, envelope.fn, active.delivery.queue, 1, took)
                return True
            claim = await self._claim(active, envelope)  # what did not succeed is put on record like any other
            if claim is None:
                return False
        reporter.end(claim)
        if active.progress_task is not None:
            await active.progress_task
        state = await self._settle(active, envelope, claim, outcome)
        if state is not None:
            self.metrics.note(active.delivery.queue, envelope.fn, name_of(outcome, state), took)
        if state is JobState.SUCCEEDED:
            _attempt_log.succeeded(envelope.id, envelope.fn, active.delivery.queue, claim.record.attempt, took)
        return state in GONE_FOR_GOOD

    async def _settle(self, active: Active, envelope: Envelope, claim: Claim, outcome: Outcome) -> JobState | None:
        late = self.claims.late
        if late.is_past(active, claim):
            _attempt_log.discarded(claim.record, "has lost its lease", outcome if isinstance(outcome, Failed) else None)
            return None
        late.note_end(active)
        try:
            state = await self.settler.settle(active.delivery, envelope.opt, claim, outcome)
        except BaseException:
            late.forget(active, is_stored=False)
            raise
        late.forget(active, is_stored=True)
        if claim.revision:
            late.note_claim(claim)
        return state

    def _run(
        self,
        active: Active,
        envelope: Envelope,
        claim: Claim | None,
        reporter: Reporter,
        on_given_up: Callable[[Outcome], None],
    ) -> Awaitable[Outcome]:
        attempt, fence = (claim.record.attempt, claim.fence) if claim is not None else (1, active.delivery.sequence)
        active.crashes = claim.record.crashes if claim is not None else 0
        _attempt_log.started(envelope.id, envelope.fn, active.delivery.queue, attempt)

        def run(envelope: Envelope, parents: tuple[ParentOutcome, ...] | None = None) -> Awaitable[Outcome]:
            return self.attempts.run(active, envelope, attempt, fence, reporter, on_given_up, parents)

        if envelope.end is not None and envelope.end.large is not None:
            return self._run_with_result(envelope, envelope.end, envelope.end.large, run)
        is_told = envelope.fill or envelope.tell or envelope.signal
        return self._run_told(envelope, active.delivery.queue, partial(run, envelope)) if is_told else run(envelope)

    async def _run_with_result(
        self, envelope: Envelope, end: EndedJob, large: Large, run: Callable[[Envelope], Awaitable[Outcome]]
    ) -> Outcome:
        """Run a callback with a result that lies in the object store."""
        try:
            result = await objects.get(self.connection, large)
        except LargePayloadError as error:
            return Failed("naq_core.errors.LargePayloadError", f"the result of job {end.id}: {error}", retry=False)
        return await run(msgspec.structs.replace(envelope, end=msgspec.structs.replace(end, result=result, large=None)))

    async def _run_told(
        self, envelope: Envelope, queue: str, run: Callable[[tuple[ParentOutcome, ...]], Awaitable[Outcome]]
    ) -> Outcome:
        """Run an attempt that needs the outcomes of the parents."""
        parents = await self.finisher.outcomes(envelope, queue)
        return parents if isinstance(parents, Failed) else await run(parents)

    def _options(self, envelope: Envelope) -> JobOptions:
        return self.by_name.complete(envelope)[0].opt

    def _options_of_ended(self, envelope: Envelope, record: JobRecord) -> JobOptions:
        """Return the options of a job whose end is on record; if it has ended its workers, so may the import of its task."""
        if is_condemned(record, self.connection.settings.max_crashes) and envelope.fn not in self.by_name.found:
            return envelope.opt
        return self._options(envelope)

    async def _claim(self, active: Active, envelope: Envelope) -> Claim | None:
        claim = await self.claims.claim(active, envelope)
        if isinstance(claim, Stored):
            await self.settler.finish_duties(active.delivery, claim.record, self._options_of_ended(envelope, claim.record))
            return None
        if claim is None:
            self.counters.skipped += 1
        elif claim.record.crashes and is_condemned(claim.record, self.connection.settings.max_crashes):
            await self.settler.die_of_crashes(active.delivery, lambda: self._options(envelope), claim)
            self.metrics.note(active.delivery.queue, envelope.fn, "dead")
            return None
        return claim

    async def _leave_to_newer(self, delivery: Delivery, error: UnknownWireVersionError) -> None:
        """A newer worker may come: hand the job back for a while, then give it up."""
        if delivery.delivered < NEWER_VERSION_TRIES:
            log.warning("job %s: %s", delivery.job_id, error)
            await delivery.nak(NEWER_VERSION_DELAY)
        else:
            await self._bury(delivery, error)

    async def _bury(self, delivery: Delivery, error: DecodeError) -> None:
        await self.settler.dead_letter(delivery, error)
        self.metrics.note(delivery.queue, "?", "dead")
