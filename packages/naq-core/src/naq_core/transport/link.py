"""The life of a NATS connection: it reconnects, detects a dead peer, and notifies waiting callers of a loss."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Callable
from typing import Any, Self

import nats.errors

from naq_core.errors import (
    BrokerError,
    BrokerUnavailableError,
    ConnectionClosedError,
    PermissionDeniedError,
)
from naq_core.settings import Settings, redact_url
from naq_core.tasks import Background, beside, finish
from naq_core.transport import pulse
from naq_core.transport.account import INFO, check_server
from naq_core.transport.auth import cannot_connect, wants_tls
from naq_core.transport.client import QuickClient
from naq_core.transport.clock import ServerClock
from naq_core.transport.denials import PUBLISH, Denials
from naq_core.transport.domain import DomainClient
from naq_core.transport.options import connect_options
from naq_core.transport.outage import Outage
from naq_core.transport.publish import Publisher
from naq_core.transport.reader import BatchReader

log = logging.getLogger("naq_core.connection")  # one name for all that a connection says: programs filter by it

CONNECT_TIMEOUT = 5.0
SILENT = 0.7
"""Seconds that making the first connection may take without a word about it."""
WATCHDOG_INTERVAL = 3.0
CLOCK_INTERVAL = 30.0
"""Seconds between two measurements of the server's time."""
PENDING_SIZE = 16 * 1024 * 1024


