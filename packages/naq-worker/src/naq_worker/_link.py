"""The connection between a supervised worker process and its supervisor: the worker's end, and the words of both.

Not signals: a Ctrl-C and a service manager's stop reach all processes of a group, and a signal that the supervisor passed on
would count as the second one. How hard a worker is to stop is a level, which does not change when it is said twice.
"""

import contextlib
import logging
import os
import socket
import threading

from naq_core.logs import ServiceHandler
from naq_worker._leaving import Deadline
from naq_worker._own_metrics import FigureReader, encode_figures
from naq_worker.worker import Worker

log = logging.getLogger(__name__)

STOP, STOP_NOW = b"1", b"2"
"""From the supervisor: finish the running jobs, or return them to their queues."""
READY, NOT_READY = b"+", b"-"
"""From the worker, when it changes and every second: it takes jobs, or does not. Without them its event loop is blocked."""
FIGURES = b"#"
"""From the supervisor: what have you counted? And before the worker's answer, which is a length of four bytes and JSON."""
ORPHANED = 1
"""The exit code of a process whose supervisor is gone."""
MARGIN = 15.0
"""Seconds after its grace in which a worker ends in any case; then the process is killed."""


class NumberFilter(logging.Filter):
    """Gives each record the number of this process, as `worker_process`; refuses none."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self._number = number

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the field."""
        vars(record).setdefault("worker_process", self._number)
        return True


class SupervisorLink:
    """The worker's end, listened to by a thread of its own: neither imports nor a blocked event loop can stop it.

    Where the supervisor is gone, the worker finishes its jobs and the process ends.

    Args:
        descriptor: Of the socket.
        number: Of this process among those of the supervisor, for its log lines.
        grace: Seconds that the worker may take to finish its jobs.
    """

    def __init__(self, descriptor: int, number: int, grace: float) -> None:
        self._log_filter = NumberFilter(number)
        self._socket = socket.socket(fileno=descriptor)
        self._socket.set_inheritable(False)
        self._grace = grace
        self._lock = threading.Lock()
        self._sending = threading.Lock()
        self._worker: Worker | None = None
        self._level = b""
        self._was_ready = False
        self._figures: FigureReader | None = None
        threading.Thread(target=self._listen, name="naq-supervisor", daemon=True).start()

    def attach(self, worker: Worker) -> None:
        """Obey for this worker from now on, and in what was said before; number its log lines."""
        for handler in logging.getLogger().handlers:
            if isinstance(handler, ServiceHandler):
                handler.addFilter(self._log_filter)
        worker.keep_figures()
        with self._lock:
            self._worker = worker
            self._obey()

    def report(self, worker: Worker) -> None:
        """Tell the supervisor whether the worker is ready, if that has changed."""
        if worker.is_ready != self._was_ready:
            self.beat(worker)

    def beat(self, worker: Worker) -> None:
        """Tell the supervisor that the event loop turns, and whether the worker is ready."""
        if self._figures is None:
            self._figures = FigureReader(worker)
        if not self._sending.acquire(blocking=False):
            return  # an answer is being sent; the next beat comes in a second
        try:
            # A supervisor that is frozen must not block the event loop; of one that is gone the thread takes note.
            with contextlib.suppress(OSError):
                self._socket.send(READY if worker.is_ready else NOT_READY, socket.MSG_DONTWAIT)
                self._was_ready = worker.is_ready
        finally:
            self._sending.release()

    def _listen(self) -> None:
        while said := self._receive():
            if FIGURES in said:
                self._tell_figures()
            with self._lock:
                self._level = max(self._level, *(bytes([each]) for each in said.replace(FIGURES, b"")), b"")
                self._obey()
        with self._lock:
            if self._worker is None:
                os._exit(ORPHANED)
            log.error("the supervisor of worker %s is gone; finishing the running jobs", self._worker.worker_id)
            self._level = max(self._level, STOP)
            self._obey()
        Deadline(self._grace + MARGIN, ORPHANED)

    def _tell_figures(self) -> None:
        body = b"" if self._figures is None else encode_figures(self._figures.wait())
        with self._sending, contextlib.suppress(OSError):
            self._socket.sendall(FIGURES + len(body).to_bytes(4, "big") + body)

    def _receive(self) -> bytes:
        try:
            return self._socket.recv(64)
        except OSError:
            return b""

    def _obey(self) -> None:
        if self._worker is None or not self._level:
            return
        with contextlib.suppress(RuntimeError):  # it has ended, and its event loop is closed
            if self._level == STOP_NOW:
                self._worker.stop_now()
            else:
                self._worker.stop()
