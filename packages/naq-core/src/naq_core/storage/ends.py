"""Who waits for the ends of which jobs on a connection: a few jobs are subscribed one by one, many by the events of the queue."""

from collections import Counter
from collections.abc import Callable
from typing import TypeAlias

from naq_core.decoding import whole
from naq_core.storage.events import is_end
from naq_core.storage.subjects import Names
from naq_core.transport.client import QuickClient, Subscription
from naq_core.transport.denials import Denials
from naq_core.transport.direct import Entry

Key: TypeAlias = tuple[str, str]
"""Queue and job id."""

Listener: TypeAlias = Callable[[Entry | None], None]
"""Called with the record of a job's end; with None where the record has to be read."""

SHARE_FROM = 64
"""Jobs of one queue from which on its events are subscribed as a whole: then a server sends them all, ours or not."""
MOST_WRITES = 4
"""Records of ends that are kept until an event says which one was stored; more writers do not compete for one job."""
_SEQUENCE = b"\r\nNats-Sequence: "
_SIZE = b"\r\nNats-Msg-Size: "


class EndWaiters:
    """The ends that are waited for on one connection."""

    def __init__(self, client: QuickClient, names: Names, denials: Denials) -> None:
        self._client = client
        self._names = names
        self._denials = denials
        self._listeners: dict[Key, list[Listener]] = {}
        self._waiting: Counter[str] = Counter()
        """Jobs per queue."""
        self._own: dict[Key, _JobEnd] = {}
        self._shared: dict[str, Subscription] = {}

    async def add(self, key: Key, listener: Listener) -> None:
        """Call `listener` when the job has ended, and at each reconnect, as its end may have been missed: then look."""
        listeners = self._listeners.setdefault(key, [])
        listeners.append(listener)
        if len(listeners) > 1:
            return
        queue, job_id = key
        self._waiting[queue] += 1
        if queue in self._shared:
            return
        names = self._names
        if self._waiting[queue] > SHARE_FROM:
            self._shared[queue] = await self._client.listen(names.result_event(queue, "*"), self._on_event)
            return
        own = self._own[key] = _JobEnd(self._client, listeners)
        await own.start(
            names.result_event(queue, job_id),
            "" if self._denials.is_refused_below(names.results) else names.result(queue, job_id),
        )

    def remove(self, key: Key, listener: Listener) -> None:
        """Undo `add`."""
        listeners = self._listeners[key]
        listeners.remove(listener)
        if listeners:
            return
        del self._listeners[key]
        self._waiting[key[0]] -= 1
        own = self._own.pop(key, None)
        if own is not None:
            own.stop()
        if self._waiting[key[0]] == 0:
            del self._waiting[key[0]]
            shared = self._shared.pop(key[0], None)
            if shared is not None:
                self._client.unlisten(shared)

    def look_again(self) -> None:
        """After a reconnect: events may have been missed."""
        for listeners in tuple(self._listeners.values()):
            _call(listeners, None)

    def _on_event(self, subject: bytes, _reply: bytes, _data: bytes, headers: bytes) -> None:
        if not is_end(headers):
            return
        queue, job_id = subject.decode(errors="replace").rsplit(".", 2)[1:]
        _call(self._listeners.get((queue, job_id), ()), None)


class _JobEnd:
    """The end of one job, as the server tells of it: what is written to its record, and which write was stored.

    A write of the record reaches its subscribers before the stream has taken or refused it, and whole. The event, which the
    server publishes once the write is stored, has the same headers: so it says which write it was, and nothing has to be read.
    """

    __slots__ = ("_client", "_listeners", "_subject", "_subscriptions", "_writes")

    def __init__(self, client: QuickClient, listeners: list[Listener]) -> None:
        self._client = client
        self._listeners = listeners
        self._subject = ""
        self._subscriptions: list[Subscription] = []
        self._writes: list[tuple[bytes, bytes]] = []
        """Headers and bodies of records that end the job, stored or not."""

    async def start(self, event: str, record: str) -> None:
        """Subscribe.

        Args:
            event: The subject of the record's events.
            record: The subject of the record; empty: only events, as this user may not see what is written.
        """
        if record:
            self._subject = record
            self._subscriptions.append(await self._client.listen(record, self._on_write))
        self._subscriptions.append(await self._client.listen(event, self._on_event))

    def stop(self) -> None:
        """End the subscriptions."""
        for subscription in self._subscriptions:
            self._client.unlisten(subscription)

    def _on_write(self, _subject: bytes, _reply: bytes, data: bytes, headers: bytes) -> None:
        if is_end(headers):
            self._writes = [*self._writes[1 - MOST_WRITES :], (headers, data)]

    def _on_event(self, _subject: bytes, _reply: bytes, _data: bytes, headers: bytes) -> None:
        if is_end(headers):
            stored = self._stored(headers)
            self._writes.clear()
            _call(self._listeners, stored)

    def _stored(self, event: bytes) -> Entry | None:
        """Return the record that an event announces; None where it was not seen, or where it is unclear which one it was."""
        sequence, size = _number_after(event, _SEQUENCE), _number_after(event, _SIZE)
        found = {
            data for headers, data in self._writes if len(data) == size and event.startswith(b"%bNats-Stream: " % headers[:-2])
        }
        return Entry(self._subject, sequence, "", {}, found.pop()) if sequence and len(found) == 1 else None


def _call(listeners: "list[Listener] | tuple[()]", stored: Entry | None) -> None:
    for listener in tuple(listeners):
        listener(stored)


def _number_after(block: bytes, name: bytes) -> int | None:
    _, found, rest = block.partition(name)
    return whole(rest[: rest.find(b"\r")].decode(errors="replace")) if found else None
