"""How long a worker process lives: limits after which it takes no more jobs, finishes those that run, and ends."""

import logging
import random
import re
import sys
import time

from naq_core.errors import InvalidOptionError, shown
from naq_core.platforms import resident_bytes
from naq_core.settings import parse_duration
from naq_core.values import whole
from naq_core.wording import counted
from naq_worker.worker import Worker

log = logging.getLogger(__name__)

RECYCLED = 75
"""The exit code of a supervised worker process that has reached a limit, so that a new one takes its place."""
LOOK_INTERVAL = 1.0
"""Seconds between two looks at the memory."""
SPREAD = 10
"""Supervised processes end up to one in so many jobs earlier, each at another number, so that they do not end together."""

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*(?:([KMGT])(I?))?B?", re.IGNORECASE)
_POWERS = {"K": 1, "M": 2, "G": 3, "T": 4}


class Lifespan:
    """Ends a worker at the first limit that it reaches; to be called each time the worker looks for jobs.

    Args:
        max_jobs: How many jobs the process starts; those that run beside the last one are finished, too. None: no limit.
        max_memory: Resident memory of the process, as in "512MB", above which it takes no more jobs. Child processes do not
            count. It starts at least one job. None: no limit.
        max_idle: A duration, as in "10m", without any job. None: no limit.
        is_supervised: Another process takes its place.

    Raises:
        InvalidOptionError: A limit is not of its form, or the memory cannot be measured here.
    """

    def __init__(self, max_jobs: int | None, max_memory: str | None, max_idle: str | None, *, is_supervised: bool) -> None:
        self.is_over = False
        """A limit is reached."""
        self._is_supervised = is_supervised
        self._max_jobs = None if max_jobs is None else whole(max_jobs, "max_jobs", 1)
        if self._max_jobs is not None and is_supervised:
            self._max_jobs -= random.randrange(self._max_jobs // SPREAD + 1)  # noqa: S311 - no secret
        self._max_memory = None if max_memory is None else _memory(max_memory)
        self._max_idle = None if max_idle is None else _idle(max_idle)
        self._processed = 0
        self._busy_at: float | None = None
        """When it last had a job, or began to look for one."""
        self._look_at = 0.0

    @property
    def exit_code(self) -> int:
        """The code of a process whose worker has stopped cleanly."""
        return RECYCLED if self.is_over and self._is_supervised else 0

    def check(self, worker: Worker) -> None:
        """Make a worker that has reached a limit take no more jobs, and stop when its last one has ended."""
        if not self.is_over:
            reason = self._reached(worker)
            if reason is None:
                return
            self.is_over = True
            log.info("worker %s takes no more jobs: %s", worker.worker_id, reason)
        if worker.state == "running":
            worker.quiet()
        elif not worker.in_hand:
            worker.stop()

    def _reached(self, worker: Worker) -> str | None:
        """Return the limit that is reached, as a reason, or None."""
        now, processed = time.monotonic(), worker.counters.processed
        if self._busy_at is None or worker.in_hand or processed != self._processed:
            self._busy_at, self._processed = now, processed
        if self._max_jobs is not None and processed >= self._max_jobs:
            return f"it has started {counted(processed, 'job')}"
        if self._max_idle is not None and now - self._busy_at >= self._max_idle:
            return f"it has had no job for {self._max_idle:g} s"
        if self._max_memory is not None and processed and now >= self._look_at:
            self._look_at = now + LOOK_INTERVAL
            if (used := resident_bytes()) > self._max_memory:
                return f"it uses {used:,} bytes of memory"
        return None


def _memory(value: str) -> int:
    """Return a number of bytes: MB are powers of 1000, MiB those of 1024."""
    if not resident_bytes():
        raise InvalidOptionError("max_memory", f"the memory of a process cannot be measured on {sys.platform}")
    match = _SIZE.fullmatch(value.strip())
    if match is None:
        raise InvalidOptionError("max_memory", f"{shown(value)} is not a size such as 512MB, 1.5GiB or 500000000")
    size = float(match[1]) * (1024 if match[3] else 1000) ** _POWERS.get((match[2] or "").upper(), 0)
    return whole(int(size), "max_memory", 1, 2**63)


def _idle(value: str) -> float:
    try:
        idle = parse_duration(value).total_seconds()
    except ValueError as error:
        raise InvalidOptionError("max_idle", str(error)) from error
    if idle <= 0:
        raise InvalidOptionError("max_idle", "must be longer than 0 s")
    return idle
