"""Counting in memory, and storing sums."""

import time
from bisect import bisect_left
from typing import TypeAlias

import msgspec

from naq_core.metrics.figures import BOUNDS, LEVELS, OUTCOMES, Figures, Stretch
from naq_core.storage.connection import Connection
from naq_core.storage.figures import ensure_metrics, store_figures
from naq_core.storage.tally import OTHERS
from naq_core.storage.topology import ensure_tally

MOST_ROWS = 200
"""Functions without end (lambdas made in a loop) share one row for each queue after this many, within a part and stretch."""
MOST_QUEUES = 200
"""Queues of which the figures are in one message: many queues take several, as a message has a limit."""

Rows: TypeAlias = dict[tuple[str, str], Figures]
"""By queue and function."""


class Recorder:
    """Counts in memory, and stores sums. Used from one event loop.

    Args:
        source: Names this process; a token of a subject.
    """

    def __init__(self, source: str) -> None:
        self._source = source
        self._parts: list[_Part] = []
        self._part_of: dict[str, _Part] = {}
        self._enqueued: dict[str, tuple[float, int]] = {}
        self._totals: Rows | None = None

    def note_start(self, queue: str, function: str, wait: float | None = None) -> None:
        """Count the begin of an attempt.

        Args:
            wait: Seconds since it could have begun; None where that is not known.
        """
        row = self._part(queue).row(queue, function)
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
        row = self._part(queue).row(queue, function)
        if outcome in OUTCOMES:
            setattr(row, outcome, getattr(row, outcome) + 1)
        if run is not None:
            place = bisect_left(BOUNDS, run)
            row.run[place] = row.run.get(place, 0) + 1
            row.run_sum += run

    def keep_totals(self) -> None:
        """Add up for `totals` what is counted from now on."""
        self._totals = {}

    def totals(self) -> list[Figures]:
        """Return what was counted since `keep_totals`, stored or not; of very many functions, the later ones as one."""
        found: Rows = {}
        for row in (*(self._totals or {}).values(), *(row for part in self._parts for row in part.new.values())):
            _row(found, row.queue, row.function).add(row)
        return list(found.values())

    def _part(self, queue: str) -> "_Part":
        part = self._part_of.get(queue)
        if part is None:
            number, place = divmod(len(self._part_of), MOST_QUEUES)
            if place == 0:
                self._parts.append(_Part(f"{self._source}-{number}" if number else self._source))
            part = self._part_of[queue] = self._parts[-1]
        return part

    def note_depth(self, queue: str, waiting: int) -> None:
        """Note how many jobs of a queue wait now."""
        self._part(queue).samples.depth[queue] = waiting

    def note_enqueued(self, queue: str, total: int) -> None:
        """Note how many jobs of a queue have ever been enqueued."""
        now = time.monotonic()
        looked_at, before = self._enqueued.get(queue, (0.0, total))
        self._enqueued[queue] = (now, total)
        if before < total and now - looked_at < 2 * LEVELS[0].step:  # after a longer absence the times of these are unknown
            self._part(queue).samples.note_enqueued(queue, before, total)

    @property
    def has_news(self) -> bool:
        """Whether anything was noted since the last `store`."""
        return any(part.has_news for part in self._parts)

    async def store(self, connection: Connection, at: float | None = None) -> None:
        """Store what was noted; without news nothing is sent.

        Args:
            at: The time it belongs to, in seconds since the epoch; by default now, in the server's time.

        Raises:
            BrokerError: Not all was stored. It is with the next time, but for the charts only within the same stretch: what
                belongs to one that is over by then is missing there. Counters miss nothing.
        """
        parts = [part for part in self._parts if part.has_news]
        if not parts:
            return
        at = connection.clock.now() if at is None else at
        for part in parts:
            for row in part.close(at):
                if self._totals is not None:
                    _row(self._totals, row.queue, row.function).add(row)
                for kind, count in row.counts():
                    if count:
                        connection.tally.add(row.queue, row.function, kind, count)
        await ensure_tally(connection)
        connection.tally.flush()
        await ensure_metrics(connection)
        for part in parts:
            for level in LEVELS:
                begin, stretch = part.open[level.step]
                await store_figures(connection, level.step, begin, part.source, msgspec.json.encode(stretch), level.keep)
            part.is_stored = True


class _Part:
    """The figures of some of the queues, which are one message for each stretch. A queue stays in its part."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.samples = Stretch(depth={}, enqueued={})
        self.open: dict[int, tuple[int, Stretch]] = {}
        """By the length of the stretches: when the present one began, and its sums."""
        self.is_stored = True
        self.new: Rows = {}
        """What was counted and not stored yet."""
        self._rows: dict[int, Rows] = {}

    @property
    def has_news(self) -> bool:
        """Whether anything was noted, or could not be stored."""
        return bool(self.new or self.samples.enqueued or not self.is_stored) or any(self.samples.depth.values())

    def row(self, queue: str, function: str) -> Figures:
        """Return what is counted of a function now."""
        return _row(self.new, queue, function)

    def close(self, at: float) -> list[Figures]:
        """Add what was noted to the stretches of a time, and return its rows."""
        new, self.new = self.new, {}
        samples, self.samples = self.samples, Stretch(depth={}, enqueued={})
        self.is_stored = False
        for level in LEVELS:
            begin = int(at // level.step) * level.step
            begun, stretch = self.open.get(level.step, (-1, Stretch()))
            if begun != begin:
                self._rows[level.step], stretch = {}, Stretch(enqueued={})
            rows = self._rows[level.step]
            for (queue, function), row in new.items():
                _row(rows, queue, function).add(row)
            for queue, span in samples.enqueued.items():
                stretch.note_enqueued(queue, *span)
            stretch.rows, stretch.depth = list(rows.values()), samples.depth
            self.open[level.step] = (begin, stretch)
        return list(new.values())


def _row(rows: Rows, queue: str, function: str) -> Figures:
    key = (queue, function)
    row = rows.get(key)
    if row is None:
        if len(rows) >= MOST_ROWS:
            key = (queue, OTHERS)
        row = rows.setdefault(key, Figures(*key, wait={}, run={}))
    return row
