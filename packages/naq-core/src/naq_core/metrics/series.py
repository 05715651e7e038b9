"""Figures over time, added up over all who stored some."""

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec

from naq_core.decoding import Decoder
from naq_core.errors import UnreadableError
from naq_core.metrics.figures import LEVELS, Figures, Level, Stretch, level_of, quantile
from naq_core.metrics.functions import FunctionFigures, add_up
from naq_core.storage.connection import Connection
from naq_core.storage.figures import load_figures
from naq_core.transport.streams import stream_span

AT_ONCE = 100
"""Messages of figures that are read without a pause."""
MOST_SERIES = 20
"""Series of which the points are kept."""


_decoder = Decoder("the figures", Stretch)


class SeriesPoint(msgspec.Struct, kw_only=True):
    """What happened within one step of a series."""

    at: datetime
    """The step's begin."""
    enqueued: int = 0
    """As far as a worker of the queue looked."""
    started: int = 0
    """Started attempts."""
    succeeded: int = 0
    failed: int = 0
    """For good, however."""
    retried: int = 0
    cancelled: int = 0
    wait_p50: float | None = None
    """Seconds; None where nothing was started."""
    wait_p95: float | None = None
    wait_p99: float | None = None
    run_p50: float | None = None
    run_p95: float | None = None
    run_p99: float | None = None
    depth: int | None = None
    """How many jobs waited; None if unknown."""


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
        self._known: dict[int, dict[int, dict[tuple[int, str], Stretch]]] = {level.step: {} for level in LEVELS}
        """Of each length of stretches and begin of one, what each source has stored."""
        self._sums: dict[int, dict[int, Stretch]] = {level.step: {} for level in LEVELS}
        """The same over all sources, as far as it was asked for since it has changed: most of the past changes no more."""
        self._points: dict[tuple[int, str, str], dict[int, SeriesPoint]] = {}
        """The points of the series that were asked for last, by length, queue and function."""
        self._created = ""
        """When the stream was created that the sequences are of."""

    async def refresh(self, connection: Connection, level: Level) -> None:
        """Read what was stored since the last time.

        Raises:
            BrokerError: The server did not answer in time.
        """
        span = await stream_span(connection, connection.names.metrics_stream)
        if span.created != self._created:  # the first time, or the stream was deleted and created again
            self._created = span.created
            self._next = {level.step: 1 for level in LEVELS}
        known = self._known[level.step]
        for number, each in enumerate(await load_figures(connection, level.step, self._next[level.step]), 1):
            if number % AT_ONCE == 0:
                await asyncio.sleep(0)  # three days of many workers take a while, and others wait for the event loop
            self._next[level.step] = each.sequence + 1
            try:
                stretch = _decoder.decode(each.data)
            except UnreadableError:
                continue  # foreign, or written by a newer version
            begin = each.at // level.step * level.step
            known.setdefault(begin, {})[each.at, each.source] = stretch
            self._forget(level, begin)
        oldest = connection.clock.now() - level.keep
        for begin in [begin for begin in known if begin < oldest]:
            del known[begin]
            self._forget(level, begin)

    def _forget(self, level: Level, begin: int) -> None:
        """Let a stretch be added up again."""
        self._sums[level.step].pop(begin, None)
        for (step, _, _), points in self._points.items():
            if step == level.step:
                points.pop(begin, None)

    def _sum(self, level: Level, begin: int) -> Stretch:
        """Return what all sources have stored of a stretch."""
        sums = self._sums[level.step]
        if begin not in sums:
            sums[begin] = _added_up(list(self._known[level.step].get(begin, {}).values()))
        return sums[begin]

    def series(self, level: Level, hours: float, queue: str = "", function: str = "", now: float | None = None) -> Series:
        """Add up what was read, over all sources."""
        begins = _begins(level, hours, now)
        points = self._points.setdefault((level.step, queue, function), {})
        if len(self._points) > MOST_SERIES:
            del self._points[next(iter(self._points))]
        for begin in begins:
            if begin not in points:
                points[begin] = _point(begin, self._sum(level, begin), queue, function)
        since, until = _instant(begins.start), _instant(begins.stop)
        return Series(step=level.step, since=since, until=until, points=[points[begin] for begin in begins])

    def ended_by_queue(self, level: Level, hours: float, now: float | None = None) -> dict[str, list[int]]:
        """Return how many jobs of each queue ended for good within each step, oldest first; queues without any are left out."""
        begins = _begins(level, hours, now)
        found: dict[str, list[int]] = {}
        for place, begin in enumerate(begins):
            for row in self._sum(level, begin).rows:
                if row.ended:
                    found.setdefault(row.queue, [0] * len(begins))[place] += row.ended
        return found

    def by_function(self, level: Level, hours: float, queue: str = "", now: float | None = None) -> list[FunctionFigures]:
        """Add up what was read for each function, the one that took most time first."""
        begins = _begins(level, hours, now)
        rows = (
            (place / len(begins), row)
            for place, begin in enumerate(begins)
            for row in self._sum(level, begin).rows
            if not queue or row.queue == queue
        )
        return add_up(rows)


