"""The connection of NAQ's parts to the server: JetStream's, and what it knows of NAQ's names and keys."""

import asyncio
import sys
from collections.abc import Awaitable, Callable

from naq_core.errors import ConnectionClosedError, PermissionDeniedError
from naq_core.layers import NO_LAYERS, Layers, load
from naq_core.settings import Settings
from naq_core.signing import Signer
from naq_core.storage.ends import EndWaiters
from naq_core.storage.rung import Rung
from naq_core.storage.subjects import Names
from naq_core.storage.tally import Tally
from naq_core.transport.clock import ServerClock
from naq_core.transport.denials import SUBSCRIBE
from naq_core.transport.jetstream import JetStream

AT_ONCE = 64
"""Requests of one kind for many queues that are on their way at the same time."""


class Connection(JetStream):
    """One client connection with what NAQ needs on top of nats-py.

    Args:
        settings: The address and everything else.
        name: What the server calls the client.
        patient: Try for 5 s to make the first connection; else give up when every server was tried once.
        is_hidden: It works until it is closed, also while `asyncio.run` cancels all tasks at its end.
        keeps: Look every few seconds whether the streams and consumers that were needed are still there, and create again
            what was deleted. Without it that is noticed at their next use.
        clock: The clock of another connection to the same server; by default one of its own.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        name: str = "naq",
        patient: bool = True,
        is_hidden: bool = False,
        keeps: bool = False,
        clock: ServerClock | None = None,
    ) -> None:
        super().__init__(settings, name=name, patient=patient, is_hidden=is_hidden, keeps=keeps, clock=clock)
        self.names = Names(settings.namespace)
        self.signer = Signer(settings.signing_key, settings.namespace)
        self.clock_stream = self.names.jobs_stream
        self.ready: set[str] = set()
        """Streams and consumers known to exist; for `topology`."""
        self.topology_lock = asyncio.Lock()
        self.turns = asyncio.Semaphore(AT_ONCE)
        """Taken for requests that 10,000 queues or waits make at the same time, as after a reconnect: they would time out."""
        self.ends = EndWaiters(self.client, self.names, self.denials)
        """The jobs whose ends are waited for here."""
        self.on_reconnect(self.ends.look_again)
        self.rung = Rung()
        """The keys for which bells were stored."""
        self.tally = Tally(self.client, self.names, self.denials, lambda: self.is_connected, self.clock.now)
        """Counters for those who look on."""
        self._layers: Layers | None = None if settings.middleware else NO_LAYERS
        self.elsewhere: Callable[[], Awaitable[Connection]] | None = None
        """Opens a connection with the same settings on the event loop that asks, where it is one of `LoopConnections`."""

    def stream_of(self, subject: str) -> str:
        """Return the stream that takes a subject of NAQ's."""
        return self.names.stream_of(subject)

    @property
    def layers(self) -> Layers:
        """The middleware of the settings, imported when it is needed first.

        Raises:
            ConfigurationError: One cannot be found, or is no middleware.
        """
        if self._layers is None:
            self._layers = load(self.settings.middleware, self.settings.source("middleware"))
        return self._layers

    def _before_close(self) -> None:
        self.tally.close()

    def _after_close(self) -> None:
        self.ends.look_again()

    def _harmless(self, denied: PermissionDeniedError) -> str:
        subject = denied.subject.lower()
        if subject.startswith(f"{self.names.tallies}.".lower()):
            return "these jobs are not counted"
        if subject == self.names.consumer_advisory("*").lower():
            return "the first job of a priority is found a second later"
        if subject.startswith(self.names.asks("", "").rstrip(".").lower()):
            return "workers that share a key or a rate hinder each other more"
        if denied.verb == SUBSCRIBE and subject.startswith(f"{self.names.results}.".lower()):
            return "results are read after the event of a job's end, which takes one more round trip"
        return ""

    async def here(self) -> "Connection":
        """Return this connection, or the one that takes its place on another event loop or after it was lost for good.

        In a forked process the event loop is another one too.

        Raises:
            EventLoopError: It belongs to another event loop, and to no `LoopConnections`.
            ConnectionClosedError: The program has closed it on this event loop.
        """
        if self.elsewhere is not None and asyncio.get_running_loop() is not self._loop:
            return await self.elsewhere()
        self.client.check_loop()
        if self._lost is None:
            return self
        if self.elsewhere is None or isinstance(self._lost, ConnectionClosedError):
            raise self._lost
        return await self.elsewhere()

    @property
    def large_limit(self) -> int:
        """How many bytes arguments or a result may take inside a message; more go to the object store."""
        threshold = self.settings.large_threshold
        return min(threshold, self.message_limit // 2) if threshold else sys.maxsize
