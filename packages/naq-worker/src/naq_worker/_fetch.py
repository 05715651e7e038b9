"""Ordering deliveries: as many as there are slots for, a little ahead while jobs are short, never hoarded."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from naq_core.broker import Connection, Delivery, Pull, consumer_state
from naq_worker._active import Active, boottime

AHEAD = 0.05
"""Seconds of work that is ordered ahead of the free slots, by the mean length of the last jobs: no slot waits for the server,
and long jobs are never hoarded."""
MOST_AHEAD = 0.5
"""The most that is ordered ahead, as a share of the slots."""
LONGEST_WAIT = 0.5
"""Seconds after which a delivery that found no slot goes back, for a worker that has one."""
GATHER = 0.002
"""Seconds to wait for more free slots before asking for few: a pull request costs as much as a job."""
BURST_PAUSE = 0.05


class Fetch:
    """The pulls of a worker's queues, and the deliveries that wait for a slot.

    Args:
        slots: How many jobs run at a time.
        burst: Ask only for what is there now.
        busy: Returns how many slots are taken.
        held: Returns how many jobs are in hands, those whose end is being recorded among them.
        on_delivery: Called for each delivery, from the event loop.
        wake: Called when it is worth asking again.
    """

    def __init__(
        self,
        connection: Connection,
        queues: Sequence[str],
        slots: int,
        *,
        burst: bool,
        busy: Callable[[], int],
        held: Callable[[], int],
        on_delivery: Callable[[Delivery], None],
        wake: Callable[[], None],
    ) -> None:
        self.waiting: deque[Active] = deque()
        self.is_open = False
        """Between `start` and `stop`."""
        self._connection = connection
        self._queues = queues
        self._slots = slots
        self._burst = burst
        self._busy = busy
        self._held = held
        self._wake = wake
        self._pulls = [Pull(connection, queue, on_delivery, wake) for queue in queues]
        self._mean_seconds = 1.0

    async def start(self) -> None:
        """Subscribe, the first time or again."""
        self.is_open = True
        for pull in self._pulls:
            await pull.start()

    async def stop(self) -> None:
        """Hand back what waits, and end the subscriptions; what still arrives is for `on_delivery` to refuse."""
        if not self.is_open:
            return
        self.is_open = False
        while self.waiting:
            await self.waiting.popleft().delivery.nak()
        for pull in self._pulls:
            await pull.stop()

    def note_length(self, seconds: float) -> None:
        """Take account of how long a job took."""
        self._mean_seconds += (seconds - self._mean_seconds) / 10

    def check(self) -> None:
        """Notice requests that died silently; call about once a second."""
        for pull in self._pulls:
            pull.check()

    async def ask(self, is_stopping: Callable[[], bool]) -> None:
        """Keep as many deliveries on order as there are free slots, shared between the queues."""
        free = self._free()
        on_order = sum(pull.credit for pull in self._pulls)
        if on_order > 0 and free - on_order < self._slots // 8:
            await asyncio.sleep(GATHER)
            free = self._free()
        share = max(1, free // len(self._pulls)) if free > 0 else 0
        if is_stopping():
            return
        for pull in self._pulls:
            await pull.ask(share - pull.credit, no_wait=self._burst)

    def _free(self) -> int:
        """Return how many more deliveries there is use for."""
        ahead = int(self._slots * min(MOST_AHEAD, AHEAD / max(self._mean_seconds, AHEAD)))
        return self._slots + ahead - self._busy() - len(self.waiting)

    def wait(self, active: Active) -> None:
        """Keep a delivery until a slot is free."""
        self.waiting.append(active)

    def next(self) -> Active | None:
        """Return the delivery that is to have the slot that has become free."""
        return self.waiting.popleft() if self.waiting else None

    async def return_overdue(self, ack_wait: float) -> None:
        """Hand back what has waited too long for a slot: its neighbours turned out longer than their forerunners."""
        latest = boottime() - LONGEST_WAIT + ack_wait
        while self.waiting and self.waiting[0].lease_until < latest:
            await self.waiting.popleft().delivery.nak()

    async def is_drained(self, *, has_retries: bool) -> bool:
        """Return whether all queues are empty and nothing of theirs waits here or, with `has_retries`, for its retry."""
        if self._held() or self.waiting or not all(pull.is_empty and pull.credit == 0 for pull in self._pulls):
            return False
        for queue in self._queues:
            pending, unsettled = await consumer_state(self._connection, queue)
            if pending or (unsettled and has_retries):  # a retry of ours is not due yet: look again soon
                asyncio.get_running_loop().call_later(BURST_PAUSE, self._wake)
                return False
        return not (self._held() or self.waiting)
