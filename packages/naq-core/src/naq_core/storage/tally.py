"""Counters that outlive processes: counted in memory, and every ten seconds added to the server's own (`Nats-Incr`, ADR-49).

Nothing waits for it: the increments go out without a reply, in one write, also at the end of a connection. A message per counter
that has changed, whatever the number of jobs and processes; what is lost on the way is missing, and nothing is counted twice.
"""

import asyncio
import contextlib
import logging
import random
from collections.abc import Callable
from weakref import WeakSet

from naq_core.errors import PermissionDeniedError
from naq_core.storage.subjects import Names, token_of
from naq_core.transport.client import QuickClient
from naq_core.transport.denials import Denials
from naq_core.transport.errors import CLIENT_ERRORS
from naq_core.transport.headers import INCREMENT

log = logging.getLogger(__name__)

STEP = 10.0
"""Seconds between two flushes."""
EARLY = 1.0
"""Seconds before the turn of such a step at which all flush: who samples the counters at the turn finds all of the step."""
LAST = 0.5
"""Seconds that the last ones may take at the end of a process."""
MOST_FUNCTIONS = 200
"""Functions without end (names made in a loop) share the counters of `OTHERS` after this many, in one flush."""
OTHERS = "(others)"


class Tally:
    """The increments of one connection that are still to be sent. Used from its event loop."""

    def __init__(
        self, client: QuickClient, names: Names, denials: Denials, is_connected: Callable[[], bool], now: Callable[[], float]
    ) -> None:
        self._client = client
        self._names = names
        self._denials = denials
        self._is_connected = is_connected
        self._now = now
        self._new: dict[tuple[str, str, str], int] = {}
        self._functions: set[tuple[str, str]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._is_closed = False
        self.loop: asyncio.AbstractEventLoop
        """Of the connection; known from the first count on."""

    def add(self, queue: str, function: str, kind: str, amount: int = 1) -> None:
        """Count something of a queue's function; `kind` is a token, such as `enqueued`."""
        key = (queue, function, kind)
        if key not in self._new:
            key = self._begin(key)
        self._new[key] = self._new.get(key, 0) + amount

    def _begin(self, key: tuple[str, str, str]) -> tuple[str, str, str]:
        """Make room for a counter's increment; return the key to count it under."""
        if self._timer is None and not self._is_closed:
            self.loop = asyncio.get_running_loop()
            self._timer = self.loop.call_later(_seconds_to_flush(self._now()), self.flush)
            _with_news.add(self)
        queue, function, kind = key
        if len(self._functions) >= MOST_FUNCTIONS and (queue, function) not in self._functions:
            return queue, OTHERS, kind
        self._functions.add((queue, function))
        return key

    def flush(self) -> None:
        """Send what was counted, without waiting for anything."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._new:
            return
        if not self._is_connected():
            self._timer = self.loop.call_later(STEP, self.flush)
            return
        _with_news.discard(self)
        new, self._new, self._functions = self._new, {}, set()
        for (queue, function, kind), amount in new.items():
            subject = self._names.tally(queue, token_of(function), kind)
            try:
                self._denials.check(subject)
                self._client.post(subject, b"", "", {INCREMENT: str(amount)})
            except PermissionDeniedError:
                continue  # said once, when the server refused the first
            except CLIENT_ERRORS as error:
                log.debug("counts are lost: %r", error)
                return

    def close(self) -> None:
        """Send what is left, if the server is there; what is counted later is not sent."""
        self._is_closed = True
        if self._is_connected():
            self.flush()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def finish(self) -> None:
        """Send what was counted and wait until the server has it."""
        self.flush()
        with contextlib.suppress(*CLIENT_ERRORS):  # at the end of the process, when there is no one to report to
            await self._client.flush(timeout=LAST)


_with_news: WeakSet[Tally] = WeakSet()


async def finish_tallies() -> None:
    """Send what this event loop's connections have counted: the process ends without closing them."""
    loop = asyncio.get_running_loop()
    await asyncio.gather(*(each.finish() for each in tuple(_with_news) if each.loop is loop))


def _seconds_to_flush(now: float) -> float:
    """Return the time until shortly before the next turn of a step, not the same for all."""
    return STEP - (now + EARLY * random.uniform(1.0, 2.0)) % STEP  # noqa: S311 - to spread a load
