"""Events as a stream for programs: each as JSON, in order; what a reader has missed is sent or reported as a gap."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable
from datetime import UTC, datetime
from typing import TypeAlias

from litestar.response import ServerSentEventMessage

from naq_core.views import Event, encode_view
from naq_dashboard.live.feed import EventFeed
from naq_dashboard.live.hub import LONGEST, RETRY_MS, Hub, woken

__all__ = ["event_frames"]

MOST_WAITING = 1000
"""Events that wait for a slow reader; of more, the oldest are dropped, and it gets a gap."""

Numbered: TypeAlias = tuple[int, Event]
Wanted: TypeAlias = Callable[[Event], bool]


async def event_frames(
    feed: EventFeed, hub: Hub, wanted: Wanted, last_id: str, owner: str = ""
) -> AsyncGenerator[ServerSentEventMessage, None]:
    """Yield events from now on, or from after the one that the reader saw last, until it goes or the server stops.

    Args:
        feed: Has begun to listen.
        wanted: Whether the reader asked for an event; gaps it always gets.
        last_id: The `Last-Event-ID` of a reader that comes back; empty for a new one.
        owner: The user who reads.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + LONGEST
    waiting: deque[Numbered] = deque(_missed(feed, last_id))
    with hub.attended(owner) as wake:

        def take(event: Event) -> None:
            if event.kind != "gap" and not wanted(event):
                return
            waiting.append((feed.seen, event))
            if len(waiting) > MOST_WAITING:
                waiting.popleft()
                waiting[0] = (waiting[0][0], _gap())
            wake.set()

        feed.listeners.add(take)
        try:
            yield ServerSentEventMessage(retry=RETRY_MS, comment="live", data=None)
            while not hub.is_closing and loop.time() < until:
                while waiting:
                    number, event = waiting.popleft()
                    if event.kind == "gap" or wanted(event):
                        yield ServerSentEventMessage(data=encode_view(event).decode(), id=f"{feed.mark}-{number}")
                if not await woken(wake):
                    yield ServerSentEventMessage(comment="alive", data=None)
        finally:
            feed.listeners.discard(take)


def _missed(feed: EventFeed, last_id: str) -> list[Numbered]:
    """Return the events since the one of that id, or a gap where they are not kept any more."""
    if not last_id:
        return []
    mark, _, text = last_id.rpartition("-")
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 19 else -1
    missed = feed.seen - number
    if mark != feed.mark or number < 0 or not 0 <= missed <= len(feed.recent):
        return [(feed.seen, _gap())]
    kept = list(feed.recent)[len(feed.recent) - missed :]
    return list(enumerate(kept, number + 1))


def _gap() -> Event:
    return Event(kind="gap", at=datetime.now(UTC), queue="*", job_id="")
