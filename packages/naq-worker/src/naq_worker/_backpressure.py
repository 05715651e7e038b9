"""Backpressure while the server refuses to store how jobs have ended: the end of another job would not be stored either."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

PROBE_PAUSE = 1.0
"""Seconds between two jobs that begin after an end was given up, until one is stored."""


class Backpressure:
    """Lets jobs begin only while their ends can be stored, as far as is known.

    A full stream takes a short claim and refuses the longer end of the same job. Without this, a worker would run its whole
    backlog in vain, once in each publish budget.

    While an end is refused and tried again, no job begins. After one was given up, one job begins each second, to try whether
    its end is stored; the next end that is stored lets all begin again.

    Args:
        reopened: Called when jobs may begin again.
    """

    def __init__(self, reopened: Callable[[], None]) -> None:
        self._reopened = reopened
        self._refused = 0
        """Ends that are tried again."""
        self._has_lost = False
        """An end was given up, and none has been stored since."""
        self._not_before = 0.0

    @property
    def is_open(self) -> bool:
        """Whether a job may begin."""
        return not self._refused and time.monotonic() >= self._not_before

    @property
    def is_probing(self) -> bool:
        """Whether jobs begin one by one."""
        return self._has_lost

    def note_begin(self) -> None:
        """A job begins."""
        if self._has_lost:
            self._not_before = time.monotonic() + PROBE_PAUSE
            asyncio.get_running_loop().call_later(PROBE_PAUSE, self._reopened)

    @contextmanager
    def retrying(self) -> Iterator[None]:
        """Let no job begin while the body tries to store a refused end again."""
        self._refused += 1
        try:
            yield
        except BaseException:
            self._has_lost = True
            raise
        else:
            self.note_stored()
        finally:
            self._refused -= 1
            self._reopened()

    def note_stored(self) -> None:
        """An end is stored."""
        if self._has_lost:
            self._has_lost, self._not_before = False, 0.0
            self._reopened()
