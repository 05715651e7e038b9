"""What a worker has in hand: deliveries that wait for a slot, jobs that run, and jobs whose end is being recorded."""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextvars import Context

from naq_core.platforms import boottime
from naq_core.storage.connection import Connection
from naq_core.storage.deliveries import Delivery
from naq_core.tasks import Background
from naq_worker._active import Active
from naq_worker._backpressure import Backpressure
from naq_worker._fair_share import FairShare
from naq_worker._fetch import Fetch
from naq_worker._places import Places
from naq_worker._suspects import Isolation

log = logging.getLogger(__name__)

CHECK_INTERVAL = 1.0
"""Seconds after which the worker looks around although nothing has happened."""
PLACE_WAIT = 5.0
"""Seconds after which a delivery that found no child process goes back, for a worker that has one."""
SECOND_MESSAGE_DELAY = 0.5
"""Seconds after which the next run of a job in hand is delivered again."""


class Intake:
    """Takes deliveries, starts one job per free slot, and knows all of them until they are settled.

    Args:
        background: Starts the tasks of the jobs.
        places: The child processes.
    """

    def __init__(
        self,
        connection: Connection,
        shares: FairShare,
        slots: int,
        background: Background,
        places: Places,
        *,
        burst: bool,
    ) -> None:
        self._slots = slots
        self._background = background
        self.process: Callable[[Active], Awaitable[None]]
        """Takes one delivery from claim to acknowledgement."""
        self.ring: Callable[[Delivery], bool]
        """Takes a bell, beside the jobs: it takes no slot; returns whether it is one."""
        self.context = Context()
        """What each attempt starts from: that of the worker after its start-up hooks, and never that of another job."""
        self.places = places
        self._lease = connection.settings.ack_wait.total_seconds()
        self.active: dict[tuple[str, str], Active] = {}
        """Jobs in hand, by queue and id: those that run, and those whose end is being recorded."""
        self.slots_taken = 0
        self.begin_batch: Callable[[], bool] = lambda: False
        """Begins what has waited for a slot without being a delivery; returns whether there was something."""
        self._has_surplus = False
        """More was ordered than there are slots now."""
        self.has_put_off = False
        """Something was handed back that will soon be delivered again: the queues are not drained yet, in burst mode."""
        self.is_quiet = False
        self.is_stopping = False
        self.wake = asyncio.Event()
        """Set when it is worth looking whether more can be ordered."""
        self.isolation = Isolation(lambda: len(self.active) <= 1, self._fill)
        self.backpressure = Backpressure(self._fill)
        self.fetch = Fetch(
            connection,
            shares,
            slots,
            burst=burst,
            busy=self._busy,
            held=lambda: len(self.active) + len(self.places.waiting),
            room=places.room,
            on_delivery=self._on_delivery,
            wake=self.wake.set,
        )

    def find(self, queue: str, job_id: str) -> Active | None:
        """Return the job with that id that is in hand or waits here, or None."""
        key = queue, job_id
        return self.active.get(key) or next((each for each in self.held() if each.key == key), None)

    def holds(self, queue: str, job_id: str) -> bool:
        """Whether a job is in hand."""
        return (queue, job_id) in self.active

    def held(self) -> list[Active]:
        """Return all that is in hand or waits for a slot; callable from any thread."""
        return [*tuple(self.active.values()), *tuple(self.places.waiting), *self.fetch.waiting()]

    def stop(self) -> None:
        """Begin nothing any more: what still arrives is handed back."""
        self.is_stopping = True
        self.isolation.stop()
        self.wake.set()

    async def turn(self) -> None:
        """Wait until something has happened, a second at most, and hand back what has waited too long for a slot."""
        try:
            async with asyncio.timeout(CHECK_INTERVAL):
                await self.wake.wait()
        except TimeoutError:
            self.fetch.check()
        await self.fetch.return_overdue()
        await self._return_overdue()
        self.wake.clear()

    async def _return_overdue(self) -> None:
        """Hand back what has waited too long for a child process, except for as many as there are children: those are next."""
        waiting = self.places.waiting
        latest = boottime() - PLACE_WAIT
        while len(waiting) > self.places.size and waiting[self.places.size].arrived_at < latest:
            await self.places.drop_last().delivery.nak()

    async def withdraw(self) -> None:
        """Hand back all that waits, and order nothing more."""
        await self.fetch.stop()
        while self.places.waiting:
            await self.places.drop().delivery.nak()

    def resize(self, slots: int) -> None:
        """Start that many jobs at a time from now on."""
        self._has_surplus = slots < self._slots
        self._slots = self.fetch.slots = self.places.most = slots
        if not self.is_stopping:
            self._fill()
        self.wake.set()

    async def reduce_orders(self) -> None:
        """Withdraw what was ordered for slots that are gone: the next jobs of these orders would wait here for a slot."""
        if not self._has_surplus:
            return
        self._has_surplus = False
        if self.fetch.is_open:
            await self.fetch.stop()
            await self.fetch.start()

    async def follow_quiet(self) -> bool:
        """Withdraw what was ordered, or order again, as `is_quiet` says; return whether that was a change."""
        if self.is_quiet != self.fetch.is_open:
            return False
        if self.is_quiet:
            log.info("taking no more jobs; %d still running", len(self.active))
            await self.withdraw()
        else:
            log.info("taking jobs again")
            await self.fetch.start()
        return True

    def finds_place(self, active: Active) -> bool:
        """Whether there is a child process for a job that needs one; else it waits for one when its task has ended."""
        active.is_put_back = not self.places.take(active)
        return not active.is_put_back

    def on_ran(self, active: Active, seconds: float) -> None:
        """Give the slot to the next job: the function has ended, and its end is recorded meanwhile."""
        self.fetch.note_length(seconds)
        self.free_slot(active)

    def forget(self, active: Active) -> None:
        """Take a job off the table: it is settled, or will be redelivered."""
        key = active.delivery.key
        if self.active.get(key) is active:
            del self.active[key]
        if active.is_put_back:
            self._put_back(active)
        self.free_slot(active)
        self.isolation.note_end(active)
        self.wake.set()

    def _put_back(self, active: Active) -> None:
        active.is_put_back = False
        if self.is_stopping or self.is_quiet:
            _ = self._background.start(active.delivery.nak(), "naq-nak")
            return
        active.arrived_at = active.arrived_at or boottime()
        self.places.wait(active)

    def _on_delivery(self, delivery: Delivery) -> None:
        if delivery.bell and not self.is_stopping and not self.is_quiet:
            if not self.ring(delivery):
                _ = self._background.start(delivery.ack(), "naq-ack")
            self.wake.set()  # what was ordered for a slot was no job
            return
        active = Active(delivery, boottime() + self._lease)
        if delivery.key in self.active:
            self._note_again(active)
        elif self.is_stopping or self.is_quiet:
            _ = self._background.start(delivery.nak(), "naq-nak")
        elif self.slots_taken < self._slots and self._is_open:
            self._begin(active)
        else:
            self.fetch.wait(active)

    def _note_again(self, active: Active) -> None:
        """Take a delivery of a job in hand: it was redelivered after a restart of the server, or is the id's next run."""
        known = self.active[active.key]
        if known.delivery.sequence == active.delivery.sequence:
            known.delivery, known.lease_until = active.delivery, active.lease_until
        else:
            self.has_put_off = True
            _ = self._background.start(active.delivery.nak(SECOND_MESSAGE_DELAY), "naq-nak")

    @property
    def _is_open(self) -> bool:
        """Whether a job may begin in a free slot."""
        return self.isolation.is_open and self.backpressure.is_open

    def _busy(self) -> int:
        """Return how many slots have no use for a delivery."""
        if not self._is_open:
            return 2 * self._slots
        return max(self.slots_taken, self._slots - 1) if self.backpressure.is_probing else self.slots_taken

    def _begin(self, active: Active) -> None:
        self.active[active.delivery.key] = active
        active.has_slot = True
        self.slots_taken += 1
        self.backpressure.note_begin()
        active.task = self._background.start(self._work_off(active), "naq-job", context=self.context.copy())

    async def _work_off(self, active: Active) -> None:
        try:
            await self.process(active)
        except GeneratorExit:
            if not active.is_given_up:  # else it was the job's
                raise
        finally:
            if not active.is_given_up:
                del active.task  # ends a reference cycle: the task's context holds the job's context, which reaches this
                self.forget(active)

    def free_slot(self, active: Active) -> None:
        """Let the next delivery begin; once for each."""
        if not active.has_slot:
            return
        active.has_slot = False
        self.slots_taken -= 1
        self.places.leave(active)
        self._fill()

    def take_slot(self, active: Active) -> bool:
        """Give a free slot to a job in hand; return whether there is one."""
        if self.slots_taken >= self._slots:
            return False
        active.has_slot = True
        self.slots_taken += 1
        return True

    def _fill(self) -> None:
        """Begin what waits for a slot."""
        while self.slots_taken < self._slots:
            if self.begin_batch():
                continue
            may_begin = self._is_open and not self.is_stopping
            following = (self.places.next() or self.fetch.next()) if may_begin else None
            if following is None:
                if not self.fetch.is_content:
                    self.wake.set()
                return
            if following.delivery.key in self.active:
                self.places.leave(following)
                self._note_again(following)
            else:
                self._begin(following)
