"""Leaving in time: a process whose threads or event loop do not end is ended by force."""

import logging
import os
import sys
import threading
from collections.abc import Callable

from naq_core.names import listed
from naq_core.platforms import has_room

log = logging.getLogger(__name__)

PATIENCE = 3.0
"""Seconds that the process may take to end after the worker has ended."""


class Deadline:
    """Ends this process at a deadline, from a thread of its own: neither the event loop nor other threads are asked.

    Where no thread can be started it ends the process at once.

    Args:
        code: The exit code.
        last: Called first, in that thread.
    """

    def __init__(self, seconds: float, code: int, last: Callable[[], None] = lambda: None) -> None:
        self._seconds = seconds
        self._code = code
        self._last = last
        self._is_off = threading.Event()
        try:
            threading.Thread(target=self._wait, name="naq-deadline", daemon=True).start()
        except RuntimeError as error:
            self._leave(str(error))

    def call_off(self) -> None:
        """Let the process live."""
        self._is_off.set()

    def _wait(self) -> None:
        if not self._is_off.wait(self._seconds):
            self._leave(_what_holds())

    def _leave(self, reason: str) -> None:
        try:
            log.error("exiting by force: %s", reason)
            self._last()
            logging.shutdown()
            if has_room(sys.stderr):
                sys.stderr.flush()
        finally:
            os._exit(self._code)


def leftover_threads() -> list[threading.Thread]:
    """Return the threads that the interpreter would wait for."""
    own = {threading.main_thread(), threading.current_thread()}
    return [each for each in threading.enumerate() if each.is_alive() and not each.daemon and each not in own]


def _what_holds() -> str:
    names = [each.name for each in leftover_threads()]
    return f"threads started by jobs are still running ({listed(names)})" if names else "the event loop does not stop"
