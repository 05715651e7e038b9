"""Stopping a user's function by cancelling its task: repeatedly if it ignores that, up to a limit."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any

from naq_worker.outcome import Outcome

log = logging.getLogger(__name__)

PAUSE = 2.0
"""Seconds a cancelled function may take to clean up before it is cancelled again."""
TRIES = 3
"""How many times a function is cancelled before it is given up, `PAUSE` seconds after the last time."""


class Running:
    """A user's function that runs in the current task.

    Once it was stopped, nothing that it returns or raises counts: it looks the same as the return value of a function that
    has swallowed its cancellation.

    Args:
        task: The current task.
        job: Its id and its function, for the log.
        on_given_up: Called with the outcome when the function ignores its cancellation; it may still run for any time.
    """

    __slots__ = ("_cancellations", "_loop", "_on_given_up", "_task", "_timer", "job", "outcome")

    def __init__(self, task: "asyncio.Task[Any]", job: tuple[str, str], on_given_up: Callable[[Outcome], None]) -> None:
        self.outcome: Outcome | None = None
        """What the attempt ends as because it was stopped; None while it was not."""
        self.job = job
        self._on_given_up = on_given_up
        self._loop = task.get_loop()
        self._task: asyncio.Task[Any] | None = task
        self._timer: asyncio.TimerHandle | None = None
        self._cancellations = 0

    def limit(self, seconds: float, on_time_out: Callable[[], Outcome]) -> None:
        """Stop it after some time."""
        self._timer = self._loop.call_later(seconds, lambda: self.stop(on_time_out()))

    def lift_limit(self) -> None:
        """Let it take any time from here on, unless it was stopped already."""
        if self.outcome is None:
            self._drop_timer()

    def stop(self, outcome: Outcome) -> None:
        """Cancel it, from the event loop; the first outcome that it is stopped with is the one that counts."""
        if self.outcome is None:
            self.outcome = outcome
            self._cancel()

    def give_up(self) -> None:
        """Settle the job now, although its function runs on; once."""
        self._drop_timer()
        if self._task is not None and self.outcome is not None:
            self._task = None
            log.error("job %s (%s) ignored its cancellation: its slot is free again and its result will be dropped", *self.job)
            self._on_given_up(self.outcome)

    def conclude(self, outcome: Outcome) -> None:
        """Settle the job from another task: this one is about to be closed."""
        self._drop_timer()
        self._task, self.outcome = None, self.outcome or outcome
        self._on_given_up(self.outcome)

    def _cancel(self) -> None:
        self._drop_timer()
        if self._task is None:
            return
        if self._cancellations == TRIES:
            self.give_up()
            return
        if self._cancellations:
            log.warning("job %s (%s) is still running %g s after its cancellation; cancelling it again", *self.job, PAUSE)
        self._cancellations += 1
        self._task.cancel()
        self._timer = self._loop.call_later(PAUSE, self._cancel)

    def end(self) -> int:
        """Take note that the function has ended.

        Returns:
            How many cancellations were meant for it, which the task has to take back: it goes on.
        """
        self._drop_timer()
        task, self._task = self._task, None
        if task is None:
            log.warning("job %s (%s), which ignored its cancellation, has ended; its result is dropped", *self.job)
            return 0
        return task.cancelling()

    @property
    def is_torn_down(self) -> bool:
        """Whether the coroutine is closed from outside, as its event loop has ended: it cannot wait for anything any more."""
        try:
            return asyncio.get_running_loop() is not self._loop
        except RuntimeError:
            return True

    def _drop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


async def take_back(task: "asyncio.Task[Any]", cancellations: int) -> None:
    """Take back cancellations of the current task, of which the last may still be to come."""
    await let_cancellation_arrive()
    for _ in range(cancellations):
        task.uncancel()


async def let_cancellation_arrive() -> None:
    """Wait for one turn of the event loop, in which a cancellation that is under way reaches this task and all others."""
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.sleep(0)
