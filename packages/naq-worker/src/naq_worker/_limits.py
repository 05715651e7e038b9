"""Limited queues: a job runs only while it has one of the queue's slots, over all workers (`docs/adr/0012-limits.md`)."""

import logging
import random
import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

from naq_core.errors import BrokerError
from naq_core.queue_policy import QueuePolicy
from naq_core.storage.connection import Connection
from naq_core.storage.presence import read_presence
from naq_core.storage.queues import QueueSettings, QueueSettingsWatch
from naq_core.storage.room import KeyRule, KeyRules
from naq_core.storage.slots import Holder, Slot, read_slots, write_slot
from naq_worker._active import Active

log = logging.getLogger(__name__)

DELAYS = {"high": 0.1, "normal": 0.25, "low": 0.5}
"""Seconds before a job that found no slot tries again, by level: the more important one is the likelier to get the next."""
SEARCH_INTERVAL = 1.0
"""Seconds between two searches for slots whose holders are gone."""
_ANY = KeyRules(QueuePolicy())
FULL_FOR = 0.03
"""Seconds for which a queue that was found full is taken to be full."""


class Limits:
    """The limits of a worker's limited queues; a queue without a limit has none, and costs a look into an empty dictionary.

    Args:
        is_held: Whether this worker has that job in hand.
    """

    def __init__(
        self, connection: Connection, worker_id: str, queues: Iterable[str], is_held: Callable[[str, str], bool]
    ) -> None:
        self.of: dict[str, QueueLimit] = {}
        self._rules: dict[str, KeyRules] = {}
        self.paced: dict[str, tuple[bool, bool]] = {}
        """Queues whose jobs start at a rate: whether all together, and whether those of each key."""
        self.handed_back = 0
        """How many jobs found no slot and were handed back for a moment."""
        self._connection = connection
        self._worker_id = worker_id
        self._is_held = is_held
        self.on_deleted: Callable[[str], None] | None = None
        """Called with a queue that was deleted."""
        self._watch = QueueSettingsWatch(connection, list(queues), self._set, self._note_deleted)

    async def start(self) -> None:
        """Learn the limits, and of every change from now on."""
        await self._watch.start()

    async def add(self, queue: str) -> None:
        """Do the same for one more queue.

        Raises:
            BrokerError: Its settings cannot be read.
        """
        await self._watch.add([queue])

    async def remove(self, queue: str) -> None:
        """Follow the limit of a queue no longer."""
        await self._watch.remove(queue)
        self.of.pop(queue, None)
        self.paced.pop(queue, None)

    def _set(self, queue: str, settings: QueueSettings) -> None:
        policy = settings.policy
        self._rules[queue] = KeyRules(policy)
        rate, key_rate = policy.rates
        self.paced.pop(queue, None)
        if rate or key_rate:
            self.paced[queue] = rate is not None, key_rate is not None
        limit = settings.limit
        if limit is None:
            self.of.pop(queue, None)
        elif queue in self.of:
            self.of[queue].limit = limit
        else:
            self.of[queue] = QueueLimit(self._connection, self._worker_id, queue, limit, self._is_held)

    def _note_deleted(self, queue: str) -> None:
        if self.on_deleted is not None:
            self.on_deleted(queue)

    def is_limited(self, queue: str) -> bool:
        """Whether a queue has a limit."""
        return queue in self.of

    def key_rule(self, queue: str, token: str) -> KeyRule:
        """How many jobs of a key of a queue may run at once, and start in a time."""
        rules = self._rules.get(queue)
        return _ANY.of(token) if rules is None else rules.of(token)

    async def enter(self, active: Active) -> bool:
        """Get a slot for a job, where its queue has a limit; without one, the job is handed back for a moment."""
        limit = self.of.get(active.delivery.queue)
        if limit is None:
            return True
        slot = await limit.take(active.delivery.job_id)
        if slot is None:
            self.handed_back += 1
            await active.delivery.nak(DELAYS.get(active.delivery.level, 0.25))
            return False
        active.leave = limit.leaving(slot)
        return True


class QueueLimit:
    """One limited queue, for one worker."""

    def __init__(
        self, connection: Connection, worker_id: str, queue: str, limit: int, is_held: Callable[[str, str], bool]
    ) -> None:
        self.limit = limit
        self._connection = connection
        self._worker_id = worker_id
        self._queue = queue
        self._is_held = is_held
        self._left: list[Slot] = []
        """Slots that this worker was the last to have: often still free, and taken without a read."""
        self._full_until = 0.0
        self._search_at = 0.0

    async def take(self, job_id: str) -> Slot | None:
        """Return a slot that now is this job's, or None where all are taken."""
        holder = Holder(self._worker_id, job_id, self._connection.clock.now())
        while self._left:
            slot = await self._try(self._left.pop(), holder)
            if slot is not None:
                return slot
        if time.monotonic() < self._full_until:
            return None
        slots = await read_slots(self._connection, self._queue)
        for slot in slots.values():
            if (slot.holder.worker, slot.holder.job_id) == (self._worker_id, job_id):
                return slot  # taken for an earlier attempt, and not given back as the server was away
        taken = sum(not slot.is_free for slot in slots.values())
        free = [slots.get(number, Slot(number, 0)) for number in range(self.limit)]
        free = [slot for slot in free if slot.is_free][: max(0, self.limit - taken)]
        random.shuffle(free)  # the others look at the same ones
        for slot in free or await self._abandoned(slots):
            mine = await self._try(slot, holder)
            if mine is not None:
                return mine
        self._full_until = time.monotonic() + FULL_FOR
        return None

    async def _try(self, slot: Slot, holder: Holder) -> Slot | None:
        return await write_slot(self._connection, self._queue, slot, holder) if slot.number < self.limit else None

    def leaving(self, slot: Slot) -> Callable[[], Awaitable[None]]:
        """Return what gives the slot back."""

        async def leave() -> None:
            try:
                left = await write_slot(self._connection, self._queue, slot, Holder())
            except BrokerError as error:
                log.warning("slot %d of queue %s was not released (%s): others will reclaim it", slot.number, self._queue, error)
                return
            if left is not None:
                self._left.append(left)

        return leave

    async def _abandoned(self, slots: dict[int, Slot]) -> list[Slot]:
        """Return slots whose holders are gone or have forgotten them; looked for about once a second."""
        if time.monotonic() < self._search_at:
            return []
        self._search_at = time.monotonic() + SEARCH_INTERVAL
        found: list[Slot] = []
        presences: dict[str, dict[str, Any] | None] = {}
        for slot in slots.values():
            if slot.is_free:
                continue
            worker = slot.holder.worker
            if worker not in presences:
                presences[worker] = await read_presence(self._connection, worker)
            if self._is_abandoned(slot.holder, presences[worker]):
                log.warning("slot %d of queue %s was abandoned by worker %s", slot.number, self._queue, worker)
                found.append(slot)
        return found

    def _is_abandoned(self, holder: Holder, presence: dict[str, Any] | None) -> bool:
        """As with claims: only evidence that the worker is gone, or does not run that job any more, counts; age does not."""
        if holder.worker == self._worker_id:
            return not self._is_held(self._queue, holder.job_id)
        if presence is None:
            # It may have expired while the server was down; a living worker renews it right after reconnecting.
            return self._connection.seconds_connected > self._connection.settings.worker_ttl.total_seconds()
        return holder.job_id not in presence["running"] and bool(presence["at"] > holder.at)
