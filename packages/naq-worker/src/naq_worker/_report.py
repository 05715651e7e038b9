"""What an attempt tells while it runs, progress and log lines: written to the job's record, a few times a second at most."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

import msgspec

from naq_core.record import LogLine, Progress
from naq_core.transport.clock import ServerClock
from naq_worker._active import Active, Claim
from naq_worker._logs import JobLog

INTERVAL = 0.3
"""Seconds between two writes of one job's record."""
LOGS_WITHIN = 1.0
"""Seconds until a line is written while the job goes on: a job that ends sooner costs no write for it."""


_creating = threading.RLock()


@dataclass(slots=True)
class Reports:
    """What the reporters of one worker share."""

    write: Callable[[Claim], Coroutine[Any, Any, bool]]
    """Writes a record; returns whether the job is still this worker's."""
    spawn: Callable[[Coroutine[Any, Any, None]], "asyncio.Task[None]"]
    loop: asyncio.AbstractEventLoop
    thread: int
    clock: ServerClock
    """A line is stamped by the clock of this machine, perhaps in a child process; it is stored in the server's time."""


class Reporter:
    """Takes what one attempt reports, from any thread; without a claim there is no record to write."""

    __slots__ = ("_active", "_again", "_claim", "_log", "_not_before", "_reports", "_then", "_timer")

    def __init__(self, reports: Reports, active: Active, claim: Claim | None) -> None:
        self._reports = reports
        self._active = active
        self._claim = claim
        self._log: JobLog | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._not_before = 0.0
        self._again = False
        self._then: Callable[[], None] | None = None

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

    async def _store(self, claim: Claim) -> None:
        if not await self._reports.write(claim):
            self._active.cancel()
        elif self._again:
            self._again = False
            self._reports.loop.call_soon(self._write_within, 0)
        elif self._then is not None:
            then, self._then = self._then, None
            then()
