"""Which job pays for the death of a worker: what it ran is suspect, runs alone next, and is counted only if it dies alone.

The rule is three functions without a server; `Isolation` gives a suspect a worker of its own for a while
(`docs/adr/0034-who-pays-for-a-dead-worker.md`).
"""

import asyncio
from collections.abc import Callable

from naq_core.record import JobRecord
from naq_worker._active import Active

WINDOW = 10.0
"""Seconds for which a suspect runs alone, the first time; twice as long after each further death."""
MOST_DOUBLINGS = 20
PATIENCE = 10.0
"""Seconds for which a worker begins nothing else, to become free for a suspect; twice as long after each time it did not."""


def charge(record: JobRecord) -> None:
    """Note in a record that the worker died while the job ran there.

    Beside others the job is excused. Alone it is not, and one death that it was excused from now counts too.
    """
    record.crashes += 1
    record.excused = max(0, record.excused - 1) if record.alone else record.excused + 1
    record.suspect, record.alone = True, False


def acquit(record: JobRecord, max_crashes: int) -> None:
    """Note that an attempt ended by itself: the job may run beside others again, unless too many workers died under it."""
    record.alone = False
    if record.crashes < max_crashes:
        record.suspect = False


def is_condemned(record: JobRecord, max_crashes: int) -> bool:
    """Return whether the job has taken down so many workers or child processes that it must not run again."""
    return record.crashes - record.excused >= max_crashes


def window(record: JobRecord) -> float:
    """Return the seconds for which a suspect runs alone."""
    return WINDOW * float(2 ** min(max(record.crashes - 1, 0), MOST_DOUBLINGS))


class Isolation:
    """Runs one suspect at a time alone in its worker.

    While `is_open` is false the worker must begin no other job. A suspect that cannot have the worker for itself is handed
    back. Neither suspects nor other jobs starve: after each suspect, and after each attempt to become free for one, the
    worker takes other jobs for as long as that took. Each failed attempt makes the next one wait longer.

    Args:
        is_alone: Returns whether the worker holds no other job.
        reopened: Called when other jobs may begin again.
    """

    def __init__(self, is_alone: Callable[[], bool], reopened: Callable[[], None]) -> None:
        self.is_open = True
        self._is_alone = is_alone
        self._reopened = reopened
        self._suspect: Active | None = None
        self._since: float
        """When it was closed."""
        self._not_before = 0.0
        self._patience = PATIENCE
        self._changed = asyncio.Event()
        self._is_stopped = False
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    async def enter(self, active: Active) -> bool:
        """Wait until the worker holds nothing but this job; return False where it has to be handed back."""
        if self._suspect is active:
            return True
        if self._suspect is not None:
            return False
        self._suspect = active
        is_free = False
        try:
            if self._loop.time() < self._not_before:
                await self._is_free_by(self._not_before)
            self.is_open, self._since = False, self._loop.time()
            is_free = await self._is_free_by(self._since + self._patience)
            self._patience = PATIENCE if is_free else 2 * self._patience
            is_free = is_free and not self._is_stopped
        finally:
            if not is_free:
                self.leave(active)
        return is_free

    async def _is_free_by(self, deadline: float) -> bool:
        """Wait until the worker is free, the deadline passes, or it stops."""
        try:
            async with asyncio.timeout_at(deadline):
                while not (self._is_alone() or self._is_stopped):
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            pass
        return self._is_alone()

    def share_after(self, active: Active, seconds: float, record: Callable[[Callable[[], None]], None]) -> None:
        """Let others begin beside a suspect that goes on after so many seconds.

        Args:
            record: Stores that the suspect no longer runs alone and then calls what it is given. Nothing may begin before.
        """
        self._timer = self._loop.call_later(seconds, record, lambda: self.leave(active))

    def leave(self, active: Active) -> None:
        """End the isolation of this job; of any other job, do nothing."""
        if self._suspect is not active:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._suspect = None
        if not self.is_open:
            now = self._loop.time()
            self.is_open, self._not_before = True, now + (now - self._since)
            self._reopened()

    def note_end(self, active: Active) -> None:
        """A job is no longer held: its isolation ends, or the worker may be free for a suspect now."""
        if self._suspect is not None:
            self.leave(active)
            self._changed.set()

    def stop(self) -> None:
        """Begin no more suspects: the worker stops."""
        self._is_stopped = True
        self._changed.set()
