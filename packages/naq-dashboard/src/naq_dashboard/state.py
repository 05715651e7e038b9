"""The dashboard put together: settings, connection, templates and live updates of one application."""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, TypeVar

from naq_core.errors import BrokerTimeoutError
from naq_core.settings import Settings
from naq_core.storage.connection import Connection
from naq_core.tasks import Background
from naq_dashboard.access.passwords import SessionSigner
from naq_dashboard.actions.audit import Audit
from naq_dashboard.actions.table import Operations
from naq_dashboard.guard.guard import Guard, Identify
from naq_dashboard.live.feed import EventFeed
from naq_dashboard.live.hub import Hub
from naq_dashboard.nats import Broker
from naq_dashboard.queries.figures import FigureCache
from naq_dashboard.rendering.templates import Renderer
from naq_dashboard.settings import DashboardSettings

log = logging.getLogger(__name__)

T = TypeVar("T")

READY = 1.9
"""Seconds in which JetStream has to answer: probes often wait for two."""
FRESH = 0.2
"""Seconds for which what was read is handed to others who ask the same."""
LONGEST_FRESH = 1.0
"""Seconds for which it is at most because it took long."""


class AppState:
    """What every handler works with. Made once per application; it connects when it is first asked for something."""

    def __init__(self, naq_settings: Settings, settings: DashboardSettings, *, identify: Identify | None = None) -> None:
        self.naq_settings = naq_settings
        self.settings = settings
        self.broker = Broker(naq_settings)
        self.signer = SessionSigner(settings.secret)
        self.audit = Audit(self.broker)
        self.guard = Guard(settings, self.signer, self.audit, identify)
        self.renderer = Renderer(settings)
        self._background = Background()
        self.mask = self.renderer.masker
        """Hides what looks secret; every reading of jobs and of the audit trail gets it."""
        self.live = Hub()
        self.feed = EventFeed(self.broker, self.mask, self.live.notify, self.live.notify_all)
        self.figures = FigureCache(self.broker)
        self.operations = Operations(self.broker, self.audit, self.mask, self._forget)
        self.page_names: frozenset[str] = frozenset()
        self.last_workers: list[dict[str, Any]] = []
        self._shared: dict[Any, _Shared] = {}

    def __deepcopy__(self, memo: dict[int, object]) -> "AppState":
        """Return the same object: Litestar copies an application's state, and a copy would be a second connection."""
        return self

    def now(self) -> datetime:
        """Return the server's time, or this machine's while there was no connection yet."""
        return self.broker.now()

    async def connection(self) -> Connection:
        """Return the connection to NATS.

        Raises:
            BrokerError: There is none at the moment.
        """
        return await self.broker.connection()

    async def round_trip(self) -> float:
        """Return how long JetStream takes to answer, in seconds.

        Raises:
            BrokerError: It does not within two seconds.
        """
        loop = asyncio.get_running_loop()
        begun = loop.time()
        try:
            async with asyncio.timeout(READY):  # a server that is frozen keeps its connections open, and does not answer
                connection = await self.connection()
                begun = loop.time()
                await connection.api("INFO", deadline=begun + READY)
        except TimeoutError as error:
            raise BrokerTimeoutError("JetStream health check", READY) from error
        return loop.time() - begun

    async def read(self, function: Callable[..., Awaitable[T]], *arguments: Any, fresh: float = FRESH) -> T:
        """Call a reading function of naq_core with the connection; equal questions within a moment share one answer.

        An answer that took long stays for as long again: no question keeps the server busy for more than half of the time.

        Args:
            fresh: The length of that moment, in seconds.
        """
        key = (function, arguments)
        now = asyncio.get_running_loop().time()
        for old in [each for each, known in self._shared.items() if known.until < now]:
            del self._shared[old]
        if key not in self._shared:
            self._shared[key] = _Shared(self._background, function, await self.connection(), arguments, fresh)
        answer: T = await asyncio.shield(self._shared[key].task)
        return answer

    def _forget(self) -> None:
        """After an action nothing that was read before it is shown."""
        self._shared.clear()
        self.live.notify_all()

    async def aclose(self) -> None:
        """End the live streams and close the connection."""
        await self._background.close()
        await self.live.close()
        await self.feed.close()
        await self.operations.close()
        self.guard.close()
        await self.audit.close()
        await self.broker.close()


class _Shared:
    """A question that is being answered, or has been a moment ago."""

    def __init__(
        self,
        background: Background,
        function: Callable[..., Awaitable[Any]],
        connection: Connection,
        arguments: tuple[Any, ...],
        fresh: float,
    ) -> None:
        self.until = math.inf
        """When the answer is too old, by the event loop's clock."""
        self._loop = asyncio.get_running_loop()
        self._began, self._fresh = self._loop.time(), fresh
        self.task = background.start(self._ask(function, connection, arguments), "naq-dashboard-read", is_awaited=True)

    async def _ask(self, function: Callable[..., Awaitable[Any]], connection: Connection, arguments: tuple[Any, ...]) -> Any:
        try:
            return await function(connection, *arguments)
        finally:
            now = self._loop.time()
            self.until = max(self._began + self._fresh, now + min(LONGEST_FRESH, now - self._began))
