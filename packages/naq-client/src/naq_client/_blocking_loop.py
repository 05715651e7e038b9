"""One background event loop per process, through which synchronous code uses the asynchronous client."""

import asyncio
import atexit
import contextlib
import os
import socket
import sys
import threading
from collections.abc import Coroutine
from typing import Any, Generic, TypeVar

from naq_core.enqueue.submit import Connected, submit
from naq_core.errors import NaqError
from naq_core.job import Job
from naq_core.layers import load
from naq_core.manage import CancelOutcome
from naq_core.platforms import at_fork
from naq_core.record import JobRecord, JobState
from naq_core.storage.tally import finish_tallies
from naq_core.views import JobView

T = TypeVar("T")
R = TypeVar("R")

LAST = 1.0
"""Seconds that the end of the process may take."""
_lock = threading.Lock()
_blocking_loop: "BlockingLoop | None" = None


def check_not_finalizing() -> None:
    """Refuse to work when the threads of this process have stopped.

    Raises:
        NaqError: The interpreter is shutting down; `atexit` functions still run before that, `__del__` may come later.
    """
    if sys.is_finalizing():
        raise NaqError("the synchronous client cannot be used while the interpreter is shutting down")


class _Loop(asyncio.SelectorEventLoop):
    """An event loop that finds addresses also while the interpreter shuts down, when the threads of executors have ended."""

    async def getaddrinfo(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return await super().getaddrinfo(*args, **kwargs)
        except RuntimeError:
            return socket.getaddrinfo(*args, **kwargs)


class BlockingLoop:
    """A thread with an event loop; callable from any other thread.

    Raises:
        NaqError: The thread cannot be started: there are too many, or the interpreter is shutting down. `atexit` functions cannot
            start one on Python 3.12.0 and 3.12.1 (gh-113964).
    """

    def __init__(self) -> None:
        self.pid = os.getpid()
        self._loop = _Loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="naq-sync", daemon=True)
        try:
            self._thread.start()
        except RuntimeError as error:
            self._loop.close()
            raise NaqError(f"the synchronous client cannot start its thread: {error}") from error
        atexit.register(self._finish)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the background loop and wait for it.

        Raises:
            NaqError: Called from the background loop itself, or so late at the end of the process (from `__del__`, say) that
                the loop's thread has stopped; either would wait without end.
        """
        if threading.current_thread() is self._thread:
            coroutine.close()
            raise NaqError("the synchronous client was called from its own event loop: use the asynchronous client there")
        try:
            check_not_finalizing()
        except NaqError:
            coroutine.close()
            raise
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def _finish(self) -> None:
        """At the end of the process: what was enqueued is stored, but perhaps not counted yet."""
        if self.pid == os.getpid():
            with contextlib.suppress(TimeoutError):
                asyncio.run_coroutine_threadsafe(finish_tallies(), self._loop).result(LAST)


def blocking_loop() -> BlockingLoop:
    """Return this process's blocking loop; a forked child gets one of its own."""
    global _blocking_loop  # noqa: PLW0603 - one per process is the point
    with _lock:
        if _blocking_loop is None or _blocking_loop.pid != os.getpid():
            _blocking_loop = BlockingLoop()
        return _blocking_loop


def _renew_lock() -> None:
    global _lock  # noqa: PLW0603 - the parent may have held it while forking
    _lock = threading.Lock()


at_fork(after_in_child=_renew_lock)


def enqueue_blocking(queue: Connected, job: Job[R]) -> "SyncJob[R]":
    """Enqueue a job and wait until it is stored.

    It is encoded in the calling thread: that may import the function's module, for which the background loop would wait without
    end while that very module is being imported here. So may its middleware.
    """
    check_not_finalizing()
    load(queue.settings.middleware, queue.settings.source("middleware"))
    job.encode()
    blocking_loop().run(submit(queue, job))
    return SyncJob(job)


class SyncJob(Generic[R]):
    """A job, for synchronous code; `job` is the asynchronous one."""

    __slots__ = ("job",)

    def __init__(self, job: Job[R]) -> None:
        self.job = job

    def __repr__(self) -> str:
        return repr(self.job)

    @property
    def job_id(self) -> str:
        """The job's id."""
        return self.job.job_id

    @property
    def queue(self) -> str:
        """The queue's name."""
        return self.job.queue

    @property
    def is_new(self) -> bool:
        """Whether the enqueue stored it; see `Job.is_new`."""
        return self.job.is_new

    def result(self, timeout: float | None = None) -> R:
        """Wait for the end; see `Job.result`."""
        return blocking_loop().run(self.job.result(timeout))

    def cancel(self, reason: str = "") -> CancelOutcome:
        """End the job as cancelled; see `Job.cancel`."""
        return blocking_loop().run(self.job.cancel(reason))

    def status(self) -> JobState:
        """Return the state; see `Job.status`."""
        return blocking_loop().run(self.job.status())

    def view(self) -> JobView:
        """Return all that is known of the job; see `Job.view`."""
        return blocking_loop().run(self.job.view())

    def record(self) -> JobRecord | None:
        """Return the record; see `Job.record`."""
        return blocking_loop().run(self.job.record())
