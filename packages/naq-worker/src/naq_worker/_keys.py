"""Jobs with a key: a worker starts the next ones when a bell asks for it and when one has ended (`docs/adr/0054-keys.md`)."""

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable, Iterable, Sequence

from naq_core.errors import BrokerError, JetStreamError, UnreadableError
from naq_core.record import JobRecord
from naq_core.storage.bells import read_bell
from naq_core.storage.connection import Connection
from naq_core.storage.deliveries import Delivery, ack_all
from naq_core.storage.releasing import Releasing, Work
from naq_core.storage.room import KeyRule
from naq_core.storage.subjects import NORMAL
from naq_core.storage.waiting_entries import Key
from naq_worker._waits import Waits

log = logging.getLogger(__name__)

AT_ONCE = 250
"""Keys of one round."""
AGAIN = 0.5
"""Seconds before a bell that could not be answered is delivered again."""
MOST_FAILURES = 5
PAUSE = 0.2
"""Seconds after a round that has failed."""
GATHER = 0.02
"""Seconds for which tokens gather where they come faster, rather than that each is acted on by itself."""
SOON = 2.0
"""A start that a rate allows within so many seconds is worth waiting for, in burst mode."""
FIRST_WAIT = 0.005
LONGEST_WAIT = 0.1
"""Seconds until a key is tried again for which others were faster, at most: what ends meanwhile is done with it."""


class _Task:
    """What is to be done for a key, and whom to tell when it is done."""

    __slots__ = ("bells", "due", "ended", "failures", "is_alone", "starts", "work")

    def __init__(self, work: Work) -> None:
        self.work = work
        self.bells: list[Delivery] = []
        self.ended: list[Delivery] = []
        self.starts: dict[str, asyncio.Future[float]] = {}
        """By the ids of jobs that are about to start: to be told when they may."""
        self.due = 0.0
        self.failures = 0
        self.is_alone = False
        """The server has refused a round with it: it must not stand in the way of others."""

    def merge(self, later: "_Task") -> None:
        """Add what has come for the key since: what was seen before may be old by now."""
        self.work.rule = later.work.rule
        self.work.at = max(self.work.at, later.work.at)
        self.work.ended |= later.work.ended
        self.work.starting |= later.work.starting
        self.starts |= later.starts
        self.work.listed_at = max(self.work.listed_at, later.work.listed_at)
        self.work.checks |= later.work.checks
        self.work.is_rung |= later.work.is_rung
        self.work.has_levels |= later.work.has_levels
        self.work.is_seen = self.work.has_written = False
        self.bells += later.bells
        self.ended += later.ended

    def answer(self) -> None:
        """Tell the jobs that are about to start what has become of it."""
        for job_id, seconds in self.work.answers.items():
            start = self.starts.pop(job_id)
            if not start.done():  # else its task was cancelled
                start.set_result(seconds)
        self.work.answers.clear()

    def fail(self, error: BrokerError) -> None:
        """Leave the jobs that are about to start to their next delivery."""
        for start in self.starts.values():
            if not start.done():
                start.set_exception(error)


