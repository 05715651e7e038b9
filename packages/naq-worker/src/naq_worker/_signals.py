"""SIGTERM and SIGINT: the first stops the worker gracefully, the second at once."""

import asyncio
import contextlib
import logging
import signal
import threading
from collections.abc import Iterator
from typing import Any, Protocol

log = logging.getLogger(__name__)

SIGNALS = (signal.SIGTERM, signal.SIGINT)


ECHO = 0.5
"""A signal so soon after the first is the same one, sent to the process and to its group."""


class _Stoppable(Protocol):
    def stop(self) -> None: ...
    def stop_now(self) -> None: ...


class Signals:
    """The handlers of the signals, and whether they are still there."""

    def __init__(self, worker: _Stoppable) -> None:
        self._worker = worker
        self._loop = asyncio.get_running_loop()
        self._is_in_main_thread = threading.current_thread() is threading.main_thread()
        self._seen = 0
        self._first_at = 0.0
        self._installed: dict[signal.Signals, Any] = {}

    def install(self) -> None:
        """Handle the signals; does nothing outside the main thread, where Python takes none."""
        if self._is_in_main_thread:
            for each in SIGNALS:
                self._loop.add_signal_handler(each, self._on_signal, each.name)
                self._installed[each] = signal.getsignal(each)

    def check(self) -> None:
        """Handle them again where somebody else has taken them, so that the worker can still be stopped."""
        taken = [each.name for each, handler in self._installed.items() if signal.getsignal(each) is not handler]
        if taken:
            log.warning("a job has replaced the handler of %s: the worker takes it back", " and ".join(taken))
            self.install()

    def remove(self) -> None:
        """Leave the signals alone."""
        for each in self._installed:
            self._loop.remove_signal_handler(each)

    def _on_signal(self, name: str) -> None:
        now = self._loop.time()
        if self._seen and now - self._first_at < ECHO:
            return
        self._seen += 1
        if self._seen == 1:
            self._first_at = now
            log.info("%s: finishing the running jobs; once more to stop at once", name)
            self._worker.stop()
        else:
            log.warning("%s again: handing the running jobs back", name)
            self._worker.stop_now()


@contextlib.contextmanager
def stop_on_signals(worker: _Stoppable) -> Iterator[Signals]:
    """Handle the signals while the body runs."""
    signals = Signals(worker)
    signals.install()
    try:
        yield signals
    finally:
        signals.remove()
