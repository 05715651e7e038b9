"""Whether an event loop turns: a timer of its own that a blocked loop does not call."""

import asyncio
import time
from collections.abc import Callable

SILENT = 30.0
"""Seconds without a turn after which an event loop counts as stuck."""


class Pulse:
    """Calls something from the running event loop, at once and then at regular intervals.

    Args:
        call: What to call; it must not block.
        every: Seconds between two calls.
    """

    def __init__(self, call: Callable[[], None] = lambda: None, every: float = 1.0) -> None:
        self._call = call
        self._every = every
        self._at = time.monotonic()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def silent_for(self) -> float:
        """Seconds since its last beat; readable from any thread."""
        return time.monotonic() - self._at

    def start(self) -> None:
        """Beat from now on, until `stop` or the end of the loop."""
        self._at = time.monotonic()
        self._call()
        self._timer = asyncio.get_running_loop().call_later(self._every, self.start)

    def stop(self) -> None:
        """Beat no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
