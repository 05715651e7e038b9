"""The child process of `process=True` jobs: runs one job at a time until its socket closes.

Started by `processes.py` as `python -m naq_worker._executors.child FD`.
"""

import asyncio
import contextlib
import ctypes
import logging
import signal
import socket
import sys
import threading
from contextvars import copy_context
from datetime import UTC, datetime

from naq_core.context import JobContext, set_current_job
from naq_core.envelope import decode_envelope
from naq_core.record import LogLine
from naq_core.signals import SIGNALS
from naq_worker._calling import is_async, of_error, of_value, prepare
from naq_worker._executors.frames import LENGTH_BYTES, Line, Report, Run, Setup, Started, decode_to_child, ended, frame
from naq_worker._logs import install_log_factory
from naq_worker.outcome import Outcome

_PR_SET_PDEATHSIG = 1


def _die_with_parent() -> None:
    """Let the kernel end this process with its worker: a killed worker's job must not go on while another one repeats it."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Child:
    """The loop of a child process."""

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection
        self._sending = threading.Lock()
        self._setup = Setup([], "pickle", [])

    def serve(self) -> None:
        """Run jobs until the worker closes the socket."""
        while (data := self._receive()) is not None:
            message = decode_to_child(data)
            if isinstance(message, Setup):
                self._setup = message
                sys.path[:] = message.path
                logging.getLogger().setLevel(message.log_level)
                if message.logs:
                    install_log_factory()
            else:
                self._send(frame(Started()))
                outcome = copy_context().run(self._run, message)
                self._send(frame(ended(outcome)))

    def _receive(self) -> bytes | None:
        head = self._exactly(LENGTH_BYTES)
        return None if head is None else self._exactly(int.from_bytes(head, "big"))

    def _exactly(self, count: int) -> bytes | None:
        parts = bytearray()
        while len(parts) < count:
            part = self._socket.recv(min(count - len(parts), 1 << 20))
            if not part:
                return None
            parts += part
        return bytes(parts)

    def _send(self, data: bytes) -> None:
        with self._sending:
            self._socket.sendall(data)

    def _report(self, done: float, total: float | None, note: str) -> None:
        self._send(frame(Report(done, total, note)))

    def _log(self, line: LogLine) -> None:
        self._send(frame(Line(line)))

    def _run(self, message: Run) -> Outcome:
        envelope = decode_envelope(message.envelope)
        policy = envelope.opt.retry
        context = JobContext(
            job_id=envelope.id,
            queue=message.queue,
            function=envelope.fn,
            attempt=message.attempt,
            fence=message.fence,
            enqueued_at=datetime.fromtimestamp(envelope.at, UTC),
            workflow=envelope.workflow,
            _parents=message.parents,
            _report=self._report,
            _log=self._log,
            _keeps_logs=self._setup.logs,
        )
        set_current_job(context)
        try:
            function, args, kwargs = prepare(envelope, message.parents, self._setup.serializer, self._setup.allowed)
            value = asyncio.run(function(*args, **kwargs)) if is_async(function) else function(*args, **kwargs)
            return of_value(value, self._setup.serializer)
        except BaseException as error:  # noqa: BLE001 - the boundary: every error is an outcome
            return of_error(error, policy)
        finally:
            set_current_job(None)


def main() -> None:
    """Serve the socket given by its file descriptor."""
    _die_with_parent()
    for each in SIGNALS:
        signal.signal(each, signal.SIG_IGN)  # Ctrl-C and systemd reach the whole group: the worker decides, and kills
    # The pipe breaks when the worker is gone: no reason to go on.
    broken = contextlib.suppress(BrokenPipeError, ConnectionResetError)
    with socket.socket(fileno=int(sys.argv[1])) as connection, broken:
        Child(connection).serve()


if __name__ == "__main__":
    main()
