"""What an attempt tells while it runs, progress and log lines: written to the job's record, a few times a second at most."""

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import msgspec

from naq_core.errors import BrokerError
from naq_core.record import LogLine, Progress
from naq_core.transport.clock import ServerClock
from naq_worker._active import Active, Claim
from naq_worker._late import Late
from naq_worker._logs import JobLog

log = logging.getLogger(__name__)

INTERVAL = 0.3
"""Seconds between two writes of one job's record."""
AGAIN = 1.0
"""Seconds after which a claim that the server has not taken is tried again."""
LOGS_WITHIN = 1.0
"""Seconds until a line is written while the job goes on: a job that ends sooner costs no write for it."""


_creating = threading.RLock()


@dataclass(slots=True)
class Reports:
    """What the reporters of one worker share."""

    write: Callable[..., Coroutine[Any, Any, bool]]
    """Writes the record of a claim, with `has_news=False` only to claim the job; returns whether it is still this worker's."""
    spawn: Callable[[Coroutine[Any, Any, None]], "asyncio.Task[None]"]
    loop: asyncio.AbstractEventLoop
    thread: int
    clock: ServerClock
    """A line is stamped by the clock of this machine, perhaps in a child process; it is stored in the server's time."""


class Reporter:
    """Takes what one attempt reports, from any thread; without a claim there is no record to write.

    Args:
        late: Of an attempt that is not claimed yet: has it claimed after a while.
    """

    __slots__ = ("_active", "_again", "_claim", "_late", "_log", "_not_before", "_reports", "_then", "_timer")

    def __init__(self, reports: Reports, active: Active, claim: Claim | None, late: Late | None = None) -> None:
        self._late = late
        self._reports = reports
        self._active = active
        self._claim = claim
        self._log: JobLog | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._not_before = 0.0
        self._again = False
        self._then: Callable[[], None] | None = None

    def claim(self) -> None:
        """Put on record that the job runs, if it is not yet."""
        claim, task = self._claim, self._active.progress_task
        if claim is not None and not claim.revision and self._active.is_running and (task is None or task.done()):
            self._active.progress_task = self._reports.spawn(self._store(claim, has_news=False))

    @property
    def on_fence(self) -> Callable[[], None] | None:
        """What is to be called when the job reads its fence."""
        return self._on_fence if self._late is not None else None

    def _on_fence(self) -> None:
        if self._late is not None and self._claim is not None:
            self._late.note_fence(self._claim.record.function)
            self._on_loop(lambda _: self.claim(), None)

    def share(self, then: Callable[[], None]) -> None:
        """Put on record that the job no longer runs alone in its worker, and call `then` when that is stored."""
        if self._claim is not None:
            self._claim.record.alone = False
            self._then = then
            self._write_within(0)

    def progress(self, done: float, total: float | None, note: str) -> None:
        """Note how far the job is."""
        if self._claim is not None:
            self._on_loop(self._note, Progress(done, total, note))

    def log(self, line: LogLine) -> None:
        """Note a line."""
        if self._log is None:
            with _creating:
                if self._log is None:
                    self._log = JobLog(() if self._claim is None else self._claim.record.logs)
        self._log.add(msgspec.structs.replace(line, at=line.at - self._reports.clock.skew))
        if self._claim is not None and self._timer is None:
            self._on_loop(self._write_within, LOGS_WITHIN)

    def end(self, claim: Claim) -> None:
        """Put the lines into the record, for its last write."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._put_lines(claim)

    def _put_lines(self, claim: Claim) -> None:
        if self._log is not None:
            claim.record.logs = self._log.lines()

    def _on_loop(self, function: Callable[[Any], None], argument: Any) -> None:
        if threading.get_ident() == self._reports.thread:
            function(argument)
        else:
            self._reports.loop.call_soon_threadsafe(function, argument)

    def _note(self, progress: Progress) -> None:
        if self._active.is_running and self._claim is not None:  # a thread that was given up still talks
            self._claim.record.progress = progress
            self._write_within(0)

    def _write_within(self, seconds: float) -> None:
        """Write the record within so many seconds, but not too soon after the last time."""
        if not self._active.is_running:
            return
        now = self._reports.loop.time()
        at = max(now + seconds, self._not_before)
        if self._timer is not None:
            if self._timer.when() <= at:
                return
            self._timer.cancel()
        if at <= now:
            self._write()
        else:
            self._timer = self._reports.loop.call_at(at, self._write)

    def _write(self) -> None:
        self._timer = None
        active, claim = self._active, self._claim
        if claim is None or not active.is_running:
            return
        if active.progress_task is not None and not active.progress_task.done():
            self._again = True  # two writes at a time would refuse each other
            return
        self._not_before = self._reports.loop.time() + INTERVAL
        self._put_lines(claim)
        active.progress_task = self._reports.spawn(self._store(claim))

    async def _store(self, claim: Claim, *, has_news: bool = True) -> None:
        try:
            is_ours = await self._reports.write(claim, has_news=has_news)
        except BrokerError as error:
            log.info("job %s: the record of the running job cannot be stored yet: %s", claim.record.job_id, error)
            self._reports.loop.call_later(AGAIN, self.claim)
            return
        if not is_ours:
            self._active.cancel()
        elif self._again:
            self._again = False
            self._reports.loop.call_soon(self._write_within, 0)
        elif self._then is not None:
            then, self._then = self._then, None
            then()
