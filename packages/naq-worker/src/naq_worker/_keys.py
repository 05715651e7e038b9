"""Jobs with a key: a worker starts the next ones when a bell asks for it and when one has ended (`docs/adr/0054-keys.md`)."""

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable, Iterable, Sequence

from naq_core.envelope import Envelope
from naq_core.errors import BrokerError, JetStreamError, UnreadableError, WrongSequenceError
from naq_core.record import JobRecord
from naq_core.storage.bells import bell, read_bell
from naq_core.storage.connection import Connection
from naq_core.storage.deliveries import Delivery, ack_all
from naq_core.storage.keys import token_of_key, waiting_pair
from naq_core.storage.messages import if_newest
from naq_core.storage.releasing import Releasing, Work
from naq_core.storage.subjects import NORMAL
from naq_core.storage.waiting_entries import Key
from naq_core.transport.batch import publish_batch

log = logging.getLogger(__name__)

AT_ONCE = 250
"""Keys of one round."""
AGAIN = 0.5
"""Seconds before a bell that could not be answered is delivered again."""
MOST_FAILURES = 5
PAUSE = 0.2
"""Seconds after a round that has failed."""
LONGEST_WAIT = 0.05
"""Seconds until a key is tried again for which others were faster."""


class _Task:
    """What is to be done for a key, and whom to tell when it is done."""

    __slots__ = ("bells", "due", "ended", "failures", "is_alone", "work")

    def __init__(self, work: Work) -> None:
        self.work = work
        self.bells: list[Delivery] = []
        self.ended: list[Delivery] = []
        self.due = 0.0
        self.failures = 0
        self.is_alone = False
        """The server has refused a round with it: it must not stand in the way of others."""

    def merge(self, later: "_Task") -> None:
        """Add what has come for the key since: what was seen before may be old by now."""
        self.work.ended |= later.work.ended
        self.work.checks |= later.work.checks
        self.work.is_rung |= later.work.is_rung
        self.work.has_levels |= later.work.has_levels
        self.work.is_seen = self.work.has_written = False
        self.bells += later.bells
        self.ended += later.ended


class Keys:
    """Starts the next jobs of keys, for one worker, and acknowledges what asked for it.

    While one round is on its way, what comes meanwhile gathers for the next: many keys, few requests.

    Args:
        key_limit: How many jobs of one key may have a place, by queue.
        on_idle: Called when nothing is left to do.
    """

    def __init__(self, connection: Connection, key_limit: Callable[[str], int], on_idle: Callable[[], None]) -> None:
        self._connection = connection
        self._key_limit = key_limit
        self._on_idle = on_idle
        self._releasing = Releasing(connection)
        self._tasks: dict[Key, _Task] = {}
        self._in_round: dict[Key, _Task] = {}
        self._has_work = asyncio.Event()
        self._now = asyncio.get_running_loop().time

    @property
    def is_idle(self) -> bool:
        """Whether all that was asked for is done."""
        return not self._tasks and not self._in_round

    def ring(self, delivery: Delivery) -> bool:
        """Take a bell; return whether it is one of NAQ's."""
        try:
            asked = read_bell(delivery.bell, delivery.data)
        except UnreadableError as error:
            log.error("queue %s: dropped a foreign message: %s", delivery.queue, error)  # noqa: TRY400 - the error says it all
            return False
        task = self._task(delivery.queue, asked.token)
        task.bells.append(delivery)
        task.work.is_rung = True
        task.work.has_levels |= delivery.level != NORMAL
        task.work.checks |= asked.checks
        task.work.ended |= asked.ended
        return True

    def leave(self, ended: Iterable[tuple[Delivery, JobRecord]]) -> None:
        """Take jobs that have ended on record: their places go to the next ones, and then they are acknowledged."""
        for delivery, record in ended:
            task = self._task(delivery.queue, delivery.place)
            task.work.ended[delivery.job_id] = record.run
            task.ended.append(delivery)

    def _task(self, queue: str, token: str) -> _Task:
        key = queue, token
        task = self._tasks.get(key)
        if task is None:
            task = self._tasks[key] = _Task(Work(key, self._key_limit(queue)))
            self._has_work.set()
        task.work.limit = self._key_limit(queue)
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
        done = [task for task in tasks if task.work.key not in again]
        await ack_all([delivery for task in done for deliveries in (task.bells, task.ended) for delivery in deliveries])
        for task in done:
            del self._in_round[task.work.key]
        for task in self._in_round.values():
            task.due = self._now() + random.uniform(0, min(0.002 * task.work.tries, LONGEST_WAIT))  # noqa: S311 - not for a secret

    def _failed(self, error: BrokerError) -> None:
        """Leave those to their next delivery that have failed often; the others are tried again."""
        for key, task in list(self._in_round.items()):
            task.failures += 1
            task.is_alone |= isinstance(error, JetStreamError)
            if task.failures < MOST_FAILURES:
                continue
            del self._in_round[key]
            log.warning("the next jobs of key %s of queue %s will be started later: %s", key[1], key[0], error)
            for delivery in task.bells:
                _ = self._connection.background.start(delivery.nak(AGAIN), "naq-nak")

    def _put_back(self, task: _Task) -> None:
        later = self._tasks.pop(task.work.key, None)
        if later is not None:
            task.merge(later)
        self._tasks[task.work.key] = task
        self._has_work.set()

    async def make_wait(self, delivery: Delivery, envelope: Envelope) -> None:
        """Put a job that has no place where the jobs of its key wait: it was delayed, waited for others, or is a requeued one."""
        key, token = delivery.key, token_of_key(envelope.opt.key)
        headers = if_newest(self._connection, *key, delivery.sequence)
        pair = waiting_pair(self._connection, (delivery.subject, delivery.data, headers), key, token)
        try:
            # With a check: the job may be on the list from before, as one that was to wait for its retry.
            await publish_batch(
                self._connection, [*pair, bell(self._connection, delivery.queue, token, delivery.level, checks=True)]
            )
        except WrongSequenceError:
            log.debug("job %s waits for its key already, or was moved", delivery.job_id)
        await delivery.ack()
