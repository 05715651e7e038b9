"""Figures over time for charts and for Prometheus: read from the stream once, then only what is new."""

import asyncio
from collections.abc import Mapping

from naq_core.metrics import LEVELS, Counter, FunctionFigures, Level, Series, SeriesReader, TallyReader, level_of
from naq_dashboard.nats import Broker

__all__ = ["FigureCache"]

FRESH = 2.0
"""Seconds between two looks at what workers have stored; they store every ten."""


class FigureCache:
    """Keeps what was read of the figures, for all pages."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._reader = SeriesReader()
        self._tally = TallyReader()
        self._read_at: dict[int, float] = {}
        self._series: dict[tuple[float, str, str], Series] = {}
        self._functions: dict[tuple[float, str], list[FunctionFigures]] = {}
        """What was added up since the last look: that takes tens of milliseconds with three days of many workers."""
        self._lock = asyncio.Lock()

    async def series(self, hours: float, queue: str = "", function: str = "") -> Series:
        """Return figures over time.

        Raises:
            InvalidOptionError: `hours` is out of range.
            BrokerError: The server does not answer.
        """
        level = level_of(hours)
        await self._refresh(level)
        asked = (hours, queue, function)
        if asked not in self._series:
            self._series[asked] = self._reader.series(level, hours, queue, function, self._broker.now().timestamp())
        return self._series[asked]

    async def functions(self, hours: float, queue: str = "") -> list[FunctionFigures]:
        """Return figures of each function, the one that took most time first.

        Raises:
            InvalidOptionError: `hours` is out of range.
            BrokerError: The server does not answer.
        """
        level = level_of(hours)
        await self._refresh(level)
        asked = (hours, queue)
        if asked not in self._functions:
            self._functions[asked] = self._reader.by_function(level, hours, queue, self._broker.now().timestamp())
        return self._functions[asked]

    async def last_hour(self) -> dict[str, list[int]]:
        """Return how many jobs of each queue ended in each minute of the last hour.

        Raises:
            BrokerError: The server does not answer.
        """
        level = LEVELS[1]
        await self._refresh(level)
        return self._reader.ended_by_queue(level, 1.0, self._broker.now().timestamp())

    async def counters(self) -> Mapping[Counter, int]:
        """Return all counters, as they are now.

        Raises:
            BrokerError: The server does not answer.
        """
        async with self._lock:
            await self._tally.refresh(await self._broker.connection())
        return dict(self._tally.values)

    async def _refresh(self, level: Level) -> None:
        async with self._lock:
            now = asyncio.get_running_loop().time()
            if now - self._read_at.get(level.step, -FRESH) < FRESH:
                return
            await self._reader.refresh(await self._broker.connection(), level)
            self._read_at[level.step] = now
            self._series.clear()
            self._functions.clear()
