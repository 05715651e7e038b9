"""Figures over time: workers count in memory and store sums every ten seconds; who shows them adds the sums of all up.

Nothing is ever stored for a single job. Each source (a worker, a dashboard) has one message for each stretch of time, of three
lengths, which it replaces while the stretch lasts: so a lost acknowledgement costs nothing, a source that dies costs ten
seconds, and three days are read with a few hundred small messages for each source.
"""

import asyncio
import time
from bisect import bisect_left
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec

from naq_core._nats.connection import Connection
from naq_core._nats.metrics_store import ensure_metrics, load_figures, store_figures
from naq_core.errors import ConfigurationError

__all__ = ["BOUNDS", "LEVELS", "Figures", "Level", "Recorder", "Series", "SeriesPoint", "SeriesReader", "quantile", "read_series"]


class Level(NamedTuple):
    """A length of stretches, and how long they are kept."""

    step: int
    """Seconds."""
    keep: int
    """Seconds."""


LEVELS = (Level(10, 5400), Level(60, 7 * 3600), Level(600, 73 * 3600))
LONGEST_HOURS = 72.0

BOUNDS = (
    *(0.001, 0.0025, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.035, 0.05, 0.075),
    *(0.1, 0.15, 0.25, 0.35, 0.5, 0.75, 1.0, 1.5, 2.5, 3.5, 5.0, 7.5),
    *(10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0),
)
"""Upper bounds of the classes of durations, in seconds; one more class is above."""
MOST_ROWS = 200
"""Functions without end (lambdas made in a loop) share one row after this many."""
OTHERS = "(others)"
AT_ONCE = 100
"""Messages of figures that are read without a pause."""


class Figures(msgspec.Struct, omit_defaults=True):
    """What the jobs of one queue and function came to within a stretch."""

    queue: str
    function: str
    succeeded: int = 0
    failed: int = 0
    retried: int = 0
    cancelled: int = 0
    wait: dict[int, int] = {}
    """How many waited so long, by the place in `BOUNDS`."""
    run: dict[int, int] = {}
    """How many ran so long."""
    wait_sum: float = 0.0
    run_sum: float = 0.0

    def add(self, other: "Figures") -> None:
        """Add another's figures to these."""
        self.succeeded += other.succeeded
        self.failed += other.failed
        self.retried += other.retried
        self.cancelled += other.cancelled
        self.wait_sum += other.wait_sum
        self.run_sum += other.run_sum
        for mine, others in ((self.wait, other.wait), (self.run, other.run)):
            for place, count in others.items():
                mine[place] = mine.get(place, 0) + count


class Stretch(msgspec.Struct, omit_defaults=True):
    """What one source stores for one stretch of time."""

    rows: list[Figures] = []
    depth: dict[str, int] = {}
    """How many jobs of a queue waited when it was last looked at."""


