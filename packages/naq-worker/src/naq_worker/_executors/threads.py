"""Daemon threads for synchronous jobs: as many as run at a time, kept for the next job.

Not `ThreadPoolExecutor`: its threads are joined at exit, so one job that hangs would keep the worker from ever ending.
"""

import asyncio
import os
import threading
from collections.abc import Callable
from contextvars import Context, copy_context
from queue import SimpleQueue
from typing import Any, TypeAlias

from naq_worker._invoke import end_copy
from naq_worker._shortage import starting

_Item: TypeAlias = "tuple[asyncio.Future[Any], Context, Callable[[], Any]] | None"


class Threads:
    """Runs functions in threads."""

    def __init__(self) -> None:
        self.contexts: dict[int, Context] = {}
        """What the functions run in that are running, by the threads' idents."""
        self._items: SimpleQueue[_Item] = SimpleQueue()
        self._idle = 0
        self._threads = 0
        self._lock = threading.Lock()
        self._process = os.getpid()

    def run(self, function: Callable[[], Any]) -> "asyncio.Future[Any]":
        """Run a function in a copy of the current context; cancelling the future gives the thread up, it cannot stop it.

        Raises:
            ShortageError: It needs one more thread, and none can be started.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        context = copy_context()
        with self._lock:
            if self._idle > 0:
                self._idle -= 1
            else:
                self._start_one()
        self._items.put((future, context, function))
        return future

    def _start_one(self) -> None:
        with starting("thread"):
            threading.Thread(target=self._work, name=f"naq-job-{self._threads + 1}", daemon=True).start()
        self._threads += 1

    def close(self) -> None:
        """Let idle threads end; a busy one ends after its job."""
        for _ in range(self._threads):
            self._items.put(None)

    def _work(self) -> None:
        ident = threading.get_ident()
        while (item := self._items.get()) is not None:
            future, context, function = item
            del item
            self.contexts[ident] = context
            try:
                result, error = context.run(function), None
            except BaseException as raised:  # noqa: BLE001 - whatever the job raised belongs to its future
                result, error = None, raised
            end_copy(self._process)
            self.contexts.pop(ident, None)
            with self._lock:
                self._idle += 1
            try:
                future.get_loop().call_soon_threadsafe(_resolve, future, result, error)
            except RuntimeError:
                return  # the loop is closed: the worker has ended without this job
            del future, context, function, result, error


def _resolve(future: "asyncio.Future[Any]", result: Any, error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    elif isinstance(error, StopIteration | GeneratorExit):  # which mean something else to who awaits a future
        carried = RuntimeError(f"the job raised {error!r}")
        carried.__cause__ = error
        future.set_exception(carried)
    else:
        future.set_exception(error)
