"""The worker's figures: counted in memory, stored every ten seconds as sums."""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Callable, Sequence

from naq_core.errors import AttemptTimeoutError, NaqError
from naq_core.metrics import LEVELS, Recorder, TallyReader
from naq_core.record import JobState
from naq_core.storage.connection import Connection
from naq_core.storage.deliveries import Delivery, consumer_state
from naq_worker.outcome import Crashed, Failed, Outcome, Snoozed

__all__ = ["Metrics", "name_of"]

log = logging.getLogger(__name__)

FEW = 16
"""Queues for which counters are read one by one."""
MOST_ASKED = 200
"""Levels of queues whose depth is asked for each time."""
LAST = 1.0
"""Seconds that storing the last figures may take at the end."""
TIMED_OUT = f"{AttemptTimeoutError.__module__}.{AttemptTimeoutError.__qualname__}"


class Metrics:
    """Counts attempts, looks at the depth of the worker's queues, and stores both.

    Figures are for charts: what cannot be stored is lost with a line in the log, and never disturbs a job.
    """

    def __init__(
        self,
        connection: Connection,
        worker_id: str,
        queues: Sequence[str],
        places: Callable[[], Sequence[tuple[str, str]]],
        patterns: Sequence[str] = (),
    ) -> None:
        self._connection = connection
        self._recorder = Recorder(worker_id)
        self.note = self._recorder.note
        """Counts an attempt that has come to its end; without `run` one that never began."""
        self.keep_totals, self.totals = self._recorder.keep_totals, self._recorder.totals
        self._places = places
        self._queues = queues
        # A reader for each of a few queues, as there may be many others; one for all where there are many here, or may be.
        are_few = len(queues) <= FEW and not patterns
        self._tallies = [TallyReader(queue, "enqueued") for queue in (queues if are_few else ["*"])]
        self._depths: dict[tuple[str, str], int] = {}
        self._turn = 0
        self._complained = False

    def note_start(self, delivery: Delivery, function: str) -> None:
        """Count an attempt that begins; how long it has waited is known where its message was never handed back."""
        wait = self._connection.clock.now() - delivery.ready_at if delivery.delivered == 1 else None
        self._recorder.note_start(delivery.queue, function, wait)

    async def run(self) -> None:
        """Store the figures every ten seconds until cancelled; `store_last` stores the rest."""
        step = LEVELS[0].step
        while True:
            await asyncio.sleep(step - self._connection.clock.now() % step)
            if not self._connection.is_connected:
                continue
            try:
                await self._look()
                await self._store()
            except Exception:
                log.exception("internal error while collecting metrics; jobs are not affected")

    async def store_last(self) -> None:
        """Store what is left, if that goes quickly."""
        if self._connection.is_connected:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LAST):
                    await self._store()

    async def _look(self) -> None:
        totals = dict.fromkeys(self._queues, 0)
        try:
            for queue, level in self._next_places():
                self._depths[queue, level] = (await consumer_state(self._connection, queue, level)).pending
            for tally in self._tallies:
                await tally.refresh(self._connection)
                for counter, value in tally.values.items():
                    if counter.queue in totals:
                        totals[counter.queue] += value
        except NaqError as error:
            log.debug("cannot read the depth of the queues: %s", error)
            return
        depths: Counter[str] = Counter()
        for (queue, _), waiting in self._depths.items():
            depths[queue] += waiting
        for queue, total in totals.items():
            self._recorder.note_depth(queue, depths[queue])
            self._recorder.note_enqueued(queue, total)

    def _next_places(self) -> Sequence[tuple[str, str]]:
        """Return the levels whose depth is asked for now: of very many some, others each time."""
        places = self._places()
        if len(places) <= MOST_ASKED:
            return places
        start = self._turn % len(places)
        self._turn = start + MOST_ASKED
        return places[start : self._turn]

    async def _store(self) -> None:
        try:
            # What was counted up to the turn of a stretch belongs to the stretch that has just ended.
            await self._recorder.store(self._connection, self._connection.clock.now() - 1.0)
        except NaqError as error:
            log.log(logging.DEBUG if self._complained else logging.WARNING, "metrics were not stored: %s", error)
            self._complained = True


def name_of(outcome: Outcome, state: JobState) -> str:
    """Return the outcome of an attempt as one of `naq_core.metrics.OUTCOMES`, from its outcome and the state it left."""
    match state:
        case JobState.SUCCEEDED | JobState.CANCELLED:
            return state.value
        case JobState.RETRYING:
            return "" if isinstance(outcome, Snoozed) else "retried"
        case JobState.DEAD if isinstance(outcome, Failed) and outcome.type == TIMED_OUT:
            return "timed_out"
        case JobState.DEAD:
            return "dead" if isinstance(outcome, Crashed) else "failed"
        case _:
            return ""
