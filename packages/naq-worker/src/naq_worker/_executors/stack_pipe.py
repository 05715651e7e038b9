"""How a child process tells what it is doing: its guard sends it a signal, at which Python's faulthandler writes to this pipe.

The faulthandler needs neither the child's event loop nor its GIL, so a child that hangs in C code answers too. It writes names of
functions, files and line numbers only.
"""

import contextlib
import os
import select
import threading
import time
from collections.abc import Iterator

PATIENCE = 0.5
"""Seconds to wait for the first words of a child."""
QUIET = 0.05
"""Seconds of silence after which it has said everything."""
MOST_BYTES = 32 * 1024


class StackPipe:
    """The worker's end of the pipe of one child."""

    def __init__(self) -> None:
        self._reading, self._writing = os.pipe()
        os.set_blocking(self._reading, False)
        os.set_blocking(self._writing, False)  # nobody reads what a job asks for itself
        self._lock = threading.Lock()
        self._is_closed = False

    @contextlib.contextmanager
    def writing(self) -> Iterator[int]:
        """Give the descriptor for the child, which is closed here at the end of the body."""
        try:
            yield self._writing
        finally:
            os.close(self._writing)

    def ask(self, guard: int) -> str:
        """Return the stacks of the child's threads; what is known of them in time.

        Args:
            guard: The descriptor of its guard's standard input.
        """
        with self._lock, contextlib.suppress(OSError):
            if self._is_closed:
                return ""
            self._read(0.0)  # what an earlier request has left
            os.write(guard, b"?")
            return self._read(PATIENCE).decode("utf-8", "backslashreplace")
        return ""

    def _read(self, patience: float) -> bytes:
        found, deadline = b"", time.monotonic() + patience
        waiting = select.poll()  # `select` takes no descriptor above 1023
        waiting.register(self._reading, select.POLLIN)
        while len(found) < MOST_BYTES:
            left = QUIET if found else max(0.0, deadline - time.monotonic())
            if not waiting.poll(left * 1000):
                break
            part = os.read(self._reading, 4096)
            if not part:  # the child has ended
                break
            found += part
        return found

    def close(self) -> None:
        """Read no more."""
        with self._lock:
            if not self._is_closed:
                self._is_closed = True
                os.close(self._reading)
