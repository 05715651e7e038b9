"""Who waits for the ends of which jobs on a connection: events of a few are subscribed one by one, of many by the queue."""

from collections import Counter
from collections.abc import Callable
from typing import TypeAlias

from naq_core.storage.events import is_end
from naq_core.storage.subjects import Names
from naq_core.transport.client import QuickClient, Subscription

Key: TypeAlias = tuple[str, str]
"""Queue and job id."""

SHARE_FROM = 64
"""Jobs of one queue from which on its events are subscribed as a whole: then a server sends them all, ours or not."""


class Ends:
    """The ends that are waited for on one connection."""

    def __init__(self, client: QuickClient, names: Names) -> None:
        self._client = client
        self._names = names
        self._listeners: dict[Key, list[Callable[[], None]]] = {}
        self._waiting: Counter[str] = Counter()
        """Jobs per queue."""
        self._own: dict[Key, Subscription] = {}
        self._shared: dict[str, Subscription] = {}

    async def add(self, key: Key, listener: Callable[[], None]) -> None:
        """Call `listener` when the job has ended, and at each reconnect, as its end may have been missed: then look."""
        listeners = self._listeners.setdefault(key, [])
        listeners.append(listener)
        if len(listeners) > 1:
            return
        queue, job_id = key
        self._waiting[queue] += 1
        if queue in self._shared:
            return
        if self._waiting[queue] <= SHARE_FROM:
            self._own[key] = await self._client.listen(self._names.result_event(queue, job_id), self._on_event)
        else:
            self._shared[queue] = await self._client.listen(self._names.result_event(queue, "*"), self._on_event)

    def remove(self, key: Key, listener: Callable[[], None]) -> None:
        """Undo `add`."""
        listeners = self._listeners[key]
        listeners.remove(listener)
        if listeners:
            return
        del self._listeners[key]
        self._waiting[key[0]] -= 1
        own = self._own.pop(key, None)
        if own is not None:
            self._client.unlisten(own)
        if self._waiting[key[0]] == 0:
            del self._waiting[key[0]]
            shared = self._shared.pop(key[0], None)
            if shared is not None:
                self._client.unlisten(shared)

    def look_again(self) -> None:
        """After a reconnect: events may have been missed."""
        for listeners in tuple(self._listeners.values()):
            for listener in tuple(listeners):
                listener()

    def _on_event(self, subject: bytes, _reply: bytes, _data: bytes, headers: bytes) -> None:
        if not is_end(headers):
            return
        queue, job_id = subject.decode(errors="replace").rsplit(".", 2)[1:]
        for listener in tuple(self._listeners.get((queue, job_id), ())):
            listener()