class Keys:
    """Starts the next jobs of keys, for one worker, and acknowledges what asked for it.

    While one round is on its way, what comes meanwhile gathers for the next: many keys, few requests.

    Args:
        key_rule: How many jobs of a key may have a place, and start in a time, by queue and token.
        on_idle: Called when nothing is left to do.
    """

    def __init__(self, connection: Connection, key_rule: Callable[[str, str], KeyRule], on_idle: Callable[[], None]) -> None:
        self._connection = connection
        self._key_rule = key_rule
        self._on_idle = on_idle
        self._releasing = Releasing(connection)
        self._waits = Waits(connection, self._releasing.waiting_at)
        self._tasks: dict[Key, _Task] = {}
        self._in_round: dict[Key, _Task] = {}
        self._bells: dict[Delivery, int] = {}
        """Bells that are not answered yet, with the number of keys for which that is so."""
        self._has_work = asyncio.Event()
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        """When to look at keys again, as their rates allow the next start. The server's bells are for when this worker dies."""
        self._loop = asyncio.get_running_loop()
        self._now = self._loop.time

    @property
    def is_idle(self) -> bool:
        """Whether all that was asked for is done, and no rate lets more start in a moment."""
        soon = self._now() + SOON
        return not self._tasks and not self._in_round and all(timer.when() > soon for timer in self._timers.values())

    def ring(self, delivery: Delivery) -> bool:
        """Take a bell; return whether it is one of NAQ's."""
        try:
            asked = read_bell(delivery.bell, delivery.data)
        except UnreadableError as error:
            log.error("queue %s: dropped a foreign message: %s", delivery.queue, error)  # noqa: TRY400 - the error says it all
            return False
        self._bells[delivery] = len(asked)
        for each in asked:
            task = self._task(delivery.queue, each.token)
            task.bells.append(delivery)
            task.work.is_rung = True
            task.work.at = max(task.work.at, delivery.ready_at)
            task.work.has_levels |= delivery.level != NORMAL
            task.work.checks |= each.checks
            task.work.ended |= each.ended
        return bool(asked)

    def leave(self, ended: Iterable[tuple[Delivery, JobRecord]]) -> None:
        """Take jobs that have ended on record: their places go to the next ones, and then they are acknowledged."""
        for delivery, record in ended:
            task = self._task(delivery.queue, delivery.place)
            task.work.ended[delivery.job_id] = record.run
            task.work.listed_at = max(task.work.listed_at, delivery.listed_at)
            task.ended.append(delivery)

    async def begin(self, delivery: Delivery, token: str, run: str) -> float:
        """Take a token of a rate for a job that is about to start; return the seconds after which to ask again, 0: it may start.

        Raises:
            BrokerError: It is unknown whether it was taken.
        """
        task = self._task(delivery.queue, token)
        task.work.at = max(task.work.at, delivery.ready_at)
        task.work.starting[delivery.job_id] = run
        start: asyncio.Future[float] = self._loop.create_future()
        task.starts[delivery.job_id] = start
        return await start

    def _wake_at(self, key: Key, at: float) -> None:
        """Look at a key again at a time of the server's clock, or a little later: tokens that come fast are acted on together."""
        if (timer := self._timers.pop(key, None)) is not None:
            timer.cancel()
        if at:
            seconds = max(GATHER, at - self._connection.clock.bounds()[0])
            self._timers[key] = self._loop.call_later(seconds, self._wake, key)

    def _wake(self, key: Key) -> None:
        del self._timers[key]
        self._task(*key).work.is_rung = True

    def _task(self, queue: str, token: str) -> _Task:
        key = queue, token
        rule = self._key_rule(queue, token)
        task = self._tasks.get(key)
        if task is None:
            task = self._tasks[key] = _Task(Work(key, rule))
            self._has_work.set()
        task.work.rule = rule
        task.work.is_seen = task.work.has_written = False  # what was seen before this came may be old by now
        return task

    async def run(self) -> None:
        """Start jobs until cancelled."""
        while True:
            await self._has_work.wait()
            self._has_work.clear()
            await self.flush()

    async def flush(self) -> None:
        """Start all that may start; what is left undone is delivered again, and done then."""
        while self._tasks:
            self._has_work.clear()
            now = self._now()
            due = [task for task in self._tasks.values() if task.due <= now][:AT_ONCE]
            if not due:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(min(task.due for task in self._tasks.values()) - now):
                        await self._has_work.wait()
                continue
            due = [task for task in due if not task.is_alone] or due[:1]
            self._in_round = {task.work.key: task for task in due}
            for key in self._in_round:
                del self._tasks[key]
            try:
                await self._round(due)
            finally:
                for task in self._in_round.values():  # it was cancelled: to be done again is harmless
                    self._put_back(task)
                self._in_round = {}
            if self.is_idle:
                self._on_idle()

    async def _round(self, tasks: Sequence[_Task]) -> None:
        try:
            again = {work.key for work in await self._releasing.round([task.work for task in tasks])}
        except BrokerError as error:
            self._failed(error)
            await asyncio.sleep(PAUSE)
            return
        for task in tasks:
            task.answer()
            self._wake_at(task.work.key, task.work.wake_at)
        done = [task for task in tasks if task.work.key not in again]
        await ack_all([*self._answered(done), *(delivery for task in done for delivery in task.ended)])
        for task in done:
            del self._in_round[task.work.key]
        for task in self._in_round.values():
            if task.work.tries:
                wait = min(FIRST_WAIT * 2 ** min(task.work.tries, 10), LONGEST_WAIT)
                task.due = self._now() + random.uniform(0, wait)  # noqa: S311 - not for a secret

    def _answered(self, done: Iterable[_Task]) -> list[Delivery]:
        """Return the bells of which all is done with these."""
        answered: list[Delivery] = []
        for task in done:
            for each in task.bells:
                if each in self._bells:  # else it was handed back for another key
                    self._bells[each] -= 1
                    if not self._bells[each]:
                        del self._bells[each]
                        answered.append(each)
        return answered

    def _failed(self, error: BrokerError) -> None:
        """Leave those to their next delivery that have failed often; the others are tried again."""
        for key, task in list(self._in_round.items()):
            task.failures += 1
            task.is_alone |= isinstance(error, JetStreamError)
            if task.failures < MOST_FAILURES:
                continue
            del self._in_round[key]
            task.fail(error)
            log.warning("the next jobs of key %s of queue %s will be started later: %s", key[1], key[0], error)
            for delivery in task.bells:
                if self._bells.pop(delivery, 0):
                    _ = self._connection.background.start(delivery.nak(AGAIN), "naq-nak")

    def _put_back(self, task: _Task) -> None:
        later = self._tasks.pop(task.work.key, None)
        if later is not None:
            task.merge(later)
        self._tasks[task.work.key] = task
        self._has_work.set()

    async def make_wait(self, delivery: Delivery, token: str) -> None:
        """Put a job where the jobs of its key wait, or those of its queue: it has no place there.

        It was delayed, waited for others, or is a requeued one; or the queue has a rate, of which its client knew nothing.

        Raises:
            BrokerError: It is unknown whether that was stored.
        """
        await self._waits.add(delivery, token)

    def waits(self, delivery: Delivery, token: str) -> bool:
        """Whether no job of a key more can start, as far as is known, so that a job without a place has to wait."""
        return self._releasing.waiting_at((delivery.queue, token), delivery.job_id) > 0
