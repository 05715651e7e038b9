"""SIGTERM and SIGINT: the first stops the worker gracefully, the second at once."""

import asyncio
import contextlib
import logging
import signal
import threading
from collections.abc import Iterator
from typing import Protocol

log = logging.getLogger(__name__)

SIGNALS = (signal.SIGTERM, signal.SIGINT)


ECHO = 0.5
"""A signal so soon after the first is the same one, sent to the process and to its group."""


class _Stoppable(Protocol):
    def stop(self) -> None: ...
    def stop_now(self) -> None: ...


@contextlib.contextmanager
def stop_on_signals(worker: _Stoppable) -> Iterator[None]:
    """Handle the signals while the body runs; does nothing outside the main thread, where Python takes none."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    seen = 0
    first_at = 0.0

    def on_signal(name: str) -> None:
        nonlocal seen, first_at
        now = loop.time()
        if seen and now - first_at < ECHO:
            return
        seen += 1
        if seen == 1:
            first_at = now
            log.info("%s: finishing the running jobs; once more to stop at once", name)
            worker.stop()
        else:
            log.warning("%s again: handing the running jobs back", name)
            worker.stop_now()

    for each in SIGNALS:
        loop.add_signal_handler(each, on_signal, each.name)
    try:
        yield
    finally:
        for each in SIGNALS:
            loop.remove_signal_handler(each)
