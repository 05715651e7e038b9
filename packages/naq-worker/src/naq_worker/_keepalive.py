"""The worker's second heart: a thread with its own connection that keeps leases and presence alive.

Neither a blocked event loop nor a job that holds the CPU can stop it (`docs/adr/0004-keep-alive-thread.md`).
"""

import asyncio
import contextlib
import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from naq_core.errors import BrokerError
from naq_core.platforms import boottime
from naq_core.settings import Settings
from naq_core.storage.connection import Connection
from naq_core.storage.control import ControlReply, ControlRequest, answer_requests
from naq_core.storage.presence import remove_presence
from naq_core.storage.topology import ensure_streams
from naq_core.storage.worker_history import EVERY, note_worker
from naq_core.tasks import services
from naq_core.transport.clock import ServerClock
from naq_core.transport.headers import TTL, ttl_text
from naq_worker._active import Active

log = logging.getLogger(__name__)

LAST_NOTE = 0.5
"""Seconds that it may take to note what is kept of a worker that has ended."""
BLOCKED_AFTER = 1.0
"""Seconds without a turn of the event loop after which the thread says where it is stuck."""


class KeepAlive:
    """Renews the leases of what `held()` returns and publishes what `presence()` returns.

    Args:
        held: Returns the deliveries in hand; called from the thread.
        presence: Returns the worker's presence document; called from the thread.
        lost: Called from the thread, for each delivery whose lease has passed, and for a failure of the thread itself.
        clock: That of the worker's other connection.
        answer: Answers requests that must also be answered while the event loop is blocked; called from the thread.
    """

    def __init__(
        self,
        settings: Settings,
        worker_id: str,
        held: Callable[[], Iterable[Active]],
        presence: Callable[[], dict[str, Any]],
        lost: Callable[[Active], None],
        clock: ServerClock,
        answer: Callable[[ControlRequest], ControlReply],
    ) -> None:
        self._settings = settings
        self._worker_id = worker_id
        self._held = held
        self._presence = presence
        self._lost = lost
        self._clock = clock
        self._answer = answer
        self._lease = settings.ack_wait.total_seconds()
        self._renew_every = self._lease / 3
        self._beat_every = settings.heartbeat_interval.total_seconds()
        self._beats = 0
        self._note_every = max(2, round(EVERY / self._beat_every))
        """Heartbeats between two notes that outlive the presence."""
        self._main_loop = asyncio.get_running_loop()
        self._main_thread = threading.get_ident()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None
        self._beat_again: asyncio.Event | None = None
        self._started: asyncio.Future[None] = self._main_loop.create_future()
        self._ended: asyncio.Future[None] = self._main_loop.create_future()
        self._thread = threading.Thread(target=self._run, name="naq-keepalive", daemon=True)

    async def start(self) -> None:
        """Start the thread and wait until the first presence is stored: only then may jobs be claimed.

        Raises:
            BrokerError: The thread cannot connect.
        """
        self._thread.start()
        await self._started

    async def watch(self) -> None:
        """Wait for the end of the thread, which only `stop` is to bring about.

        Raises:
            Exception: What ended the thread: a worker that cannot renew its leases must not go on.
        """
        await asyncio.shield(self._ended)

    async def stop(self) -> None:
        """Remove the presence and end the thread."""
        if self._loop is not None and self._stop is not None and self._thread.is_alive():
            with contextlib.suppress(RuntimeError):  # its loop was closed in this moment
                self._loop.call_soon_threadsafe(self._stop.set)
            await asyncio.wait([self._ended], timeout=2)  # not `join` in a thread: there may be none left to start

    def _run(self) -> None:
        error: BaseException | None = None
        try:
            asyncio.run(self._live())
        except BaseException as raised:  # noqa: BLE001 - reported: a worker without keep-alive must end
            error = raised
        self._tell(self._started, error)
        self._tell(self._ended, error)

    def _tell(self, future: "asyncio.Future[None]", error: BaseException | None = None) -> None:
        def tell() -> None:
            if future.done():
                return
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)
                future.exception()  # it is read where somebody waits for it

        try:
            self._main_loop.call_soon_threadsafe(tell)
        except RuntimeError:
            log.debug("the worker's event loop is closed")

    async def _live(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        self._beat_again = asyncio.Event()
        async with Connection(self._settings, name=f"naq-keepalive-{self._worker_id}", clock=self._clock) as connection:
            await ensure_streams(connection)  # so that it creates the bucket again that it writes to
            await answer_requests(connection, self._worker_id, self._answer, is_beside=True)
            await self._beat(connection)
            self._tell(self._started)
            async with services() as duties:
                duties.start(self._every(self._renew_every, self._renew, connection, asyncio.Event()), "renew")
                duties.start(self._every(self._beat_every, self._beat, connection, self._beat_again), "beat")
                duties.start(self._watch_main_loop(), "watch")
                await self._stop.wait()
            if connection.is_connected:
                try:
                    await remove_presence(connection, self._worker_id)
                except BrokerError as error:
                    log.info("presence not removed (%s): it will expire", error)
                if self._beats > 1:
                    await self._note(connection, has_ended=True)

    def beat_soon(self) -> None:
        """Publish the presence at once, as something in it has changed; callable from any thread."""
        if self._loop is not None and self._beat_again is not None and self._thread.is_alive():
            with contextlib.suppress(RuntimeError):  # its loop was closed in this moment
                self._loop.call_soon_threadsafe(self._beat_again.set)

    async def _every(
        self, seconds: float, duty: Callable[[Connection], Any], connection: Connection, again: asyncio.Event
    ) -> None:
        """Do a duty at fixed times, at once after a reconnect, and when `again` is set."""
        connection.on_reconnect(again.set)
        while True:
            try:
                async with asyncio.timeout(seconds):
                    await again.wait()
            except TimeoutError:
                pass
            again.clear()
            await duty(connection)

    async def _renew(self, connection: Connection) -> None:
        """Tell the server that the jobs in hand are in progress; only a proven round trip extends the local lease.

        The deadline counts from before the request, and nothing is renewed after its deadline: somebody else may have it.
        """
        begun = boottime()
        renewed = []
        for active in self._held():
            if active.lease_until <= begun:
                if not active.lease_lost:
                    self._lost(active)
            else:
                renewed.append(active)
        if not renewed or not connection.is_connected:
            return
        subjects = [active.delivery.ack_subject for active in renewed]
        if await connection.tell_all(subjects, b"+WPI", timeout=self._renew_every):
            for active in renewed:
                active.lease_until = begun + self._lease

    async def _beat(self, connection: Connection) -> None:
        """Publish the presence; the server removes it when it is not renewed."""
        if not connection.is_connected:
            return
        ttl = ttl_text(self._settings.worker_ttl.total_seconds())
        body = msgspec.json.encode(self._presence())
        try:
            await connection.publish_once(connection.names.worker(self._worker_id), body, {TTL: ttl})
        except BrokerError as error:
            log.warning("heartbeat not stored: %s", error)
        self._beats += 1
        if self._beats % self._note_every == 2 % self._note_every:
            await self._note(connection)

    async def _note(self, connection: Connection, *, has_ended: bool = False) -> None:
        """Note what is left of this worker once its presence has expired; nothing depends on it."""
        try:
            async with asyncio.timeout(LAST_NOTE):
                await note_worker(connection, self._presence(), has_ended=has_ended)
        except (BrokerError, TimeoutError) as error:
            log.debug("not noted: %r", error)

    async def _watch_main_loop(self) -> None:
        """Say so when a job blocks the event loop: the other jobs of the worker stand still meanwhile."""
        while True:
            turned = threading.Event()
            self._main_loop.call_soon_threadsafe(turned.set)
            await asyncio.sleep(BLOCKED_AFTER)
            if turned.is_set():
                continue
            since = time.monotonic() - BLOCKED_AFTER
            frame = sys._current_frames().get(self._main_thread)  # noqa: SLF001 - the documented way to see another thread
            where = "".join(traceback.format_stack(frame)[-4:]) if frame is not None else "unknown"
            log.warning("a job has blocked the worker's event loop for over %g s; its stack:\n%s", BLOCKED_AFTER, where)
            while not turned.is_set():  # noqa: ASYNC110 - the other thread sets it
                await asyncio.sleep(0.2)
            log.warning("the event loop runs again after %.1f s", time.monotonic() - since)
