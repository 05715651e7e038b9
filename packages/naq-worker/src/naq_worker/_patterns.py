"""The queues that match a worker's patterns: it takes jobs from new ones as they appear, and leaves those that are deleted."""

import asyncio
import logging
from collections.abc import Callable
from itertools import islice

from naq_core.errors import BrokerError, PermissionDeniedError
from naq_core.names import listed, matches
from naq_core.storage.connection import Connection
from naq_core.storage.consumers import follow_new_consumers, list_queue_levels
from naq_core.storage.queues import was_deleted
from naq_core.storage.topology import ensure_queue, forget_queue, has_consumer
from naq_worker._fair_share import FairShare
from naq_worker._fetch import Fetch
from naq_worker._limits import Limits

log = logging.getLogger(__name__)

LOOK_INTERVAL = 60.0
"""Seconds after which all queues are listed again, as an event may have been lost."""
PAUSE = 1.0
"""Seconds before what the server did not answer is tried again."""
LONGEST = 2.0
"""Seconds after which a try is given up, as the server is away: the worker's intake waits for it."""
AT_ONCE = 64
"""Queues that are begun at the same time."""


class PatternQueues:
    """Keeps a worker's queues in step with its patterns; without a pattern it does nothing.

    The first job of a queue creates a consumer, and the deletion of a queue changes its settings: the server tells of both. All
    queues are listed at the start, after a reconnect and once a minute, as events may be lost.

    Args:
        wake: Called when `follow` has something to do.
        on_change: Called when the worker serves other queues than before.
    """

    def __init__(
        self,
        connection: Connection,
        shares: FairShare,
        fetch: Fetch,
        limits: Limits,
        wake: Callable[[], None],
        on_change: Callable[[], None],
    ) -> None:
        self._connection = connection
        self._shares = shares
        self._fetch = fetch
        self._limits = limits
        self._wake = wake
        self._on_change = on_change
        self._new: dict[str, str] = {}
        """Queues that have appeared, and a level that has a consumer."""
        self._gone: set[str] = set()
        self._refused: set[str] = set()
        """Queues that this user may not serve."""
        self._look_at = 0.0
        self._not_before = 0.0
        self._loop = asyncio.get_running_loop()

    async def start(self) -> None:
        """Serve the queues there are.

        Raises:
            BrokerError: The server refuses or is away.
        """
        if not self._shares.patterns:
            return
        self._limits.on_deleted = self._note_deleted
        self._connection.on_reconnect(self._look_again)
        await follow_new_consumers(self._connection, self._note)
        await self._look()
        while self._new:
            await self._begin()
        log.info("queues that match %s: %s", ", ".join(self._shares.patterns), listed(self._shares.queues) or "none yet")

    def _look_again(self) -> None:
        self._look_at = 0.0
        self._refused.clear()
        self._wake()

    def _note(self, queue: str, level: str) -> None:
        if self._shares.wants(queue) or queue in self._gone:
            self._new[queue] = level
            self._wake()

    def _note_deleted(self, queue: str) -> None:
        """Take note that a queue was deleted."""
        if any(matches(pattern, queue) for pattern in self._shares.patterns):
            self._gone.add(queue)
            self._wake()

    async def follow(self) -> None:
        """Do what is due; cheap, to be called often while jobs are taken."""
        now = self._loop.time()
        is_due = self._new or self._gone or now >= self._look_at
        if not self._shares.patterns or not is_due or now < self._not_before or not self._connection.is_connected:
            return
        try:
            async with asyncio.timeout(LONGEST):
                await self._follow(now)
        except (TimeoutError, BrokerError) as error:
            log.info("the queues that match a pattern could not be checked: %s", str(error) or "no answer in time")
            self._not_before = self._loop.time() + PAUSE

    async def _follow(self, now: float) -> None:
        if now >= self._look_at:
            await self._look()
        for queue in tuple(self._gone):
            if queue in self._shares.queues:
                await self._leave(queue)
            self._gone.discard(queue)
        if self._new:
            await self._begin()
        if self._new:
            self._wake()

    async def _look(self) -> None:
        """List all queues, and note those that have appeared and those that are gone."""
        found = await list_queue_levels(self._connection)
        for queue, level in found.items():
            if queue not in self._refused:
                self._note(queue, level)
        for queue in set(self._shares.queues).difference(found):
            if await was_deleted(self._connection, queue):
                self._note_deleted(queue)
        self._look_at = self._loop.time() + LOOK_INTERVAL

    async def _begin(self) -> None:
        """Take jobs from some of the queues that have appeared."""
        some = dict(islice(self._new.items(), AT_ONCE))
        are_there = await asyncio.gather(*(self._prepare(queue, level) for queue, level in some.items()))
        queues = [queue for queue, is_there in zip(some, are_there, strict=True) if is_there]
        try:
            await self._fetch.add(queues)
        except BaseException:
            for queue in queues:
                await self._fetch.remove(queue)
            raise
        for queue in some:
            del self._new[queue]
        if queues:
            log.info("taking jobs from %s too", listed(queues))
            self._on_change()

    async def _prepare(self, queue: str, level: str) -> bool:
        """Return whether a queue is there, and bring about what it needs; say of one that this user may not serve."""
        if not self._shares.wants(queue):
            return False
        try:
            if not await has_consumer(self._connection, queue, level):
                return False  # deleted meanwhile
            await ensure_queue(self._connection, queue)
            await self._limits.add(queue)
        except PermissionDeniedError as error:
            self._refused.add(queue)
            log.warning("queue %s matches a pattern of this worker, which is not allowed to serve it: %s", queue, error)
            return False
        return True

    async def _leave(self, queue: str) -> None:
        log.info("queue %s was deleted; taking no more jobs from it", queue)
        forget_queue(self._connection, queue)
        await self._fetch.remove(queue)
        await self._limits.remove(queue)
        self._on_change()