class Link:
    """The life of one client connection: what nats-py leaves open about making, losing and closing it.

    Used as `async with`. `generation` grows at each reconnect, so that a caller that waits for an event can check again.
    """

    is_connected = False
    """Whether the server can be reached as far as is known."""

    clock_stream = ""
    """The stream whose information tells the server's time; without one it is known from other answers alone."""

    def __init__(
        self,
        settings: Settings,
        *,
        name: str = "naq",
        patient: bool = True,
        is_hidden: bool = False,
        clock: ServerClock | None = None,
    ) -> None:
        """Prepare a connection.

        Args:
            settings: The address and everything else.
            name: What the server calls the client.
            patient: Try for 5 s to make the first connection; else give up when every server was tried once.
            is_hidden: It works until it is closed, also while `asyncio.run` cancels all tasks: for services that hand something
                back at their end.
            clock: The clock of another connection to the same server; by default one of its own.
        """
        self.settings = settings
        domain = settings.jetstream_domain
        self.client = QuickClient(is_hidden=is_hidden) if domain is None else DomainClient(domain, is_hidden=is_hidden)
        self.background = Background(self._on_own_error, is_hidden=is_hidden)
        """Tasks that live as long as the connection; an unexpected error of one becomes `lost`."""
        self.clock = clock or ServerClock()
        """The server's time: all times that are stored or compared with stored ones are its."""
        self.generation = 0
        self.connected_at = 0.0
        self._name = name
        self._publisher: Publisher | None = None
        self.reader = BatchReader(self.client, timeout=settings.publish_timeout.total_seconds())
        """Batched direct gets."""
        self._up = asyncio.Event()
        self._closing = False
        self._lost: BrokerError | None = None
        self._failure: BrokerError | None = None
        self._outage = Outage(settings, patient=patient, seconds=CONNECT_TIMEOUT)
        self.denials = Denials(domain)
        self._end_of_loop = self._close_with_loop()
        self._listeners: list[Callable[[], None]] = []
        self._loop = asyncio.get_running_loop()
        self._budget = settings.publish_budget.total_seconds()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    @property
    def url(self) -> str:
        """The address as it may be shown."""
        return redact_url(self.settings.nats_url)

    @property
    def server_version(self) -> str:
        """The version of the server it is connected to."""
        return self.client.server_version

    @property
    def server_id(self) -> str:
        """The id of the server it is connected to, new at each of its starts."""
        return self.client.server_id

    @property
    def publisher(self) -> Publisher:
        """The pipelined publisher."""
        if self._publisher is None:
            raise BrokerUnavailableError(self.url, "the connection is not open")
        return self._publisher

    @property
    def lost(self) -> BrokerError | None:
        """Why the connection is closed for good, or must be as one of its tasks died; None while it is sound."""
        return self._lost or self._failure

    @property
    def is_over(self) -> bool:
        """Whether it was closed, or is closed for good."""
        return self._closing or self._lost is not None

    @property
    def seconds_connected(self) -> float:
        """How long the connection has stood since it was last made."""
        return self._loop.time() - self.connected_at

    async def open(self) -> None:
        """Connect and check the server.

        Raises:
            BrokerUnavailableError: No server answers; `AuthenticationError` if the credentials are refused,
                `TlsNotOfferedError` where TLS is asked for and the server has none.
            PermissionDeniedError: The user may not even ask about JetStream (`$JS.API.INFO`), or not receive answers.
            ConfigurationError: A file of credentials or certificates cannot be used.
            JetStreamDisabledError: JetStream is off.
            ServerTooOldError: JetStream lacks what NAQ needs.
        """
        options = self._renewed_options()
        options.update(
            name=self._name,
            error_cb=self._on_error,
            disconnected_cb=self._on_disconnected,
            reconnected_cb=self._on_reconnected,
            closed_cb=self._on_closed,
            pending_size=PENDING_SIZE,
            skip_subject_validation=True,
        )
        self.client.needs_tls = wants_tls(self.settings)
        waiting = self._loop.call_later(SILENT, self._outage.say_that_it_waits, f"no answer from NATS at {self.url} yet")
        try:
            await asyncio.wait_for(self._connect(options), CONNECT_TIMEOUT)
        except (OSError, nats.errors.Error, TimeoutError) as error:
            await self.client.close()
            # The reason is in the message; the way here through asyncio and nats-py would bury it in a screen of tracebacks.
            raise cannot_connect(self.settings, self._outage.cause(error)) from None
        except BaseException:  # cancelled
            await self.close()
            raise
        finally:
            waiting.cancel()
        self._publisher = Publisher(
            self.client,
            timeout=self.settings.publish_timeout.total_seconds(),
            max_in_flight=self.settings.max_in_flight,
        )
        self._mark_up()
        self.client.renew = self._renewed_options
        try:
            await self._publisher.start()
            await check_server(
                self.client,
                self.url,
                self.settings.jetstream_domain,
                lambda: self.denials.check_request(INFO, self.settings.nats_inbox_prefix),
            )
            await self._measure_clock()
        except BaseException:
            await self.close()
            raise
        _ = self.background.start(self._watch(), "naq-watchdog")
        await anext(self._end_of_loop)

    async def _close_with_loop(self) -> AsyncGenerator[None]:
        """Close the connection when its event loop ends.

        `asyncio.run` closes the asynchronous generators of its loop after it has cancelled the tasks: the one moment at
        which a connection that was not closed can still be closed in order.
        """
        try:
            yield
        finally:
            if not self._closing:
                await self._close()

    async def _connect(self, options: dict[str, Any]) -> None:
        """Connect; nats-py tries without end, so a refusal or the time limit stops it."""
        async with beside(self.client.connect(**options), "naq-connect") as connecting:
            await asyncio.wait((connecting, self._outage.given_up), return_when=asyncio.FIRST_COMPLETED)
            if not connecting.done():
                error = self._outage.last_error
                raise error if isinstance(error, OSError | nats.errors.Error) else TimeoutError
            connecting.result()

    async def close(self) -> None:
        """Flush what was sent, within a second or so, and close; a cancellation is raised after that."""
        await finish(self._close(), name="naq-close")
        await self._end_of_loop.aclose()

    async def _close(self) -> None:
        self._closing = True
        await self.background.close()
        if self._publisher is not None:
            self._before_close()
            if self.client.is_connected and self.client.is_reading:
                with contextlib.suppress(Exception):  # closing must not fail because the server is away
                    await self.client.flush(timeout=1)
            self._publisher.close()
        await self.client.close()
        self.is_connected = False
        self._lost = self._lost or ConnectionClosedError(self.url)
        self._up.set()  # callers that wait for the server get the error
        self._after_close()

    def _before_close(self) -> None:
        """Send what is still to be sent; it goes out with a flush."""

    def _after_close(self) -> None:
        """Wake those who wait for messages."""

    def on_reconnect(self, listener: Callable[[], None]) -> None:
        """Call `listener` after each reconnect, from the event loop."""
        self._listeners.append(listener)

    def forget_listener(self, listener: Callable[[], None]) -> None:
        """Undo `on_reconnect`."""
        self._listeners.remove(listener)

    async def wait_connected(self, deadline: float) -> None:
        """Wait until the server can be reached.

        Args:
            deadline: In the event loop's time.

        Raises:
            BrokerUnavailableError: The deadline passed, or the connection is closed for good; `ConnectionClosedError` where the
                program has closed it.
        """
        self.client.check_loop()
        if self._lost is not None:
            raise self._lost
        if self.is_connected:
            return
        try:
            async with asyncio.timeout_at(deadline):
                await self._up.wait()
        except TimeoutError:
            raise cannot_connect(self.settings, self._outage.cause(TimeoutError("connection lost"))) from None
        if self._lost is not None:
            raise self._lost

    def budget(self) -> float:
        """Return the deadline, in loop time, until which an operation begun now is repeated."""
        return self._loop.time() + self._budget

    def is_past(self, deadline: float) -> bool:
        """Whether a deadline in loop time has passed."""
        return self._loop.time() > deadline

    async def _watch(self) -> None:
        """Find the connections that look alive and are not: a half-open peer, a dead read loop.

        Its cancellation may be lost in nats-py: `asyncio.wait_for` of Python 3.11 swallows one that comes with the answer.
        """
        measured = (self.generation, self._loop.time())
        while not self._closing:
            await asyncio.sleep(WATCHDOG_INTERVAL)
            if not self.client.is_connected:
                continue
            if not await pulse.answers(self.client, self.background):
                if self.client.is_connected and not self._closing:
                    log.warning("no reply from NATS at %s for %g s; reconnecting", self.url, pulse.PATIENCE)
                    self._mark_down()
                    await self.client.force_reconnect()
                continue
            self.clock.warn()
            if measured[0] != self.generation or self._loop.time() - measured[1] >= CLOCK_INTERVAL:
                measured = (self.generation, self._loop.time())
                await self._measure_clock()
            await self._look_after()

    async def _look_after(self) -> None:
        """Do the other periodic checks of an open connection; every 3 s."""

    async def _measure_clock(self) -> None:
        if self.clock_stream:
            await self.clock.ask(self.client, self.denials, self.clock_stream, self.settings.nats_inbox_prefix)

    def _mark_up(self) -> None:
        self.connected_at = self._loop.time()
        self._outage.over()
        self.is_connected = True
        self._up.set()

    def _mark_down(self) -> None:
        self.is_connected = False
        self._up.clear()
        if self._publisher is None:
            self.client.replies.fail_all(self._outage.words)
        else:
            self._publisher.fail_all(self._outage.words)

    async def _on_error(self, error: Exception) -> None:
        """Note an asynchronous error; nothing may be raised here, it would end nats-py's read loop."""
        is_first = self._publisher is None
        if is_first and self._outage.given_up.done():
            return  # the refusal is the reason; what follows it, such as a reset, would only hide it
        self._outage.last_error = error
        if (denied := self.denials.note(error)) is not None:
            self._on_denied(denied)
            return
        self._outage.note(error, len(self.client.servers), is_first=is_first and not self._closing, is_in_use=self._is_in_use)

    def _renewed_options(self) -> dict[str, Any]:
        """Return the connect options, with secrets and certificates as they are in their files by now."""
        self.settings = self._outage.settings = self.settings.renewed()
        return connect_options(self.settings)

    def _on_own_error(self, error: BaseException) -> None:
        """Report that an internal task died: without the watchdog, say, a dead connection is not noticed.

        What is under way may still be finished; services look at `lost` and end, handing back what they have.
        """
        log.critical("NATS at %s: an internal task of the connection failed", self.url, exc_info=error)
        self._failure = self._failure or BrokerUnavailableError(self.url, f"an internal task of the connection failed: {error!r}")

    @property
    def _is_in_use(self) -> bool:
        """Whether it has been made and is not being closed: only then its loss is news."""
        return self._publisher is not None and not self._closing

    def _on_denied(self, denied: PermissionDeniedError) -> None:
        """Notify the callers that wait for what the server has just refused."""
        if consequence := self._harmless(denied):
            log.info("NATS at %s: %s: %s", self.url, denied, consequence)
            return
        log.error("NATS at %s: %s", self.url, denied)
        if denied.verb == PUBLISH and self._publisher is not None:
            self._publisher.fail_subject(denied)
        for listener in tuple(self._listeners):
            listener()

    def _harmless(self, denied: PermissionDeniedError) -> str:
        """Return the consequence of a refused request that everything works without; empty for any other."""
        del denied
        return ""

    async def _on_disconnected(self) -> None:
        self._mark_down()
        if self._is_in_use:
            log.warning("connection to NATS at %s lost; reconnecting", self.url)

    async def _on_reconnected(self) -> None:
        self.generation += 1
        self.denials.forget()
        self._mark_up()
        log.info("reconnected to NATS at %s", self.url)
        for listener in tuple(self._listeners):
            listener()

    async def _on_closed(self) -> None:
        self._mark_down()
        if self._is_in_use:
            self._lost = BrokerUnavailableError(self.url, f"the connection was closed permanently ({self._outage.last_words})")
            self._up.set()
            log.error("%s", self._lost)
