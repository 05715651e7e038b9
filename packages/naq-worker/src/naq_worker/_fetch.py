"""Ordering deliveries: as many as there are slots for, a little ahead while jobs are short, never hoarded."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

from naq_core.platforms import boottime
from naq_core.storage.acks import Acks
from naq_core.storage.connection import Connection
from naq_core.storage.deliveries import Delivery, Pull, consumer_state
from naq_core.storage.first_deliveries import Freshness
from naq_core.storage.subjects import LEVELS
from naq_core.transport.direct import count_many
from naq_worker._active import Active
from naq_worker._fair_share import FEW, SURE, FairShare, Source
from naq_worker._levels import Levels

AHEAD = 0.05
"""Seconds of work that is ordered ahead of the free slots, by the mean length of the last jobs: no slot waits for the server,
and long jobs are never hoarded."""
MOST_AHEAD = 0.5
"""The most that is ordered ahead, as a share of the slots."""
LONGEST_WAIT = 0.5
"""Seconds after which a delivery that found no slot goes back, for a worker that has one."""
GATHER = 0.002
"""Seconds to wait for more free slots before asking for few: a pull request costs as much as a job."""
CROWD_GATHER = 1e-6
"""So many seconds more for each of very many sources: to look at them all costs as much as some jobs."""
PROBE_PATIENCE = 1.0
"""Seconds after which a request for what is there now is no longer waited for before others are sent."""
HEARTBEATS = 200
"""Of so many waiting requests each has a heartbeat a second; of more, so many a second together."""
BURST_PAUSE = 0.05
"""Seconds before a level that was found empty in burst mode is asked again."""


class Fetch:
    """The pulls of a worker's queues, and the deliveries that wait for a slot.

    Args:
        shares: The queues, and how the slots are shared between them.
        slots: How many jobs run at a time.
        burst: Ask only for what is there now.
        busy: Returns how many slots are taken.
        held: Returns how many jobs are in hands, those whose end is being recorded among them.
        room: Returns how many more jobs of a queue there is use for, where that is limited.
        on_delivery: Called for each delivery, from the event loop.
        wake: Called when it is worth asking again.
    """

    def __init__(  # noqa: PLR0913 - what it may ask of the intake
        self,
        connection: Connection,
        shares: FairShare,
        slots: int,
        *,
        burst: bool,
        busy: Callable[[], int],
        held: Callable[[], int],
        room: Callable[[str], int | None],
        on_delivery: Callable[[Delivery], None],
        wake: Callable[[], None],
    ) -> None:
        self.is_open = False
        """Between `start` and `stop`."""
        self.is_content = False
        """Nothing was to be ordered at the last look, and no backlog was seen since: a free slot is no reason to look again."""
        self._connection = connection
        self._acks = Acks(connection)
        self._freshness = Freshness(connection)
        self._shares = shares
        self.slots = slots
        """How many jobs run at a time."""
        self._burst = burst
        self._busy = busy
        self._held = held
        self._room = room
        self._on_delivery = on_delivery
        self._wake = wake
        self._pulls: dict[Source, Pull] = {}
        self._levels = Levels(connection, shares.sources, self._open, wake)
        self._turn = 0
        self._probes: dict[Source, float] = {}
        """Sources that were asked for what is there now, and when."""
        self._sources = {(source.queue, source.level): source for source in shares.sources}
        self._recheck: asyncio.TimerHandle | None = None
        self._count = 0
        self._mean_seconds = 1.0
        self._loop = asyncio.get_running_loop()

    async def start(self) -> None:
        """Subscribe, the first time or again."""
        self.is_open = True
        for pull in self._pulls.values():
            await pull.start()
        await self._levels.start()
        await self._acks.count()

    async def _open(self, source: Source) -> None:
        """Take jobs from a level too, as its consumer exists."""
        on_delivery = partial(self._receive, source)
        pull = Pull(
            self._connection, self._acks, self._freshness, source.queue, on_delivery, self._wake, source.level, self._heartbeat
        )
        await pull.start()
        self._pulls[source] = pull

    async def add(self, queues: Sequence[str]) -> None:
        """Take jobs from some more queues, whose consumers exist; to be called while it is open, or before its first start.

        Raises:
            ConsumerLimitError: The server allows no more consumers. BrokerError: As `ensure_queue`.
        """
        sources = self._shares.add(queues)
        self._sources |= {(source.queue, source.level): source for source in sources}
        await self._levels.add(sources)
        self._wake()

    async def remove(self, queue: str) -> None:
        """Take no more jobs from a queue, and hand back those of it that wait for a slot."""
        self._levels.remove(queue)
        for source in [each for each in self._pulls if each.queue == queue]:
            await self._pulls.pop(source).stop()
            self._probes.pop(source, None)
        for active in self._shares.remove(queue):  # after the last deliveries of its pulls
            self._count -= 1
            await active.delivery.nak()
        for level in LEVELS:
            del self._sources[queue, level]

    @property
    def _heartbeat(self) -> float:
        return max(1.0, len(self._shares.queues) / HEARTBEATS)

    @property
    def places(self) -> list[tuple[str, str]]:
        """The queues and levels that are in use."""
        return [(source.queue, source.level) for source in self._pulls]

    async def stop(self) -> None:
        """Hand back what waits, and end the subscriptions; what still arrives is for `on_delivery` to refuse."""
        if not self.is_open:
            return
        self.is_open = False
        if self._recheck is not None:
            self._recheck.cancel()
            self._recheck = None
        while (active := self.next()) is not None:
            await active.delivery.nak()
        for pull in self._pulls.values():
            await pull.stop()

    def _receive(self, source: Source, delivery: Delivery) -> None:
        was_empty = not source.pending
        self._shares.note_delivery(source, delivery.pending, self._loop.time())
        self._on_delivery(delivery)
        if delivery.pending:
            self.is_content = False
        if was_empty and delivery.pending:
            self._wake()  # its order was small, as its backlog was unknown

    def note_length(self, seconds: float) -> None:
        """Take account of how long a job took."""
        self._mean_seconds += (seconds - self._mean_seconds) / 10

    def check(self) -> None:
        """Notice requests that died silently; call about once a second."""
        for pull in self._pulls.values():
            pull.check()

    async def ask(self, is_stopping: Callable[[], bool]) -> None:
        """Keep as many deliveries on order as there are free slots."""
        await self._levels.look_if_due()
        if self._is_crowded:
            await asyncio.sleep(CROWD_GATHER * len(self._pulls))
        wishes = self._wishes()
        if any(source.credit for source, _ in wishes) and sum(count for _, count in wishes) < self.slots // 8:
            await asyncio.sleep(GATHER)
            wishes = self._wishes()
        self.is_content = not wishes and self._free() > 0 and not any(source.pending for source in self._pulls)
        if is_stopping():
            return
        for source, count in wishes:
            self._shares.note_order(source, count, self._loop.time())
            await self._pulls[source].ask(count, no_wait=self._burst or source in self._probes)
        sources = self._pulls
        if self._recheck is None and not all(source.credit for source in sources) and any(source.pending for source in sources):
            self._recheck = self._loop.call_later(2 * SURE, self._look_again)

    def _look_again(self) -> None:
        """A backlog may have gone to other workers: then those below it have been held up for nothing."""
        self._recheck = None
        self._wake()

    def _wishes(self) -> list[tuple[Source, int]]:
        free = self._free()
        if free <= 0:
            return []
        now = self._loop.time()
        for source, pull in self._pulls.items():
            source.credit = pull.credit
        wishes = [(source, self._in_room(source, count)) for source, count in self._some(self._shares.wishes(free, now))]
        wishes = [(source, count) for source, count in wishes if count > 0]
        if self._burst:
            return [(source, count) for source, count in wishes if self._is_due(source, now)]
        return wishes

    def _in_room(self, source: Source, count: int) -> int:
        room = self._room(source.queue)
        return count if room is None else min(count, room - source.credit)

    @property
    def _most(self) -> int:
        """How many sources may be asked together."""
        return max(FEW, 2 * self.slots)

    @property
    def _is_crowded(self) -> bool:
        return len(self._pulls) > self._most

    def _some(self, wishes: list[tuple[Source, int]]) -> list[tuple[Source, int]]:
        """Return a part of very many orders, as all at once could be filled at once.

        A source that is known to be empty is given a standing order. Any other is asked for what is there now, together for no
        more than there are free slots: what found no slot would go back, and cost the server as much as what is worked off.
        """
        if not self._is_crowded:
            return wishes
        now = self._loop.time()
        self._probes = {
            source: at for source, at in self._probes.items() if self._pulls[source].credit and now - at < PROBE_PATIENCE
        }
        room = self._free() - sum(source.credit for source in self._probes)
        standing = [wish for wish in wishes if self._pulls[wish[0]].is_empty]
        if len(standing) > self._most:
            self._loop.call_later(GATHER, self._wake)
        chosen = standing[: self._most]
        for source, count in self._in_turns([wish for wish in wishes if not self._pulls[wish[0]].is_empty], room):
            if room <= 0:
                break
            chosen.append((source, min(count, room)))
            room -= count
            self._probes[source] = now
        return chosen

    def _in_turns(self, wishes: list[tuple[Source, int]], most: int) -> list[tuple[Source, int]]:
        """Return the most important orders, and as many of the others in turn."""
        if len(wishes) <= most or most <= 0:
            return wishes
        front = (most + self._turn % 2) // 2
        rest = wishes[front:]
        self._turn += 1
        start = self._turn * most % len(rest)
        return [*wishes[:front], *rest[start:], *rest[:start]]

    def _is_due(self, source: Source, now: float) -> bool:
        """Whether to ask a level in burst mode: one that was empty a moment ago is not worth a round trip for each job."""
        if not self._pulls[source].is_empty or now - source.spoke_at >= BURST_PAUSE:
            return True
        self._loop.call_later(BURST_PAUSE, self._wake)
        return False

    def _free(self) -> int:
        """Return how many more deliveries there is use for."""
        ahead = int(self.slots * min(MOST_AHEAD, AHEAD / max(self._mean_seconds, AHEAD)))
        return self.slots + ahead - self._busy() - self._count

    def wait(self, active: Active) -> None:
        """Keep a delivery until a slot is free."""
        active.arrived_at = boottime()
        self._shares.wait(self._sources[active.delivery.queue, active.delivery.level], active)
        self._count += 1

    def waiting(self) -> list[Active]:
        """Return the deliveries that wait for a slot; callable from any thread."""
        return [active for source in self._shares.sources for active in tuple(source.waiting)]

    def next(self) -> Active | None:
        """Return the delivery that is to have the slot that has become free."""
        if not self._count:
            return None
        active = self._shares.next(boottime())
        if active is not None:
            self._count -= 1
        return active

    async def return_overdue(self) -> None:
        """Hand back what has waited too long for a slot: its neighbours turned out longer than their forerunners."""
        if not self._count:
            return
        for active in self._shares.overdue(boottime() - LONGEST_WAIT):
            self._count -= 1
            await active.delivery.nak()

    async def is_drained(self, *, has_retries: bool) -> bool:
        """Return whether all queues are empty and none of their jobs waits here or, with `has_retries`, for its retry."""
        if self._held() or self._count or not all(pull.is_empty and pull.credit == 0 for pull in self._pulls.values()):
            return False
        if await self._levels.look():
            return False
        sources = tuple(self._pulls)
        for source, stored in zip(sources, await self._stored(sources), strict=True):
            state = await consumer_state(self._connection, source.queue, source.level)
            # A consumer notices a message that has just been stored a moment later.
            waiting = state.pending or stored > state.unsettled
            if (waiting and not state.is_paused) or (state.unsettled and has_retries):  # a retry is not due yet: check again soon
                self._loop.call_later(BURST_PAUSE, self._wake)
                return False
        return not (self._held() or self._count)

    async def _stored(self, sources: Sequence[Source]) -> list[int]:
        """Return how many messages each source has, delivered or not."""
        names = self._connection.names
        filters = [names.ready_filter(source.queue, source.level) for source in sources]
        return await count_many(self._connection, names.jobs_stream, filters)