class Recorder:
    """Counts in memory, and stores sums. Used from one event loop.

    Args:
        source: Names this process; a token of a subject.
    """

    def __init__(self, source: str) -> None:
        self._source = source
        self._new: dict[tuple[str, str], Figures] = {}
        self._depth: dict[str, int] = {}
        self._open: dict[int, tuple[int, dict[tuple[str, str], Figures]]] = {}

    def note(self, queue: str, function: str, outcome: str, wait: float | None, run: float) -> None:
        """Count one attempt.

        Args:
            outcome: succeeded, failed, retried or cancelled; anything else counts only as a run.
            wait: Seconds from enqueueing to its start; None for a later attempt, which did not wait for a worker.
            run: Seconds it took.
        """
        key = (queue, function)
        row = self._new.get(key)
        if row is None:
            if len(self._new) >= MOST_ROWS:
                key = (queue, OTHERS)
            row = self._new.setdefault(key, Figures(*key, wait={}, run={}))
        match outcome:
            case "succeeded":
                row.succeeded += 1
            case "failed":
                row.failed += 1
            case "retried":
                row.retried += 1
            case "cancelled":
                row.cancelled += 1
            case _:
                pass
        if wait is not None:
            place = bisect_left(BOUNDS, wait)
            row.wait[place] = row.wait.get(place, 0) + 1
            row.wait_sum += max(0.0, wait)
        place = bisect_left(BOUNDS, run)
        row.run[place] = row.run.get(place, 0) + 1
        row.run_sum += run

    def note_depth(self, queue: str, waiting: int) -> None:
        """Note how many jobs of a queue wait now."""
        self._depth[queue] = waiting

    @property
    def has_news(self) -> bool:
        """Whether anything was noted since the last `store`."""
        return bool(self._new) or any(self._depth.values())

    async def store(self, connection: Connection, at: float | None = None) -> None:
        """Store what was noted; without news nothing is sent.

        Args:
            at: The time it belongs to, in seconds since the epoch; by default now.

        Raises:
            BrokerError: Not all was stored; it is added to the next time.
        """
        if not self.has_news:
            return
        at = time.time() if at is None else at
        new, self._new = self._new, {}
        depth, self._depth = self._depth, {}
        bodies = []
        for level in LEVELS:
            begin = int(at // level.step) * level.step
            begun, rows = self._open.get(level.step, (begin, {}))
            if begun != begin:
                rows = {}
            for key, row in new.items():
                rows.setdefault(key, Figures(*key, wait={}, run={})).add(row)
            self._open[level.step] = (begin, rows)
            bodies.append((level, begin, msgspec.json.encode(Stretch(rows=list(rows.values()), depth=depth))))
        await ensure_metrics(connection)
        for level, begin, body in bodies:
            await store_figures(connection, level.step, begin, self._source, body, level.keep)


class SeriesPoint(msgspec.Struct, kw_only=True):
    """What happened within one step of a series."""

    at: datetime
    """The step's begin."""
    succeeded: int = 0
    failed: int = 0
    retried: int = 0
    cancelled: int = 0
    wait_p50: float | None = None
    """Seconds; None where nothing was started."""
    wait_p95: float | None = None
    run_p50: float | None = None
    run_p95: float | None = None
    run_p99: float | None = None
    depth: int | None = None
    """How many jobs waited; None where nobody looked."""


class Series(msgspec.Struct, kw_only=True):
    """Figures over time, oldest first, without gaps."""

    step: int
    """Seconds."""
    since: datetime
    until: datetime
    points: list[SeriesPoint]


class SeriesReader:
    """Reads what was stored, and after that only what is new. Used from one event loop."""

    def __init__(self) -> None:
        self._next: dict[int, int] = {level.step: 1 for level in LEVELS}
        self._known: dict[int, dict[tuple[int, str], Stretch]] = {level.step: {} for level in LEVELS}
        self.totals: dict[tuple[str, str], Figures] = {}
        """All that was ever read of the coarsest level; never less than before."""

    async def refresh(self, connection: Connection, level: Level) -> None:
        """Read what was stored since the last time.

        Raises:
            BrokerError: The server did not answer in time.
        """
        known = self._known[level.step]
        for number, each in enumerate(await load_figures(connection, level.step, self._next[level.step]), 1):
            if number % AT_ONCE == 0:
                await asyncio.sleep(0)  # three days of many workers take a while, and others wait for the event loop
            self._next[level.step] = each.sequence + 1
            try:
                stretch = msgspec.json.decode(each.data, type=Stretch)
            except (msgspec.DecodeError, RecursionError):
                continue  # not of ours, or of a version to come
            if level is LEVELS[-1]:
                self._count(known.get((each.at, each.source)), stretch)
            known[each.at, each.source] = stretch
        oldest = time.time() - level.keep
        for key in [key for key in known if key[0] < oldest]:
            del known[key]

    def series(self, level: Level, hours: float, queue: str = "", function: str = "", now: float | None = None) -> Series:
        """Add up what was read, over all sources."""
        now = time.time() if now is None else now
        first = int((now - hours * 3600) // level.step + 1) * level.step
        count = int(now // level.step - first // level.step) + 1
        sums = [Figures("", "", wait={}, run={}) for _ in range(count)]
        depths: list[dict[str, int]] = [{} for _ in range(count)]
        for (at, _), stretch in self._known[level.step].items():
            place = (at - first) // level.step
            if not 0 <= place < count:
                continue
            for row in stretch.rows:
                if (not queue or row.queue == queue) and (not function or row.function == function):
                    sums[place].add(row)
            for name, waiting in stretch.depth.items():
                if not queue or name == queue:  # several sources look at the same queue
                    depths[place][name] = max(waiting, depths[place].get(name, 0))
        points = [_point(first + place * level.step, figures, depths[place]) for place, figures in enumerate(sums)]
        return Series(step=level.step, since=_instant(first), until=_instant(first + count * level.step), points=points)

    def _count(self, before: Stretch | None, after: Stretch) -> None:
        old = {(row.queue, row.function): row for row in before.rows} if before is not None else {}
        for row in after.rows:
            key = (row.queue, row.function)
            total = self.totals.setdefault(key, Figures(*key, wait={}, run={}))
            total.add(row)
            if key in old:
                total.add(_negative(old[key]))


async def read_series(connection: Connection, hours: float = 1.0, queue: str = "", function: str = "") -> Series:
    """Return figures over time: how many jobs ended how, how long they waited and ran, how many waited.

    Args:
        hours: How far back, up to 72. Up to an hour the steps are 10 seconds, up to six a minute, above ten minutes.
        queue: Only of this queue.
        function: Only of this function; the depth is always the queue's.

    Raises:
        ConfigurationError: `hours` is out of range.
        BrokerError: The server did not answer in time.
    """
    reader = SeriesReader()
    level = level_of(hours)
    await reader.refresh(connection, level)
    return reader.series(level, hours, queue, function)


def level_of(hours: float) -> Level:
    """Return the finest level that reaches so far back with a few hundred points.

    Raises:
        ConfigurationError: `hours` is out of range.
    """
    if not 0 < hours <= LONGEST_HOURS:
        raise ConfigurationError("hours", f"{hours!r} is not between 0 and {LONGEST_HOURS:g}")
    return LEVELS[0] if hours <= 1 else LEVELS[1] if hours <= 6 else LEVELS[2]


def quantile(counts: dict[int, int], share: float) -> float | None:
    """Return the duration below which that share lies, in seconds, from counts by class; within a class it is estimated."""
    total = sum(counts.values())
    if total <= 0:
        return None
    rank, seen = share * total, 0
    for place, count in sorted(counts.items()):
        if seen + count >= rank:
            low = BOUNDS[place - 1] if place > 0 else 0.0
            high = BOUNDS[place] if place < len(BOUNDS) else BOUNDS[-1]
            return low + (high - low) * max(0.0, min(1.0, (rank - seen) / count))
        seen += count
    return BOUNDS[-1]


def _point(at: int, figures: Figures, depth: dict[str, int]) -> SeriesPoint:
    return SeriesPoint(
        at=_instant(at),
        succeeded=figures.succeeded,
        failed=figures.failed,
        retried=figures.retried,
        cancelled=figures.cancelled,
        wait_p50=quantile(figures.wait, 0.5),
        wait_p95=quantile(figures.wait, 0.95),
        run_p50=quantile(figures.run, 0.5),
        run_p95=quantile(figures.run, 0.95),
        run_p99=quantile(figures.run, 0.99),
        depth=sum(depth.values()) if depth else None,
    )


def _negative(row: Figures) -> Figures:
    def turned(counts: Iterable[tuple[int, int]]) -> dict[int, int]:
        return {place: -count for place, count in counts}

    return Figures(
        row.queue,
        row.function,
        succeeded=-row.succeeded,
        failed=-row.failed,
        retried=-row.retried,
        cancelled=-row.cancelled,
        wait=turned(row.wait.items()),
        run=turned(row.run.items()),
        wait_sum=-row.wait_sum,
        run_sum=-row.run_sum,
    )


def _instant(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
