"""Figures over time: workers count in memory and store sums every ten seconds; who shows them adds the sums of all up.

Nothing is ever stored for a single job. For charts, each worker has one message for each stretch of time, of three lengths, which
it replaces while the stretch lasts: so a lost acknowledgement costs nothing, a worker that dies costs ten seconds, and three days
are read with a few hundred small messages for each. For Prometheus, which needs counters that only ever grow, the same sums are
added to the server's own (`naq_core._nats.tally`, `docs/adr/0023-counters.md`).
"""

import asyncio
import math
import time
from bisect import bisect_left
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec

from naq_core._nats.connection import Connection
from naq_core._nats.metrics_store import ensure_metrics, load_figures, store_figures
from naq_core._nats.tally import OTHERS
from naq_core._nats.tally_store import Counter, TallyReader
from naq_core._nats.topology import ensure_tally
from naq_core.errors import ConfigurationError

__all__ = [
    "BOUNDS",
    "COUNTED_BOUNDS",
    "LEVELS",
    "OUTCOMES",
    "Counter",
    "Figures",
    "Level",
    "Recorder",
    "Series",
    "SeriesPoint",
    "SeriesReader",
    "TallyReader",
    "ensure_tally",
    "quantile",
    "read_series",
]


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
COUNTED_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0, 1800.0, 3600.0)
"""Those that have counters of their own, for Prometheus; all of them are among `BOUNDS`."""
_COUNTED_IN = tuple(
    next((str(round(bound * 1000)) for bound in COUNTED_BOUNDS if bound >= each), "inf") for each in (*BOUNDS, math.inf)
)
"""Of each place in `BOUNDS`, in which counter it is counted: by its upper bound in milliseconds."""
MOST_ROWS = 200
"""Functions without end (lambdas made in a loop) share one row after this many."""
AT_ONCE = 100
"""Messages of figures that are read without a pause."""
OUTCOMES = ("succeeded", "failed", "timed_out", "dead", "retried", "cancelled")
"""What an attempt can come to. With `failed`, `timed_out` and `dead` the job is given up and lies among the dead: its last
attempt raised, took too long, or was not decided by its function (its workers died under it, or its message could not be
read). After `retried` another attempt follows."""


class Figures(msgspec.Struct, omit_defaults=True):
    """What the jobs of one queue and function came to within a stretch."""

    queue: str
    function: str
    started: int = 0
    succeeded: int = 0
    failed: int = 0
    timed_out: int = 0
    dead: int = 0
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
        for name in ("started", *OUTCOMES):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.wait_sum += other.wait_sum
        self.run_sum += other.run_sum
        for mine, others in ((self.wait, other.wait), (self.run, other.run)):
            for place, count in others.items():
                mine[place] = mine.get(place, 0) + count

    @property
    def ended(self) -> int:
        """How many attempts were the last of their job, whatever came of it."""
        return self.succeeded + self.failed + self.timed_out + self.dead + self.cancelled

    def counts(self) -> Iterator[tuple[str, int]]:
        """Yield the kinds of counters, and how much each has grown."""
        yield from ((name, getattr(self, name)) for name in ("started", *OUTCOMES))
        for name, classes, total in (("wait", self.wait, self.wait_sum), ("run", self.run, self.run_sum)):
            for place, count in classes.items():
                yield f"{name}-{_COUNTED_IN[place]}", count
            yield f"{name}-sum", round(total * 1e6)


class Stretch(msgspec.Struct, omit_defaults=True):
    """What one source stores for one stretch of time."""

    rows: list[Figures] = []
    depth: dict[str, int] = {}
    """How many jobs of a queue waited when it was last looked at."""
    enqueued: dict[str, tuple[int, int]] = {}
    """How many had ever been enqueued, when the stretch began (or was first looked at) and when it was last looked at."""

    def note_enqueued(self, queue: str, before: int, after: int) -> None:
        """Widen the span of a queue's count."""
        low, high = self.enqueued.get(queue, (before, after))
        self.enqueued[queue] = (min(low, before), max(high, after))


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

    def note(self, queue: str, function: str, outcome: str, run: float | None) -> None:
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
            at: The time it belongs to, in seconds since the epoch; by default now.

        Raises:
            BrokerError: Not all was stored; it is added to the next time.
        """
        if not self.has_news:
            return
        at = time.time() if at is None else at
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


class SeriesPoint(msgspec.Struct, kw_only=True):
    """What happened within one step of a series."""

    at: datetime
    """The step's begin."""
    enqueued: int = 0
    """As far as a worker of the queue looked."""
    started: int = 0
    """Attempts that began."""
    succeeded: int = 0
    failed: int = 0
    """For good, however."""
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
        looks = [Stretch(depth={}, enqueued={}) for _ in range(count)]
        for (at, _), stretch in self._known[level.step].items():
            place = (at - first) // level.step
            if not 0 <= place < count:
                continue
            for row in stretch.rows:
                if (not queue or row.queue == queue) and (not function or row.function == function):
                    sums[place].add(row)
            _merge(looks[place], stretch, queue)
        points = [_point(first + place * level.step, figures, looks[place]) for place, figures in enumerate(sums)]
        return Series(step=level.step, since=_instant(first), until=_instant(first + count * level.step), points=points)

    def ended_by_queue(self, level: Level, hours: float, now: float | None = None) -> dict[str, list[int]]:
        """Return how many jobs of each queue ended for good within each step, oldest first; queues without any are left out."""
        now = time.time() if now is None else now
        first = int((now - hours * 3600) // level.step + 1) * level.step
        count = int(now // level.step - first // level.step) + 1
        found: dict[str, list[int]] = {}
        for (at, _), stretch in self._known[level.step].items():
            place = (at - first) // level.step
            if 0 <= place < count:
                for row in stretch.rows:
                    if row.ended:
                        found.setdefault(row.queue, [0] * count)[place] += row.ended
        return found


async def read_series(connection: Connection, hours: float = 1.0, queue: str = "", function: str = "") -> Series:
    """Return figures over time: how many jobs ended how, how long they waited and ran, how many waited.

    Args:
        hours: How far back, up to 72. Up to an hour the steps are 10 seconds, up to six a minute, above ten minutes.
        queue: Only of this queue.
        function: Only of this function; what was enqueued and what waits is always the queue's.

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


def _merge(into: Stretch, stretch: Stretch, queue: str) -> None:
    """Put together what several sources saw of the same queues; only of one where `queue` names it."""
    for name, waiting in stretch.depth.items():
        if not queue or name == queue:
            into.depth[name] = max(waiting, into.depth.get(name, 0))
    for name, span in stretch.enqueued.items():
        if not queue or name == queue:
            into.note_enqueued(name, *span)


def _point(at: int, figures: Figures, seen: Stretch) -> SeriesPoint:
    return SeriesPoint(
        at=_instant(at),
        enqueued=sum(high - low for low, high in seen.enqueued.values()),
        started=figures.started,
        succeeded=figures.succeeded,
        failed=figures.failed + figures.timed_out + figures.dead,
        retried=figures.retried,
        cancelled=figures.cancelled,
        wait_p50=quantile(figures.wait, 0.5),
        wait_p95=quantile(figures.wait, 0.95),
        run_p50=quantile(figures.run, 0.5),
        run_p95=quantile(figures.run, 0.95),
        run_p99=quantile(figures.run, 0.99),
        depth=sum(seen.depth.values()) if seen.depth else None,
    )


def _instant(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
