"""The dashboard's one connection to NATS: opened on first use, reopened without end, and reported as lost meanwhile."""

import asyncio
import dataclasses
import logging
from datetime import UTC, datetime, timedelta

from naq_core.errors import BrokerError, BrokerUnavailableError, NaqError
from naq_core.settings import Settings
from naq_core.storage.connection import Connection
from naq_core.storage.topology import ensure_streams
from naq_core.tasks import Background

log = logging.getLogger(__name__)

BUDGET = timedelta(seconds=4)
"""A person waits for the answer: a page that fails soon and says why is worth more than one that comes late."""
PATIENCE = 0.3
"""Seconds a request waits for a connection after a try to connect has failed; before that, as long as an operation may take."""
PAUSE = 1.0
"""Seconds between two tries to connect."""


class Broker:
    """Hands out the connection, or fails at once while NATS is out of reach."""

    def __init__(self, settings: Settings) -> None:
        self.settings = dataclasses.replace(settings, publish_budget=min(settings.publish_budget, BUDGET))
        self._connection: Connection | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._reason: NaqError | None = None
        self._closed = False
        self._background = Background()

    @property
    def url(self) -> str:
        """The server's address as it may be shown."""
        return self.settings.redacted_url()

    @property
    def is_up(self) -> bool:
        """Whether the server can be reached, as far as is known."""
        connection = self._connection
        return connection is not None and connection.is_connected and connection.lost is None

    def now(self) -> datetime:
        """Return the server's time, or this machine's while there was no connection yet."""
        return datetime.now(UTC) if self._connection is None else self._connection.clock.utc()

    async def connection(self) -> Connection:
        """Return the open connection.

        Raises:
            BrokerError: NATS is out of reach; the dashboard keeps trying.
        """
        if not self.is_up:
            await self._wait_a_little()
        connection = self._connection
        if connection is not None and self.is_up:
            return connection
        if isinstance(self._reason, BrokerError):
            raise self._reason
        raise BrokerUnavailableError(self.url, str(self._reason or "the connection is lost, reconnecting"))

    def begin(self) -> None:
        """Begin to connect, unless that has begun."""
        if not self._closed and self._connecting is None and (self._connection is None or self._connection.lost is not None):
            self._connecting = self._background.start(self._connect(), "naq-dashboard-connect")

    async def close(self) -> None:
        """Close the connection; nothing can be asked any more."""
        self._closed = True
        await self._background.close()
        if self._connection is not None:
            await self._connection.close()

    async def _wait_a_little(self) -> None:
        """Begin to connect where nobody does, and wait for it as long as a person may be kept waiting."""
        self.begin()
        if self._connecting is not None:
            patience = self.settings.publish_budget.total_seconds() if self._reason is None else PATIENCE
            await asyncio.wait({self._connecting}, timeout=patience)

    async def _connect(self) -> None:
        try:
            while not self._closed:
                # Patient, which is said in the log, the first time only.
                connection = Connection(self.settings, name="naq-dashboard", keeps=True, patient=self._reason is None)
                try:
                    await connection.open()
                    await ensure_streams(connection)
                except NaqError as error:
                    if self._reason is None:
                        log.warning("%s. Trying again every %g s", str(error).rstrip("."), PAUSE)
                    self._reason = error
                    await connection.close()
                    await asyncio.sleep(PAUSE)
                else:
                    self._connection, self._reason = connection, None
                    log.info("connected to NATS at %s", self.url)
                    return
        finally:
            self._connecting = None
