"""What happens, as it happens: one subscription per process, however many pages are open."""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Awaitable, Callable

import msgspec

from naq_core.errors import NaqError
from naq_core.events import events
from naq_core.inspect import list_queues
from naq_core.masks import Mask
from naq_core.metrics import LEVELS, Recorder
from naq_core.names import new_id
from naq_core.tasks import Background
from naq_core.views import Event
from naq_dashboard.nats import Broker

__all__ = ["EventFeed"]

log = logging.getLogger(__name__)

KEPT = 500
RECHECK = 0.25
"""Seconds between two checks of the jobs stream's numbers: an enqueue has no event by default (ADR 15), but it moves them."""
PAUSE = 1.0


class EventFeed:
    """Listens from the first open page on, and keeps the newest events for the page that shows them."""

    def __init__(self, broker: Broker, mask: Mask, on_event: Callable[[str, str], None], on_any: Callable[[], None]) -> None:
        self._broker = broker
        self._mask = mask
        self._on_event, self._on_any = on_event, on_any
        self.mark = new_id()[-12:]
        """Tells the numbers of this feed's events from those of another process, or of another start."""
        self._recorder = Recorder(f"dashboard-{self.mark}")
        self.listeners: set[Callable[[Event], None]] = set()
        """ActionResult of each event, and of gaps."""
        self._background = Background()
        self.recent: deque[Event] = deque(maxlen=KEPT)
        """The newest events and gaps."""
        self.seen = 0
        """How many have come in since the start; the number of the newest one."""
        self._has_listened = False

    def start(self) -> None:
        """Begin to listen; nothing happens when it has begun before."""
        if not self._background.tasks:
            for name, duty in (("events", self._listen), ("recheck", self._recheck), ("sample", self._sample)):
                _ = self._background.start(self._for_ever(duty), f"naq-dashboard-{name}")

    async def close(self) -> None:
        """Stop listening."""
        await self._background.close()

    async def _for_ever(self, duty: Callable[[], Awaitable[None]]) -> None:
        while True:
            try:
                await duty()
            except NaqError as error:
                log.debug("events: %s", error)
            except Exception:
                log.exception("restarting the event feed")
            await asyncio.sleep(PAUSE)

    async def _listen(self) -> None:
        connection = await self._broker.connection()
        found = events(connection, is_resumed=self._has_listened)
        self._has_listened = True
        async with contextlib.aclosing(found) as feed:
            async for event in feed:
                self.take(event)

    def take(self, event: Event) -> None:
        """Keep an event or a gap, and call the listeners."""
        if event.progress is not None and event.progress.note:
            note = self._mask(event.progress.note)
            event = msgspec.structs.replace(event, progress=msgspec.structs.replace(event.progress, note=note))
        self.seen += 1
        self.recent.append(event)
        if event.kind == "gap":
            self._on_any()
        else:
            self._on_event(event.queue, event.job_id)
        for listener in self.listeners:
            listener(event)

    async def _recheck(self) -> None:
        connection = await self._broker.connection()
        before: tuple[int, int] | None = None
        while True:
            info = await connection.api(f"STREAM.INFO.{connection.names.jobs_stream}")
            now = (int(info["state"]["last_seq"]), int(info["state"]["messages"]))
            if before is not None and now != before:
                self._on_any()
            before = now
            await asyncio.sleep(RECHECK)

    async def _sample(self) -> None:
        """Note how deep the queues are: workers do it for theirs, but a queue grows most where no worker is."""
        while True:
            connection = await self._broker.connection()
            await asyncio.sleep(LEVELS[0].step - connection.clock.now() % LEVELS[0].step)
            connection = await self._broker.connection()
            for queue in await list_queues(connection):
                self._recorder.note_depth(queue.queue, queue.queued)
            await self._recorder.store(connection, connection.clock.now() - 1.0)
