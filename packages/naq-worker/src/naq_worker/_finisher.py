"""A worker's duties between jobs: to act for what waited for a job, then to acknowledge it; to put back what still waits."""

import asyncio
import logging
from collections.abc import Callable, Sequence

from naq_core import transitions
from naq_core.dependency import ParentOutcome
from naq_core.dependents import Dependents, read_outcomes
from naq_core.enqueue.callback import enqueue_callbacks
from naq_core.envelope import Envelope, JobOptions, Parent
from naq_core.errors import (
    BrokerError,
    JetStreamError,
    LargePayloadError,
    SignatureError,
    WrongSequenceError,
)
from naq_core.names import is_new_id, is_signal
from naq_core.record import JobRecord, JobState
from naq_core.storage.connection import Connection
from naq_core.storage.deliveries import Delivery, ack_all
from naq_core.storage.edges import edge_messages, waiting_headers
from naq_core.storage.end_waiting import record_end, unrun_record
from naq_core.storage.messages import if_newest
from naq_core.transport.batch import publish_batch
from naq_core.transport.repeat import BrokerMessage
from naq_worker._claim import is_expired
from naq_worker._keys import Keys
from naq_worker.outcome import Failed

log = logging.getLogger(__name__)

FEW = 8
SMALL = 16 * 1024
REMEMBERED = 256
"""Results of parents that are remembered: of jobs with few parents, small ones, so many of them."""


