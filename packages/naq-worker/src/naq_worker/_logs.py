"""The log lines a job writes: caught where `logging` makes them, kept with the job."""

import logging
import threading
import traceback
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from naq_core.context import running_job
from naq_core.record import LogLine

MOST_LINES = 200
MOST_CHARACTERS = 16 * 1024
TRACEBACK_LINES = 20
_OWN = ("naq_core.", "naq_worker.")

_lock = threading.RLock()
"""One thread may come twice: a destructor that logs can run anywhere."""
_users = 0
_before: Any = None


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


def _make_record(*args: Any, **kwargs: Any) -> logging.LogRecord:
    """Make a log record as ever, and give its text to the job that runs in this context."""
    record: logging.LogRecord = _before(*args, **kwargs)
    job = running_job()
    if job is not None and not record.name.startswith(_OWN):
        try:
            message = record.getMessage()
            if record.exc_info and record.exc_info[1] is not None:
                message += "\n" + "".join(traceback.format_exception(record.exc_info[1], limit=-TRACEBACK_LINES)).rstrip()
            job.log(message, record.levelname)
        except Exception:  # noqa: BLE001, S110 - arguments that do not fit the format: the handlers report that
            pass
    return record


@contextmanager
def catch_logs() -> Iterator[None]:
    """Catch the lines of jobs meanwhile.

    At the record factory and not by a handler: a handler on the root logger would keep `logging.basicConfig` from working
    afterwards, and turn off the warnings that Python prints where nothing is configured.
    """
    global _users, _before  # noqa: PLW0603 - logging has one factory per process
    with _lock:
        _users += 1
        if _users == 1:
            _before = logging.getLogRecordFactory()
            logging.setLogRecordFactory(_make_record)
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0 and logging.getLogRecordFactory() is _make_record:
                logging.setLogRecordFactory(_before)
