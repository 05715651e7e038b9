"""What happens to jobs, as it happens: the server republishes each change, so events cost workers and clients nothing."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from datetime import UTC, datetime

from naq_core._nats.connection import Connection
from naq_core._nats.event_headers import event_of
from naq_core._nats.topology import ensure_streams
from naq_core.names import check_queue
from naq_core.views import Event

__all__ = ["Event", "events"]

GAP = "gap"
MOST_WAITING = 10_000


async def events(connection: Connection, queue: str = "*", *, most_waiting: int = MOST_WAITING) -> AsyncGenerator[Event, None]:
    """Yield what happens to jobs from now on, for ever.

    Kinds from records: `started`, `progress` (or log lines), `retrying`, `returned` (handed back by a worker that stopped),
    `succeeded`, `failed`, `cancelled`, `expired`. With the setting `job_events=on` also from jobs: `enqueued`, `held`, `dead`,
    `released` (a held or dead job became ready). Events are not stored: who was away reads the lists again, and so does who
    gets an event of kind `gap`, which says that some may have been missed: the connection was lost and is back, or the reader
    was too slow.

    Args:
        queue: The queue, or `*` for all.
        most_waiting: How many events may wait for the reader; then the oldest are dropped, and a `gap` is in their place.

    Raises:
        InvalidNameError: This can be no queue's name.
    """
    if queue != "*":
        check_queue(queue)
    await ensure_streams(connection)
    feed = _Feed(queue, most_waiting)
    names = connection.names
    subscriptions = [
        await connection.client.listen(subject, feed.take)
        for subject in (names.result_event(queue, "*"), names.job_event(queue, "*"))
    ]
    connection.on_reconnect(feed.note_gap)
    try:
        while True:
            yield await feed.next()
    finally:
        connection.forget_listener(feed.note_gap)
        for subscription in subscriptions:
            connection.client.unlisten(subscription)


class _Feed:
    """Events between the connection and the reader."""

    def __init__(self, queue: str, most: int) -> None:
        self._queue = queue
        self._events: deque[Event] = deque()
        self._most = max(1, most)
        self._has_gap = False
        self._ready = asyncio.Event()

    def take(self, subject: bytes, _reply: bytes, _data: bytes, headers: bytes) -> None:
        event = event_of(subject.decode(errors="replace"), headers)
        if event is None:
            return
        if len(self._events) >= self._most:
            self._events.popleft()
            self._has_gap = True
        self._events.append(event)
        self._ready.set()

    def note_gap(self) -> None:
        self._has_gap = True
        self._ready.set()

    async def next(self) -> Event:
        while not (self._events or self._has_gap):
            self._ready.clear()
            await self._ready.wait()
        if self._has_gap:
            self._has_gap = False
            return Event(kind=GAP, at=datetime.now(UTC), queue=self._queue, job_id="")
        return self._events.popleft()
