"""When is which schedule due: a heap that the watch feeds, so that waiting costs the same for one schedule and for 100,000."""

import asyncio
import heapq
import logging
import time
from collections.abc import Callable
from datetime import datetime

import msgspec

from naq_core.decoding import Decoder, Duration, complain
from naq_core.errors import UnreadableError
from naq_core.schedules.document import AHEAD
from naq_core.schedules.spec import delay_of
from naq_core.transport.watch import Change

log = logging.getLogger(__name__)


class _Times(msgspec.Struct):
    schedule_id: str
    jitter: Duration = 0.0


class _Glance(msgspec.Struct):
    """The few fields of a schedule that say when it is due."""

    spec: _Times
    next_at: datetime | None = None
    watermark: datetime | None = None
    paused: bool = False


def _check(glance: _Glance) -> None:
    if glance.next_at is not None and not (glance.next_at.tzinfo is not None and 1970 <= glance.next_at.year <= 9998):
        raise ValueError(f"{glance.next_at.isoformat()} is not a time with a zone, between 1970 and 9998")


_decoder = Decoder("the schedule", _Glance, check=_check)


class KnownSchedule:
    """A schedule as it was last seen."""

    __slots__ = ("data", "due", "is_busy", "key", "revision")

    def __init__(self, key: str) -> None:
        self.key = key
        self.revision = 0
        self.data = b""
        self.due: float | None = None
        """Seconds since the epoch; None: not by itself."""
        self.is_busy = False
        """It is being fired, and not to be taken again meanwhile."""


class Agenda:
    """All schedules, and the order in which they are due."""

    def __init__(self) -> None:
        self.now: Callable[[], float] = time.time
        """The server's time, once it is known."""
        self.changed = asyncio.Event()
        """Set when something may be due earlier than before."""
        self._entries: dict[str, KnownSchedule] = {}
        self._heap: list[tuple[float, str, int]] = []

    def __len__(self) -> int:
        return len(self._entries)

    def clear(self) -> None:
        """Forget everything (for the watch, which reports it again)."""
        self._entries.clear()
        self._heap.clear()

    def put(self, change: Change) -> None:
        """Take note of a schedule as it is now."""
        entry = self._entries.get(change.key)
        if not change.data:
            if entry is not None and change.revision > entry.revision:
                del self._entries[change.key]
            return
        if entry is None:
            entry = self._entries[change.key] = KnownSchedule(change.key)
        if change.revision <= entry.revision:
            return  # our own write, or an old one repeated
        entry.revision, entry.data, entry.due = change.revision, change.data, _due(change, self.now())
        if not entry.is_busy:
            self._push(entry)

    def next_due(self) -> float | None:
        """Return when the next one is due, in seconds since the epoch."""
        while self._heap:
            due, key, revision = self._heap[0]
            entry = self._entries.get(key)
            if entry is not None and entry.revision == revision and entry.due == due and not entry.is_busy:
                return due
            heapq.heappop(self._heap)  # it was changed or removed since
        return None

    def take_due(self, now: float) -> KnownSchedule | None:
        """Return a schedule that is due, and mark it busy; hand it back with `done`."""
        due = self.next_due()
        if due is None or due > now:
            return None
        entry = self._entries[heapq.heappop(self._heap)[1]]
        entry.is_busy = True
        return entry

    def written(self, entry: KnownSchedule, revision: int, data: bytes) -> None:
        """Take note of the stored schedule after a firing; no data: it was deleted."""
        if revision <= entry.revision:
            return  # the watch was faster
        if data:
            entry.revision, entry.data, entry.due = revision, data, _due(Change(entry.key, revision, data), self.now())
        elif self._entries.get(entry.key) is entry:
            del self._entries[entry.key]

    def done(self, entry: KnownSchedule, *, not_before: float = 0.0) -> None:
        """Hand a schedule back; it is due again when its newest version says so, but not before `not_before`."""
        entry.is_busy = False
        if self._entries.get(entry.key) is entry:
            if entry.due is not None:
                entry.due = max(entry.due, not_before)
            self._push(entry)

    def _push(self, entry: KnownSchedule) -> None:
        if entry.due is None:
            return
        heapq.heappush(self._heap, (entry.due, entry.key, entry.revision))
        if self._heap[0][1] == entry.key:
            self.changed.set()


def _due(change: Change, now: float) -> float | None:
    try:
        glance = _decoder.decode(change.data)
    except UnreadableError as error:
        complain(log, f"schedule {change.key}", error, "one that never fires")
        return None
    if glance.paused or glance.next_at is None:
        return None
    if glance.watermark is not None and glance.watermark.timestamp() > now + AHEAD.total_seconds():
        log.warning(
            "schedule %s will not fire before %s, because of a scheduler or client with a wrong clock;"
            " resume or replace it to fire from now on",
            change.key,
            glance.next_at.isoformat(timespec="seconds"),
        )
    return (glance.next_at + delay_of(glance.spec.schedule_id, glance.spec.jitter, glance.next_at)).timestamp()
