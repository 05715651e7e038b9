"""Live pages: what is open in browsers is rendered again when something happens, and what has changed is sent.

One topic stands for all streams that show the same to the same people: it is loaded and rendered once for all of them. A
stream always gets the newest state of each region, never a queue of old ones, so a slow browser costs no memory.
"""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from gettext import NullTranslations
from typing import Any, TypeAlias

import msgspec
from litestar.exceptions import HTTPException
from litestar.response import ServerSentEventMessage

from naq_core.errors import BrokerError, NaqError
from naq_core.tasks import Background
from naq_dashboard.languages import ENGLISH_TEXTS, _, spoken

log = logging.getLogger(__name__)

SHORTEST = 0.27
"""Seconds between two frames of one topic: 4 a second are as many as anybody can follow, and a late one makes no fifth."""
SHARE = 2
"""A topic takes at most half of the time: what takes 150 ms to load is loaded every 300 ms at most."""
TICK = 1.0
"""Seconds after which a topic is looked at again although no event came: presence, depth and ages have none."""
QUIET_SHARE = 25
"""Without an event a topic takes at most one twenty-fifth of the time."""
HEARTBEAT = 15.0
LONGEST = 3600.0
"""Seconds after which a stream ends. Browsers begin it again at once, if they still may: a login may be over meanwhile."""
RETRY_MS = 1000

Load: TypeAlias = Callable[[], Awaitable[dict[str, str]]]
"""Returns the regions of a page: HTML by element id."""


async def woken(wake: asyncio.Event) -> bool:
    """Wait until there is something to send; False if there was nothing for so long that a sign of life is due."""
    try:
        async with asyncio.timeout(HEARTBEAT):
            await wake.wait()
    except TimeoutError:
        return False
    finally:
        wake.clear()
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """What an open page shows, as its browser asks for it."""

    page: str
    """What the browser calls it; its frames say so too."""
    key: Hashable
    """Equal for all who are shown the same."""
    load: Load
    queue: str = ""
    """The events that concern it; empty: those of every queue."""
    job_id: str = ""
    catalogue: NullTranslations = ENGLISH_TEXTS
    """Of the language in which the page is written."""


class Topic:
    """What some open pages show."""

    def __init__(self, shown: Subscription) -> None:
        self._load = shown.load
        self._queue, self._job_id = shown.queue, shown.job_id
        self._catalogue = shown.catalogue
        self._dirty = asyncio.Event()
        self.regions: dict[str, tuple[int, str]] = {}
        self.version = 0
        self.error = ""
        self.watchers: set[asyncio.Event] = set()
        self.task: asyncio.Task[None] | None = None

    def concerns(self, queue: str, job_id: str) -> bool:
        """Whether what happened to that job can change what is shown."""
        return (not self._queue or self._queue == queue) and (not self._job_id or self._job_id == job_id)

    def mark(self) -> None:
        """Say that something has changed."""
        self._dirty.set()

    async def run(self) -> None:
        """Load and render again and again, until cancelled.

        The next load begins so early that what it finds can be sent as soon as another frame may be.
        """
        loop = asyncio.get_running_loop()
        shown_at = float("-inf")
        while True:
            self._dirty.clear()
            begun = loop.time()
            changed = await self._refresh()
            took = loop.time() - begun
            if changed:
                await asyncio.sleep(max(0.0, shown_at + SHORTEST - loop.time()))
                self._show()
                shown_at = loop.time()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(TICK, took * QUIET_SHARE)):
                    await self._dirty.wait()
            await asyncio.sleep(max(0.0, shown_at + SHORTEST - took - loop.time(), begun + took * SHARE - loop.time()))

    async def _refresh(self) -> bool:
        """Load and render, and return whether anything has changed."""
        with spoken(self._catalogue):
            return await self._refresh_in_its_language()

    async def _refresh_in_its_language(self) -> bool:
        try:
            found = await self._load()
        except NaqError as error:
            problem = _("NATS does not answer: %(error)s") % {"error": error} if isinstance(error, BrokerError) else str(error)
            changed, self.error = problem != self.error, problem
        except HTTPException as error:  # what was shown is not there any more
            changed, self.error = error.detail != self.error, error.detail
        except Exception:
            log.exception("cannot render a live page")
            changed, self.error = not self.error, _("This page cannot be rendered; the dashboard's log says why.")
        else:
            changed, self.error = bool(self.error), ""
            for name, text in found.items():
                if self.regions.get(name, (0, ""))[1] != text:
                    self.regions[name] = (self.version + 1, text)
                    changed = True
        return changed or not self.version

    def _show(self) -> None:
        """Let the streams send what has changed."""
        self.version += 1
        for watcher in self.watchers:
            watcher.set()


