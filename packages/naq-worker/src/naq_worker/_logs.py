"""The log lines a job writes: caught where `logging` makes them, kept with the job."""

import logging
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from naq_core.context import JobContext, running_job
from naq_core.record import LogLine

MOST_LINES = 200
MOST_CHARACTERS = 16 * 1024
TRACEBACK_LINES = 20
_OWN = ("naq_core.", "naq_worker.", "sentry_sdk.")
"""Loggers that speak of themselves; that of Sentry's SDK has the level DEBUG and a filter, which is asked later."""
_PROBE = "naq_log_factory"

_lock = threading.RLock()
"""One thread may come twice: a destructor that logs can run anywhere."""


class JobLog:
    """The newest lines of a job, bounded; written to from any thread."""

    __slots__ = ("_characters", "_lines")

    def __init__(self, lines: Iterable[LogLine] = ()) -> None:
        self._lines: deque[LogLine] = deque(lines)
        self._characters = sum(len(line.message) for line in self._lines)

    def add(self, line: LogLine) -> None:
        """Add a line and drop the oldest ones above the bounds."""
        with _lock:
            self._lines.append(line)
            self._characters += len(line.message)
            while len(self._lines) > MOST_LINES or (self._characters > MOST_CHARACTERS and len(self._lines) > 1):
                self._characters -= len(self._lines.popleft().message)

    def lines(self) -> list[LogLine]:
        """Return a copy."""
        with _lock:
            return list(self._lines)


def install_log_factory() -> None:
    """Give what jobs log to them, from now on: install a factory of log records, once per process.

    At the record factory and not by a handler: a handler on the root logger would keep `logging.basicConfig` from working
    afterwards, and turn off the warnings that Python prints where nothing is configured. It is never removed: others (tracers,
    structured logging) wrap it in theirs, and take it along. Outside of jobs it only calls the factory before it.
    """
    with _lock:
        if not _is_installed():
            logging.setLogRecordFactory(_factory(logging.getLogRecordFactory()))


def _is_installed() -> bool:
    """Whether the current factory calls ours, however many others are around it: ask it for a record, which ours marks."""
    record = logging.getLogRecordFactory()(_PROBE, logging.DEBUG, "", 0, "", (), None)
    return getattr(record, _PROBE, None) is running_job


def _factory(before: Callable[..., logging.LogRecord]) -> Callable[..., logging.LogRecord]:
    def make_record(*args: Any, **kwargs: Any) -> logging.LogRecord:
        """Make a log record as before, and give its text to the job that runs in this context."""
        record = before(*args, **kwargs)
        if args and args[0] == _PROBE:
            setattr(record, _PROBE, running_job)  # of this version of the module: it may have been imported again since
        job = running_job()
        # A name is missing where `logging.makeLogRecord` rebuilds the record of another process.
        if job is not None and job._keeps_logs and record.name and not record.name.startswith(_OWN):  # noqa: SLF001
            _keep(job, record)
        return record

    return make_record


def _keep(job: JobContext, record: logging.LogRecord) -> None:
    try:
        message = record.getMessage()
        if record.exc_info and record.exc_info[1] is not None:
            message += "\n" + "".join(traceback.format_exception(record.exc_info[1], limit=-TRACEBACK_LINES)).rstrip()
        job.log(message, record.levelname)
    except Exception:  # noqa: BLE001, S110 - arguments that do not fit the format: the handlers report that
        pass
