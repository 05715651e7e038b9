"""Reading through naq_core: equal questions within a moment share one answer."""

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from naq_core.masks import Mask
from naq_core.storage.connection import Connection
from naq_core.tasks import Background
from naq_dashboard.nats import Broker

__all__ = ["Reader"]

T = TypeVar("T")

FRESH = 0.2
"""Seconds for which an answer is shared with others who ask the same."""
LONGEST_FRESH = 1.0
"""The most seconds for which it is shared because it took long."""


class Reader:
    """Calls reading functions of naq_core with the connection.

    Args:
        mask: Hides what looks secret; every query of jobs and of the audit trail passes it on.
    """

    def __init__(self, broker: Broker, mask: Mask) -> None:
        self.mask = mask
        self._broker = broker
        self._background = Background()
        self._shared: dict[Any, _Shared] = {}

    async def __call__(
        self, function: Callable[..., Awaitable[T]], *arguments: Any, fresh: float = FRESH, stale: float = 0.0
    ) -> T:
        """Call `function(connection, *arguments)`, or return the answer that the same call has just had.

        An answer that took long is shared for as long again: no question keeps the server busy for more than half of the time.

        Args:
            function: One of naq_core's.
            arguments: Hashable; equal ones are the same question.
            fresh: How long the answer is shared, in seconds.
            stale: How long after that it is still returned, in seconds, while a new one is read, so that an open page does not
                wait for it.

        Raises:
            BrokerError: There is no connection at the moment.
        """
        connection = await self._broker.connection()
        key = (function, arguments)
        now = asyncio.get_running_loop().time()
        for old in [each for each, known in self._shared.items() if known.until + known.stale < now]:
            del self._shared[old]
        shared = self._shared.get(key)
        if shared is None or shared.until < now:
            shared = self._shared[key] = _Shared(self._background, function, connection, arguments, fresh, stale, shared)
        answer: T = await asyncio.shield(shared.latest())
        return answer

    async def ended(self, seconds: float) -> None:
        """Wait until what is being read now has been read, for so long at most."""
        if self._background.tasks:
            await asyncio.wait(self._background.tasks, timeout=seconds)

    def forget(self) -> None:
        """Share no answer from before now, as after an action."""
        self._shared.clear()

    async def close(self) -> None:
        """Cancel what is being read."""
        await self._background.close()


class _Shared:
    """A question that is being answered, or has been a moment ago."""

    def __init__(
        self,
        background: Background,
        function: Callable[..., Awaitable[Any]],
        connection: Connection,
        arguments: tuple[Any, ...],
        fresh: float,
        stale: float,
        before: "_Shared | None",
    ) -> None:
        self.until = math.inf
        """When the answer is too old, by the event loop's clock."""
        self.stale = stale
        """For how many seconds after that it is still of use."""
        self._loop = asyncio.get_running_loop()
        self._began, self._fresh = self._loop.time(), fresh
        self._before = before.succeeded() if before is not None else None
        self._task = background.start(self._ask(function, connection, arguments), "naq-dashboard-read", is_awaited=True)

    def latest(self) -> "asyncio.Task[Any]":
        """Return what has the answer, or will have it: the one before, while it is still of use and this one is not there."""
        return self._task if self._task.done() or self._before is None else self._before

    def succeeded(self) -> "asyncio.Task[Any] | None":
        """Return what has the answer; None after an error."""
        return self._task if self._task.done() and not self._task.cancelled() and self._task.exception() is None else None

    async def _ask(self, function: Callable[..., Awaitable[Any]], connection: Connection, arguments: tuple[Any, ...]) -> Any:
        try:
            return await function(connection, *arguments)
        finally:
            now = self._loop.time()
            self.until = max(self._began + self._fresh, now + min(LONGEST_FRESH, now - self._began))
            self._before = None