def _begins(level: Level, hours: float, now: float | None) -> range:
    """Return when the stretches of the latest hours begin."""
    now = time.time() if now is None else now
    first = int((now - hours * 3600) // level.step + 1) * level.step
    return range(first, int(now // level.step + 1) * level.step, level.step)


def _added_up(stretches: Sequence[Stretch]) -> Stretch:
    """Put together what several sources saw of the same queues."""
    if len(stretches) == 1:
        return stretches[0]
    rows: dict[tuple[str, str], Figures] = {}
    into = Stretch(depth={}, enqueued={})
    for stretch in stretches:
        for row in stretch.rows:
            key = row.queue, row.function
            if key not in rows:
                rows[key] = Figures(*key, wait={}, run={})
            rows[key].add(row)
        for name, waiting in stretch.depth.items():
            into.depth[name] = max(waiting, into.depth.get(name, 0))
        for name, span in stretch.enqueued.items():
            into.note_enqueued(name, *span)
    into.rows = list(rows.values())
    return into


async def read_functions(connection: Connection, hours: float = 1.0, queue: str = "") -> list[FunctionFigures]:
    """Return what the jobs of each function did, the function that took most time first.

    Args:
        hours: How far back, up to 72.
        queue: Only jobs of this queue.

    Raises:
        InvalidOptionError: `hours` is out of range.
        BrokerError: The server did not answer in time.
    """
    reader = SeriesReader()
    level = level_of(hours)
    await reader.refresh(connection, level)
    return reader.by_function(level, hours, queue, connection.clock.now())


async def read_series(connection: Connection, hours: float = 1.0, queue: str = "", function: str = "") -> Series:
    """Return figures over time: how many jobs ended how, how long they waited and ran, how many waited.

    Args:
        hours: How far back, up to 72. Up to an hour the steps are 10 seconds, up to six a minute, above ten minutes.
        queue: Only figures of this queue.
        function: Only of this function; what was enqueued and what waits is always the queue's.

    Raises:
        InvalidOptionError: `hours` is out of range.
        BrokerError: The server did not answer in time.
    """
    reader = SeriesReader()
    level = level_of(hours)
    await reader.refresh(connection, level)
    return reader.series(level, hours, queue, function)


def _point(at: int, seen: Stretch, queue: str, function: str) -> SeriesPoint:
    """Return what happened within a stretch; only what concerns a queue or a function, where they are named."""
    figures = Figures(queue, function, wait={}, run={})
    for row in seen.rows:
        if queue in {"", row.queue} and function in {"", row.function}:
            figures.add(row)
    spans = [span for name, span in seen.enqueued.items() if queue in {"", name}]
    depths = [depth for name, depth in seen.depth.items() if queue in {"", name}]
    return SeriesPoint(
        at=_instant(at),
        enqueued=sum(high - low for low, high in spans),
        started=figures.started,
        succeeded=figures.succeeded,
        failed=figures.failed + figures.timed_out + figures.dead,
        retried=figures.retried,
        cancelled=figures.cancelled,
        wait_p50=quantile(figures.wait, 0.5),
        wait_p95=quantile(figures.wait, 0.95),
        wait_p99=quantile(figures.wait, 0.99),
        run_p50=quantile(figures.run, 0.5),
        run_p95=quantile(figures.run, 0.95),
        run_p99=quantile(figures.run, 0.99),
        depth=sum(depths) if depths else None,
    )


def _instant(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
