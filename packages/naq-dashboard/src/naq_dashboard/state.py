"""The dashboard put together: settings, connection, templates and live updates of one application."""

import asyncio
import dataclasses
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
from naq_dashboard.languages import Languages
from naq_dashboard.live.feed import EventFeed
from naq_dashboard.live.hub import Hub
from naq_dashboard.nats import Broker
from naq_dashboard.other_server import OtherServer
from naq_dashboard.queries.figures import FigureCache
from naq_dashboard.queries.reader import Reader
from naq_dashboard.queries.searches import Searches
from naq_dashboard.render import Renderer
from naq_dashboard.settings import DashboardSettings

SERVERS = "/s"
"""The path below which further servers are, each with its name."""
READY = 1.9
"""Seconds in which JetStream has to answer: probes often wait for two."""


class AppState:
    """What every handler works with. Made once per application; it connects when it is first asked for something.

    Args:
        home: The state of the dashboard's own server, for one of the further ones: people log in there, for all of them.
        mount: The path below which a further server is shown, such as `/s/staging`.
    """

    def __init__(
        self,
        naq_settings: Settings,
        settings: DashboardSettings,
        *,
        identify: Identify | None = None,
        home: "AppState | None" = None,
        mount: str = "",
    ) -> None:
        self.naq_settings = naq_settings
        self.settings = settings
        self.home = home or self
        self.mount = mount
        self.broker = Broker(naq_settings)
        self.audit = Audit(self.broker)
        if home is None:
            self.signer = SessionSigner(settings.secret)
            self.ended = EndedSessions(self.broker)
            self.login = Login(settings, self.signer, self.audit, self.ended, identify)
        else:
            self.signer, self.ended, self.login = home.signer, home.ended, home.login
        self.guard = Guard(settings, self.login, is_embedded=identify is not None)
        self.languages = Languages(settings.language, settings.translations)
        self.renderer = Renderer(settings, self.languages)
        self.mask = self.renderer.masker
        """Hides what looks secret."""
        self.read = Reader(self.broker, self.mask)
        self.live = Hub()
        self.searches = Searches(self.broker, self.read, self.live.notify_all)
        self.feed = EventFeed(self.broker, self.mask, self.live.notify, self.live.notify_all)
        self.figures = FigureCache(self.broker)
        self.operations = Operations(self.broker, self.audit, self.mask, self._forget)
        self.last_workers: list[dict[str, Any]] = []
        self.others: dict[str, AppState] = {} if home else {each.name: self._other(each, identify) for each in settings.servers}
        """The states of further servers, by name."""

    def __deepcopy__(self, memo: dict[int, object]) -> "AppState":
        """Return the same object: Litestar copies an application's state, and a copy would be a second connection."""
        return self

    def _other(self, server: OtherServer, identify: Identify | None) -> "AppState":
        is_read_only = self.settings.read_only or server.read_only
        settings = dataclasses.replace(self.settings, environment=server.name, read_only=is_read_only)
        naq_settings = server.settings(self.naq_settings)
        return AppState(naq_settings, settings, identify=identify, home=self, mount=f"{SERVERS}/{server.name}")

    @property
    def name(self) -> str:
        """What this server is called where there are several."""
        return self.settings.environment or self.naq_settings.namespace

    def servers(self) -> dict[str, str]:
        """Return the path of each server by its name, empty while there is only one."""
        home = self.home
        return {each.name: each.mount for each in (home, *home.others.values())} if home.others else {}

    def begin(self) -> None:
        """Begin to connect: who starts the dashboard learns at once that NATS is away."""
        for each in (self, *self.others.values()):
            each.broker.begin()

    def end_streams(self) -> None:
        """End the live streams of all servers."""
        for each in (self, *self.others.values()):
            each.live.end_streams()

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
        """End the live streams and close the connection, those of further servers too."""
        await asyncio.gather(*(each.aclose() for each in self.others.values()))
        await self.read.close()
        await self.searches.close()
        await self.live.close()
        await self.feed.close()
        await self.operations.close()
        self.guard.close()
        await self.audit.close()
        if self.home is self:
            await self.ended.close()
        await self.broker.close()
