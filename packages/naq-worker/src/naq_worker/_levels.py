"""Which levels of a worker's queues are in use: a level has a consumer from its first job on, and costs nothing before."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from itertools import islice

from naq_core.errors import NaqError
from naq_core.storage.connection import Connection
from naq_core.storage.consumers import follow_new_consumers, has_jobs
from naq_core.storage.subjects import LEVELS, NORMAL
from naq_core.storage.topology import ensure_queue, has_consumer
from naq_worker._fair_share import Source

log = logging.getLogger(__name__)

LOOK_INTERVAL = 1.0
LONGEST_LOOK = 2.0
"""Seconds after which a look is given up, as the server is away."""
MOST_LOOKED_AT = 1000
"""Levels that are looked at each time; the others come next."""
AT_ONCE = 64


class Levels:
    """Opens the levels of queues: the normal ones at the start, the others when something is put there.

    Who puts the first job on a level creates its consumer, of which the server tells in an advisory. An advisory can be lost, or
    this user may not receive it, and a consumer can be deleted: so levels without one are searched for jobs every second.

    Args:
        sources: All levels of the worker's queues.
        opened: Called for each level that is found in use, once its consumer exists.
        wake: Called when it is worth ordering.
    """

    def __init__(
        self,
        connection: Connection,
        sources: Sequence[Source],
        opened: Callable[[Source], Awaitable[None]],
        wake: Callable[[], None],
    ) -> None:
        self._connection = connection
        self._opened = opened
        self._wake = wake
        self._asleep: dict[tuple[str, str], Source] = {}
        self._put_to_sleep(sources)
        self._told: set[tuple[str, str]] = set()
        """Levels whose consumers have just been created."""
        self._has_started = False
        self._complained: set[Source] = set()
        self._look_at = 0.0
        self._turn = 0
        self._loop = asyncio.get_running_loop()

    async def start(self) -> None:
        """Open what is in use; nothing happens the second time.

        Raises:
            ConsumerLimitError: The server allows no more consumers. BrokerError: As `ensure_queue`.
        """
        if self._has_started:
            return
        self._has_started = True
        await follow_new_consumers(self._connection, self._note)
        await self._each(self._asleep.values(), self._open_if_used)
        await self.look()

    def _put_to_sleep(self, sources: Iterable[Source]) -> None:
        for source in sources:
            self._asleep[source.queue, source.level] = source
            source.is_asleep = True

    async def add(self, sources: Sequence[Source]) -> None:
        """Take care of some more levels.

        Raises:
            ConsumerLimitError, BrokerError: As `start`.
        """
        self._put_to_sleep(sources)
        if self._has_started:
            await self._each(sources, self._open_if_used)

    def remove(self, queue: str) -> None:
        """Look at the levels of a queue no more."""
        for level in LEVELS:
            self._asleep.pop((queue, level), None)
            self._told.discard((queue, level))

    def _note(self, queue: str, level: str) -> None:
        if (queue, level) in self._asleep:
            self._told.add((queue, level))
            self._wake()

    async def _open_if_used(self, source: Source) -> None:
        if source.level == NORMAL or await has_consumer(self._connection, source.queue, source.level):
            await self._open(source)

    async def _open(self, source: Source) -> None:
        await ensure_queue(self._connection, source.queue, source.level)
        if self._asleep.pop((source.queue, source.level), None) is not None:
            await self._opened(source)
            source.is_asleep = False

    async def look_if_due(self) -> None:
        """Open what was put to use since the last time; cheap, to be called often.

        The worker's intake waits for it, and so would its stop: while the server is away, it is left to the next time.
        """
        is_due = self._told or (self._asleep and self._loop.time() >= self._look_at)
        if not is_due or not self._connection.is_connected:
            return
        try:
            async with asyncio.timeout(LONGEST_LOOK):
                await self._look_if_due()
        except TimeoutError:
            log.debug("priorities without a consumer could not be checked within %g s", LONGEST_LOOK)

    async def _look_if_due(self) -> None:
        if self._told:
            told, self._told = self._told, set()
            await self._try_to_open([self._asleep[place] for place in told if place in self._asleep])
        if self._asleep and self._loop.time() >= self._look_at:
            await self.look(MOST_LOOKED_AT)
            self._look_at = self._loop.time() + LOOK_INTERVAL

    async def look(self, most: int | None = None) -> bool:
        """Search levels without a consumer for jobs, and return whether one was opened.

        Args:
            most: How many of them, others each time; None: all.
        """
        places = list(self._asleep)
        if most is not None and len(places) > most:
            start = self._turn % len(places)
            self._turn = start + most
            places = places[start : start + most]
        try:
            found = await has_jobs(self._connection, places)
        except NaqError as error:
            log.debug("priorities without a consumer cannot be checked: %s", error)
            return False
        return await self._try_to_open([self._asleep[each] for each, is_used in zip(places, found, strict=True) if is_used])

    async def _try_to_open(self, sources: Sequence[Source]) -> bool:
        """Open levels; what does not succeed is said once, and tried again at the next look."""
        is_opened = False
        for source in sources:
            try:
                await self._open(source)
                is_opened = True
            except NaqError as error:
                seen = source in self._complained
                self._complained.add(source)
                text = "jobs with priority %s in queue %s wait for a consumer: %s"
                log.log(logging.DEBUG if seen else logging.ERROR, text, source.level, source.queue, error)
        if is_opened:
            self._wake()
        return is_opened

    async def _each(self, sources: Iterable[Source], do: Callable[[Source], Awaitable[None]]) -> None:
        """Do something for each source, some at a time."""
        remaining = iter(tuple(sources))
        while chunk := tuple(islice(remaining, AT_ONCE)):
            await asyncio.gather(*map(do, chunk))
