"""Figures over time, added up over all who stored some."""

import asyncio
import time
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
        self._known: dict[int, dict[tuple[int, str], Stretch]] = {level.step: {} for level in LEVELS}
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
            known[each.at, each.source] = stretch
        oldest = connection.clock.now() - level.keep
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

    def by_function(self, level: Level, hours: float, queue: str = "", now: float | None = None) -> list[FunctionFigures]:
        """Add up what was read for each function, the one that took most time first."""
        now = time.time() if now is None else now
        first = int((now - hours * 3600) // level.step + 1) * level.step
        length = now + level.step - first
        rows = (
            ((at - first) / length, row)
            for (at, _), stretch in self._known[level.step].items()
            if first <= at <= now
            for row in stretch.rows
            if not queue or row.queue == queue
        )
        return add_up(rows)


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
        wait_p99=quantile(figures.wait, 0.99),
        run_p50=quantile(figures.run, 0.5),
        run_p95=quantile(figures.run, 0.95),
        run_p99=quantile(figures.run, 0.99),
        depth=sum(seen.depth.values()) if seen.depth else None,
    )


def _instant(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
