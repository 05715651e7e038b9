"""Counting in memory, and storing sums."""

import time
from bisect import bisect_left

import msgspec

from naq_core.metrics.figures import BOUNDS, LEVELS, OUTCOMES, Figures, Stretch
from naq_core.storage.connection import Connection
from naq_core.storage.figures import ensure_metrics, store_figures
from naq_core.storage.tally import OTHERS
from naq_core.storage.topology import ensure_tally

MOST_ROWS = 200
"""Functions without end (lambdas made in a loop) share one row after this many."""


class Recorder:
    """Counts in memory, and stores sums. Used from one event loop.

    Args:
        source: Names this process; a token of a subject.
    """

    def __init__(self, source: str) -> None:
        self._source = source
        self._new: dict[tuple[str, str], Figures] = {}
        self._samples = Stretch(depth={}, enqueued={})
        self._enqueued: dict[str, tuple[float, int]] = {}
        self._open: dict[int, tuple[int, dict[tuple[str, str], Figures], Stretch]] = {}

    def note_start(self, queue: str, function: str, wait: float | None = None) -> None:
        """Count the begin of an attempt.

        Args:
            wait: Seconds since it could have begun; None where that is not known.
        """
        row = self._row(queue, function)
        row.started += 1
        if wait is not None:
            place = bisect_left(BOUNDS, wait)
            row.wait[place] = row.wait.get(place, 0) + 1
            row.wait_sum += max(0.0, wait)

    def note(self, queue: str, function: str, outcome: str, run: float | None = None) -> None:
        """Count the end of an attempt.

        Args:
            outcome: One of `OUTCOMES`; anything else counts only as a run.
            run: Seconds it took; None where it never began.
        """
        row = self._row(queue, function)
        if outcome in OUTCOMES:
            setattr(row, outcome, getattr(row, outcome) + 1)
        if run is not None:
            place = bisect_left(BOUNDS, run)
            row.run[place] = row.run.get(place, 0) + 1
            row.run_sum += run

    def _row(self, queue: str, function: str) -> Figures:
        key = (queue, function)
        row = self._new.get(key)
        if row is None:
            if len(self._new) >= MOST_ROWS:
                key = (queue, OTHERS)
            row = self._new.setdefault(key, Figures(*key, wait={}, run={}))
        return row

    def note_depth(self, queue: str, waiting: int) -> None:
        """Note how many jobs of a queue wait now."""
        self._samples.depth[queue] = waiting

    def note_enqueued(self, queue: str, total: int) -> None:
        """Note how many jobs of a queue have ever been enqueued."""
        now = time.monotonic()
        looked_at, before = self._enqueued.get(queue, (0.0, total))
        self._enqueued[queue] = (now, total)
        if before < total and now - looked_at < 2 * LEVELS[0].step:  # after a longer absence nobody knows when they came
            self._samples.note_enqueued(queue, before, total)

    @property
    def has_news(self) -> bool:
        """Whether anything was noted since the last `store`."""
        return bool(self._new or self._samples.enqueued) or any(self._samples.depth.values())

    async def store(self, connection: Connection, at: float | None = None) -> None:
        """Store what was noted; without news nothing is sent.

        Args:
            at: The time it belongs to, in seconds since the epoch; by default now, in the server's time.

        Raises:
            BrokerError: Not all was stored. It is with the next time, but for the charts only within the same stretch: what
                belongs to one that is over by then is missing there. Counters miss nothing.
        """
        if not self.has_news:
            return
        at = connection.clock.now() if at is None else at
        new, self._new = self._new, {}
        samples, self._samples = self._samples, Stretch(depth={}, enqueued={})
        bodies = []
        for level in LEVELS:
            begin = int(at // level.step) * level.step
            begun, rows, stretch = self._open.get(level.step, (0, {}, Stretch()))
            if begun != begin:
                rows, stretch = {}, Stretch(enqueued={})
            for key, row in new.items():
                rows.setdefault(key, Figures(*key, wait={}, run={})).add(row)
            for queue, span in samples.enqueued.items():
                stretch.note_enqueued(queue, *span)
            stretch.rows, stretch.depth = list(rows.values()), samples.depth
            self._open[level.step] = (begin, rows, stretch)
            bodies.append((level, begin, msgspec.json.encode(stretch)))
        for row in new.values():
            for kind, count in row.counts():
                if count:
                    connection.tally.add(row.queue, row.function, kind, count)
        await ensure_tally(connection)
        connection.tally.flush()
        await ensure_metrics(connection)
        for level, begin, body in bodies:
            await store_figures(connection, level.step, begin, self._source, body, level.keep)