class Finisher:
    """Does the duty to dependents for all jobs that end on a worker, and acknowledges them.

    While one look-up is on its way, further ends gather for the next: many jobs, one request.

    Args:
        keys: Gives the places of jobs with a key to the next ones, and acknowledges them.
        on_idle: Called when nothing is left to do.
    """

    def __init__(self, connection: Connection, keys: Keys, on_idle: Callable[[], None]) -> None:
        self._connection = connection
        self._keys = keys
        self._dependents = Dependents(connection)
        self._ended: list[tuple[Delivery, JobRecord, JobOptions]] = []
        self._has_work = asyncio.Event()
        self._is_busy = False
        self._on_idle = on_idle
        self._outcomes: dict[tuple[str, str], ParentOutcome] = {}

    @property
    def is_idle(self) -> bool:
        """Whether all that has ended is acknowledged."""
        return not self._ended and not self._is_busy

    def finish(self, delivery: Delivery, record: JobRecord, options: JobOptions) -> None:
        """Take a job whose end is on record."""
        self._ended.append((delivery, record, options))
        self._has_work.set()

    async def run(self) -> None:
        """Finish jobs until cancelled."""
        while True:
            await self._has_work.wait()
            self._has_work.clear()
            await self.flush()

    async def flush(self) -> None:
        """Finish all that has ended; what is left undone is delivered again, and finished then."""
        while self._ended:
            ended, self._ended, self._is_busy = self._ended, [], True
            try:
                await self._finish(ended)
            except asyncio.CancelledError:
                self._ended = [*ended, *self._ended]  # to be done again is harmless
                raise
            finally:
                self._is_busy = False
                self._on_idle()

    async def _finish(self, ended: list[tuple[Delivery, JobRecord, JobOptions]]) -> None:
        try:
            await self._dependents.release([record for _, record, _ in ended])
            for _, record, options in ended:
                if options.has_callbacks:
                    await enqueue_callbacks(self._connection, record, options)
        except JetStreamError as error:
            if len(ended) == 1:
                log.warning("job %s will be retried on redelivery: %s", ended[0][0].job_id, error)
                return
            for each in ended:  # one that cannot be finished must not stand in the way of the others
                await self._finish([each])
        except BrokerError as error:
            log.warning("%d ended jobs will be completed on redelivery: %s", len(ended), error)
        else:
            self._keys.leave((delivery, record) for delivery, record, _ in ended if delivery.place)
            await ack_all([delivery for delivery, _, _ in ended if not delivery.place])

    async def look(self, delivery: Delivery, envelope: Envelope) -> JobRecord | bool:
        """Look at the parents of a job that was not released by one of them.

        Returns:
            Whether it may run; if not, it has been put back, or the record of its end is returned.
        """
        child = (delivery.queue, delivery.job_id)
        if is_expired(envelope, self._connection):
            await self._dependents.forget_edges(child, envelope.after)
            return True  # to its claim, which ends it
        (verdict,) = await self._dependents.judge([(child, envelope.after)], recheck=True)
        if verdict.run:
            await self._dependents.forget_edges(child, envelope.after)
            return True
        if verdict.witness is None:
            ended = unrun_record(delivery.data, child)
            transitions.cancelled(ended, self._connection.clock.now(), verdict.reason)
            record = await record_end(self._connection, ended)
            if record is None:
                await delivery.nak(1)  # it runs: its owner goes on with it
                return False
            await self._dependents.forget_edges(child, envelope.after)
            return record
        await self._put_back(delivery, envelope)
        return False

    async def hold(self, delivery: Delivery, envelope: Envelope) -> None:
        """Let a job wait for its signal that could be started, as its enqueuer did not know the signal."""
        delivery.looks = max(delivery.looks or 0, 1)  # as `waiting_messages`: a person takes longer than a job
        await self._put_back(delivery, envelope, edge_messages(self._connection, delivery.key, envelope.after[:1]))

    async def _put_back(self, delivery: Delivery, envelope: Envelope, edges: Sequence[BrokerMessage] = ()) -> None:
        """Let a job wait for its parents, and acknowledge its delivery."""
        names = self._connection.names
        ready = names.ready(delivery.queue, delivery.job_id, delivery.level)
        headers = {
            **if_newest(self._connection, delivery.queue, delivery.job_id, delivery.sequence),
            **waiting_headers(ready, self._connection.clock.now(), envelope.expires, (delivery.looks or 0) + 1),
        }
        try:
            await publish_batch(self._connection, [(names.held(*delivery.key), delivery.data, headers), *edges])
        except WrongSequenceError:
            log.debug("job %s was already requeued or moved", delivery.job_id)
        await delivery.ack()
        # A parent may have ended since, and have found nothing that waits.
        await self._dependents.look([(delivery.key, envelope.after)])

    async def outcomes(self, envelope: Envelope, queue: str) -> tuple[ParentOutcome, ...] | Failed:
        """Return the outcomes of a job's parents, in order, or what makes that impossible.

        Args:
            queue: The job's.
        """
        # Only a signal is read for jobs that do not ask for the results of their parents.
        after = envelope.after if envelope.fill or envelope.tell else [each for each in envelope.after if is_signal(each.id)]
        known = [self._outcomes.get((parent.queue, parent.id)) for parent in after]
        if all(known):
            return tuple(each for each in known if each is not None)
        try:
            outcomes = await read_outcomes(self._connection, after)
        except (SignatureError, LargePayloadError) as error:
            return Failed(f"naq_core.errors.{type(error).__name__}", f"a parent's result: {error}", retry=False)
        if envelope.signal:  # its sender could not do that
            await self._dependents.forget_edges((queue, envelope.id), after)
        self._remember(after, outcomes)
        return outcomes

    def _remember(self, after: Sequence[Parent], outcomes: Sequence[ParentOutcome]) -> None:
        """Keep results that a wide fan-out reads again and again; only of ids that are never used twice."""
        if len(outcomes) > FEW:
            return
        for parent, outcome in zip(after, outcomes, strict=True):
            if outcome.state is JobState.SUCCEEDED and outcome.size <= SMALL and is_new_id(parent.id) and parent.queue != "*":
                self._outcomes[parent.queue, parent.id] = outcome
        while len(self._outcomes) > REMEMBERED:
            del self._outcomes[next(iter(self._outcomes))]
