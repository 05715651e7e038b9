"""The dashboard put together: settings, connection, templates and live updates of one application."""

import asyncio
from datetime import datetime
from typing import Any

from naq_core.errors import BrokerTimeoutError
from naq_core.settings import Settings
from naq_core.storage.connection import Connection
from naq_dashboard.access.passwords import SessionSigner
from naq_dashboard.actions.audit import Audit
from naq_dashboard.actions.operations import Operations
from naq_dashboard.guard.ended import EndedSessions
from naq_dashboard.guard.guard import Guard
from naq_dashboard.guard.login import Identify, Login
from naq_dashboard.live.feed import EventFeed
from naq_dashboard.live.hub import Hub
from naq_dashboard.nats import Broker
from naq_dashboard.queries.figures import FigureCache
from naq_dashboard.queries.reader import Reader
from naq_dashboard.queries.searches import Searches
from naq_dashboard.render import Renderer
from naq_dashboard.settings import DashboardSettings

READY = 1.9
"""Seconds in which JetStream has to answer: probes often wait for two."""


class AppState:
    """What every handler works with. Made once per application; it connects when it is first asked for something."""

    def __init__(self, naq_settings: Settings, settings: DashboardSettings, *, identify: Identify | None = None) -> None:
        self.naq_settings = naq_settings
        self.settings = settings
        self.broker = Broker(naq_settings)
        self.signer = SessionSigner(settings.secret)
        self.audit = Audit(self.broker)
        self.ended = EndedSessions(self.broker)
        self.login = Login(settings, self.signer, self.audit, self.ended, identify)
        self.guard = Guard(settings, self.login, is_embedded=identify is not None)
        self.renderer = Renderer(settings)
        self.mask = self.renderer.masker
        """Hides what looks secret."""
        self.read = Reader(self.broker, self.mask)
        self.live = Hub()
        self.searches = Searches(self.broker, self.mask, self.live.notify_all)
        self.feed = EventFeed(self.broker, self.mask, self.live.notify, self.live.notify_all)
        self.figures = FigureCache(self.broker)
        self.operations = Operations(self.broker, self.audit, self.mask, self._forget)
        self.last_workers: list[dict[str, Any]] = []

    def __deepcopy__(self, memo: dict[int, object]) -> "AppState":
        """Return the same object: Litestar copies an application's state, and a copy would be a second connection."""
        return self

    def now(self) -> datetime:
        """Return the server's time, or this machine's while there was no connection yet."""
        return self.broker.now()

    async def connection(self) -> Connection:
        """Return the connection to NATS.

        Raises:
            BrokerError: NATS is out of reach.
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

    def _forget(self) -> None:
        """After an action nothing that was read before it is shown."""
        self.read.forget()
        self.searches.forget()
        self.live.notify_all()

    async def aclose(self) -> None:
        """End the live streams and close the connection."""
        await self.read.close()
        await self.searches.close()
        await self.live.close()
        await self.feed.close()
        await self.operations.close()
        self.guard.close()
        await self.audit.close()
        await self.ended.close()
        await self.broker.close()
