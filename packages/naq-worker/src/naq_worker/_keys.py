"""Jobs with a key: a worker starts the next ones when a bell asks for it and when one has ended (`docs/adr/0054-keys.md`)."""

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from naq_core.errors import BrokerError, JetStreamError, UnreadableError
from naq_core.record import JobRecord
from naq_core.storage.asks import Answers, Ask, Writers, answer_asks, ask_writer
from naq_core.storage.bells import read_bell
from naq_core.storage.connection import Connection
from naq_core.storage.deliveries import Delivery, ack_all
from naq_core.storage.releasing import Releasing, Work
from naq_core.storage.room import KeyRule
from naq_core.storage.subjects import NORMAL
from naq_core.storage.waiting_entries import Key
from naq_worker._key_task import KeyTask
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


class Keys:
    """Starts the next jobs of keys, for one worker, and acknowledges what asked for it.

    While one round is on its way, what comes meanwhile gathers for the next: many keys, few requests.

    Args:
        worker_id: Its id.
        key_rule: How many jobs of a key may have a place, and start in a time, by queue and token.
        on_idle: Called when nothing is left to do.
    """

    def __init__(
        self, connection: Connection, worker_id: str, key_rule: Callable[[str, str], KeyRule], on_idle: Callable[[], None]
    ) -> None:
        self._connection = connection
        self._key_rule = key_rule
        self._on_idle = on_idle
        self._writers = Writers(connection, worker_id)
        self._releasing = Releasing(connection, self._writers)
        self._waits = Waits(connection, self._releasing.waiting_at)
        self._tasks: dict[Key, KeyTask] = {}
        self._in_round: dict[Key, KeyTask] = {}
        self._asked: dict[Key, KeyTask] = {}
        """What other workers were asked for, as it is they who write these lists."""
        self._heard: set[str] = set()
        """The queues for which other workers can ask this one."""
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
        is_busy = self._tasks or self._in_round or self._asked
        return not is_busy and all(timer.when() > soon for timer in self._timers.values())

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
        task.begin({delivery.job_id: start})
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

    def _task(self, queue: str, token: str) -> KeyTask:
        key = queue, token
        rule = self._key_rule(queue, token)
        task = self._tasks.get(key)
        if task is None:
            task = self._tasks[key] = KeyTask(Work(key, rule))
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
        while self._tasks or self._asked:
            self._has_work.clear()
            now = self._now()
            waiting = [task for key, task in self._tasks.items() if key not in self._asked]  # else it gathers
            due = [task for task in waiting if task.due <= now][:AT_ONCE]
            if not due:
                times = [task.due for task in waiting]
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(min(times) - now if times else None):
                        await self._has_work.wait()
                continue
            due = self._ask(due)
            due = [task for task in due if not task.is_alone] or due[:1]
            self._in_round = {task.work.key: task for task in due}
            for key in self._in_round:
                del self._tasks[key]
            try:
                if due:
                    await self._round(due)
            finally:
                for task in self._in_round.values():  # it was cancelled: to be done again is harmless
                    self._put_back(task)
                self._in_round = {}
            if self.is_idle:
                self._on_idle()

    async def _round(self, tasks: Sequence[KeyTask]) -> None:
        try:
            await self._hear({task.work.key[0] for task in tasks})
            again = {work.key for work in await self._releasing.round([task.work for task in tasks])}
        except BrokerError as error:
            self._failed(error)
            await asyncio.sleep(PAUSE)
            return
        for task in tasks:
            task.answer()
            self._wake_at(task.work.key, task.work.wake_at)
        done = [task for task in tasks if task.work.key not in again]
        await self._end(done)
        for task in done:
            del self._in_round[task.work.key]
        for task in self._in_round.values():
            if task.work.tries and not self._writer(task):
                wait = min(FIRST_WAIT * 2 ** min(task.work.tries, 10), LONGEST_WAIT)
                task.due = self._now() + random.uniform(0, wait)  # noqa: S311 - not for a secret

    async def _end(self, done: Sequence[KeyTask]) -> None:
        """Acknowledge what has asked for what is done."""
        for task in done:
            task.end()
        await ack_all([*self._answered(done), *(delivery for task in done for delivery in task.ended)])

    def _answered(self, done: Iterable[KeyTask]) -> list[Delivery]:
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

    def _writer(self, task: KeyTask) -> str:
        """Return the other worker to ask, as it writes the lists of that queue (`docs/adr/0067-one-writer-of-a-list.md`)."""
        return "" if task.is_own else self._writers.of(task.work.key[0])

    def _ask(self, due: Sequence[KeyTask]) -> list[KeyTask]:
        """Ask other workers for what is theirs to write; return the rest."""
        own: list[KeyTask] = []
        others: dict[tuple[str, str], list[KeyTask]] = {}
        for task in due:
            writer = self._writer(task)
            (others.setdefault((task.work.key[0], writer), []) if writer else own).append(task)
        for (queue, writer), tasks in others.items():
            for task in tasks:
                self._asked[task.work.key] = self._tasks.pop(task.work.key)
            _ = self._connection.background.start(self._ask_writer(queue, writer, tasks), "naq-ask")
        return own

    async def _ask_writer(self, queue: str, writer: str, tasks: Sequence[KeyTask]) -> None:
        answers: Answers | None = None
        try:
            answers = await ask_writer(self._connection, queue, writer, [task.asked() for task in tasks])
            if answers is None:
                self._writers.forget(queue)
                return
            for task, seconds in zip(tasks, answers, strict=True):
                self._wake_at(task.work.key, 0)  # the writer does
                task.work.answers.update(seconds)
                task.answer()
            await self._end(tasks)
        finally:
            for task in tasks:
                del self._asked[task.work.key]
                if answers is None:
                    task.is_own = True
                    self._put_back(task)
            self._has_work.set()
            if self.is_idle:
                self._on_idle()

    async def _hear(self, queues: Iterable[str]) -> None:
        """Let other workers ask this one, before lists name it as their writer."""
        for queue in queues:
            if queue not in self._heard:
                self._heard.add(queue)
                await answer_asks(self._connection, queue, self._writers.worker_id, partial(self._do, queue))

    async def _do(self, queue: str, asks: Sequence[Ask]) -> Answers:
        """Do what another worker asks for."""
        tasks = [self._task(queue, ask.token) for ask in asks]
        starts = [task.take(ask) for task, ask in zip(tasks, asks, strict=True)]
        ends = [task.asks[-1] for task in tasks]
        await asyncio.gather(*ends, *(start for each in starts for start in each))
        return [
            {job_id: start.result() for job_id, start in zip(ask.starting, each, strict=True)}
            for ask, each in zip(asks, starts, strict=True)
        ]

    def _put_back(self, task: KeyTask) -> None:
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
