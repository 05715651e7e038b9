"""What happens to jobs, as it happens: the server republishes each change, so events cost workers and clients nothing."""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator
from datetime import UTC, datetime

from naq_core.names import check_queue_or_any
from naq_core.storage.connection import Connection
from naq_core.storage.events import event_of
from naq_core.storage.topology import ensure_streams
from naq_core.values import whole
from naq_core.views import Event

__all__ = ["KINDS", "Event", "events"]

GAP = "gap"
KINDS = {
    "started": "An attempt was claimed. One that ends within the setting `claim_after` (20 ms) may have no such event.",
    "progress": "A job reports progress, or has written log lines.",
    "retrying": "An attempt has failed, and there will be another one.",
    "returned": "A worker that stops has returned the job to its queue.",
    "succeeded": "The job has ended with a result.",
    "failed": "The last attempt has failed: the job is dead.",
    "cancelled": "The job was cancelled.",
    "expired": "The job was not started before its `expires`.",
    "enqueued": "The job is ready for a worker. Only with `NAQ_JOB_EVENTS=on`.",
    "held": "The job waits for its time or for other jobs. Only with `NAQ_JOB_EVENTS=on`.",
    "released": "A held or dead job is ready for a worker. Only with `NAQ_JOB_EVENTS=on`.",
    "dead": "The message of a dead job was stored. Only with `NAQ_JOB_EVENTS=on`.",
    "kept": "The message of a cancelled job was archived. Only with `NAQ_JOB_EVENTS=on`.",
    GAP: "Events may be missing: the connection was lost and is back, or the reader was too slow.",
}
"""Every kind of event, and when there is one."""
MOST_WAITING = 10_000
LOOK = 1.0
"""Seconds after which it is noticed that the connection is closed for good."""


async def events(
    connection: Connection, queue: str = "*", *, most_waiting: int = MOST_WAITING, is_resumed: bool = False
) -> AsyncGenerator[Event, None]:
    """Yield job events from now on, without end.

    `KINDS` lists their kinds. Events are not stored: a reader that was away reads the lists again, and so does one that gets an
    event of the kind `gap`.

    Args:
        queue: The queue, or `*` for all.
        most_waiting: How many events may wait for the reader; then the oldest are dropped, and a `gap` is in their place.
        is_resumed: The reader has listened before, on another connection: a `gap` is its first event.

    Raises:
        InvalidNameError: This can be no queue's name.
        BrokerUnavailableError: The connection is closed for good, by an internal error.
    """
    queue, most_waiting = check_queue_or_any(queue), whole(most_waiting, "most_waiting", 1)
    await ensure_streams(connection)
    feed = _Feed(queue, most_waiting)
    names = connection.names
    subscriptions = [
        await connection.client.listen(subject, feed.take)
        for subject in (names.result_event(queue, "*"), names.job_event(queue, "*"))
    ]
    connection.on_reconnect(feed.note_gap)
    if is_resumed:
        feed.note_gap()
    try:
        while True:
            while not feed.has_something:
                if connection.lost is not None:
                    raise connection.lost
                await feed.wait()
            yield feed.next()
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

    @property
    def has_something(self) -> bool:
        return bool(self._events) or self._has_gap

    async def wait(self) -> None:
        """Wait until there is something, or it is time to see whether anything can still come."""
        self._ready.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LOOK):
                await self._ready.wait()

    def next(self) -> Event:
        if self._has_gap:
            self._has_gap = False
            return Event(kind=GAP, at=datetime.now(UTC), queue=self._queue, job_id="")
        return self._events.popleft()
