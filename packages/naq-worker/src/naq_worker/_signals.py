"""What a signal means to a worker: the first stops it gracefully, the second at once."""

import logging
import time
from typing import Protocol

log = logging.getLogger(__name__)

ECHO = 0.5
"""A signal so soon after the first is the same one, sent to the process and to its group."""


class _Stoppable(Protocol):
    def stop(self) -> None: ...
    def stop_now(self) -> None: ...


class StopOnSignal:
    """Stops a worker, each time it is called with the name of a signal."""

    def __init__(self, worker: _Stoppable) -> None:
        self._worker = worker
        self._seen = 0
        self._first_at = 0.0

    def __call__(self, name: str) -> None:
        """Stop the worker; the second time at once."""
        now = time.monotonic()
        if self._seen and now - self._first_at < ECHO:
            return
        self._seen += 1
        if self._seen == 1:
            self._first_at = now
            log.info("%s: finishing the running jobs; send it again to stop at once", name)
            self._worker.stop()
        else:
            log.warning("%s again: returning the running jobs to their queues", name)
            self._worker.stop_now()