class Hub:
    """All topics of the process, and the one place where events come in."""

    def __init__(self) -> None:
        self._topics: dict[Hashable, Topic] = {}
        self._background = Background()
        self._others: set[asyncio.Event] = set()
        self.is_closing = False
        self.streams = 0
        self._owners: Counter[str] = Counter()
        """How many streams each user has."""

    def notify(self, queue: str, job_id: str) -> None:
        """Mark what shows a job as changed. It is cheap enough to be called for each event."""
        for topic in self._topics.values():
            if topic.concerns(queue, job_id):
                topic.mark()

    def notify_all(self) -> None:
        """Mark everything as changed, as after an action."""
        for topic in self._topics.values():
            topic.mark()

    def end_streams(self) -> None:
        """End every open stream at once, so that the server can stop."""
        self.is_closing = True
        for topic in self._topics.values():
            for watcher in topic.watchers:
                watcher.set()
        for wake in self._others:
            wake.set()

    @contextlib.contextmanager
    def attended(self, owner: str = "") -> Iterator[asyncio.Event]:
        """Count a stream that is not of a page, and give what wakes it at the end of all streams.

        Args:
            owner: The user whose stream it is.
        """
        wake = asyncio.Event()
        self._others.add(wake)
        self._count(owner, 1)
        try:
            yield wake
        finally:
            self._count(owner, -1)
            self._others.discard(wake)

    def check_room(self, owner: str, most: int) -> None:
        """Refuse another stream to a user who has too many; where nobody logs in, there are no users.

        Raises:
            HTTPException: 429.
        """
        if owner and self._owners[owner] >= most:
            told = f"{owner} has {most} streams of updates open: close some, or raise NAQ_DASHBOARD_STREAMS_PER_USER"
            raise HTTPException(told, status_code=429, headers={"Retry-After": "10"})

    def _count(self, owner: str, change: int) -> None:
        self.streams += change
        self._owners[owner] += change
        if not self._owners[owner]:
            del self._owners[owner]

    async def close(self) -> None:
        """End every stream and stop all work."""
        self.end_streams()
        await self._background.close()
        self._topics.clear()

    async def stream(
        self, asked: Sequence[Subscription], owner: str = "", may_go_on: Callable[[], bool] = lambda: True
    ) -> AsyncGenerator[ServerSentEventMessage, None]:
        """Yield what changes on the open pages of a browser, until it goes or the server stops.

        A browser has few connections to a server, often six: one stream serves all of its pages.

        Args:
            owner: The user whose browser it is.
            may_go_on: Asked now and then; False ends the stream, as when its session was ended.
        """
        wake = asyncio.Event()
        shown = [_PageStream(each.page, self._join(each)) for each in asked]
        for each in shown:
            each.topic.watchers.add(wake)
        self._count(owner, 1)
        try:
            yield ServerSentEventMessage(retry=RETRY_MS, comment="live", data=None)
            loop = asyncio.get_running_loop()
            until = loop.time() + LONGEST
            while not self.is_closing and loop.time() < until and may_go_on():
                for each in shown:
                    if (told := each.news()) is not None:
                        yield ServerSentEventMessage(data=msgspec.json.encode(told).decode())
                if not await woken(wake):
                    yield ServerSentEventMessage(comment="alive", data=None)
        finally:
            self._count(owner, -1)
            for subscription, each in zip(asked, shown, strict=True):
                self._leave(subscription.key, each.topic, wake)

    def _join(self, asked: Subscription) -> Topic:
        if asked.key not in self._topics:
            topic = self._topics[asked.key] = Topic(asked)
            topic.task = self._background.start(topic.run(), "naq-dashboard-topic")
        return self._topics[asked.key]

    def _leave(self, key: Hashable, topic: Topic, wake: asyncio.Event) -> None:
        topic.watchers.discard(wake)
        if not topic.watchers and self._topics.get(key) is topic:
            del self._topics[key]
            if topic.task is not None:
                topic.task.cancel()


@dataclass(slots=True)
class _PageStream:
    """How far a stream is with one page."""

    page: str
    topic: Topic
    seen: int = 0
    sent: str | None = field(default=None)
    """The error that was sent. A page may have been made while NATS was away, so the first state is always sent."""

    def news(self) -> dict[str, Any] | None:
        """Return what the browser does not know yet: regions as HTML by element id, and why they are not kept up to date."""
        topic = self.topic
        regions = {name: text for name, (version, text) in topic.regions.items() if version > self.seen}
        self.seen = topic.version
        is_other = bool(topic.version) and topic.error != self.sent
        if not (regions or is_other):
            return None
        told: dict[str, Any] = {"page": self.page}
        if is_other:
            told["away"] = self.sent = topic.error
        if regions:
            told["regions"] = regions
        return told
