"""Log records of child processes, handled in the worker: they come out in its format, at its levels, through its handlers."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from naq_core.logs import JobFields, enable_own_loggers, is_printed
from naq_core.previews import is_plain


class Relay(logging.Handler):
    """The handler of the root logger in a child process: hands each record over.

    Args:
        send: Takes the name of the logger where the worker is to begin, and the fields of the record.
    """

    def __init__(self, send: Callable[[str, dict[str, Any]], None]) -> None:
        super().__init__()
        self._send = send
        self.addFilter(JobFields())

    def emit(self, record: logging.LogRecord) -> None:
        """Hand a record over, as text where it would have to be pickled; unless a handler of the job's has printed it."""
        if is_printed(record, by_others_than=self):
            return
        try:
            fields = {name: _portable(value) for name, value in vars(record).items()}
            fields["msg"], fields["args"] = _portable(record.getMessage()), None
            if record.exc_info:
                fields["exc_text"] = _portable(record.exc_text or logging.Formatter().formatException(record.exc_info))
            fields["exc_info"] = None
            self._send(_begin_at(record.name), fields)
        except Exception:  # noqa: BLE001 - a record that cannot be written must not fail what logs it
            self.handleError(record)


def _portable(value: Any) -> Any:
    """Return a value as msgpack can carry it: neither long integers nor lone surrogates nor objects."""
    if is_plain(value):
        try:
            msgspec.msgpack.encode(value)
        except (OverflowError, UnicodeEncodeError):
            pass
        else:
            return value
    text = value if isinstance(value, str) else repr(value)
    return text.encode("utf-8", "backslashreplace").decode()


def _begin_at(name: str) -> str:
    """Return the lowest logger whose handlers have not seen a record of this one here."""
    begin = name
    logger: logging.Logger | None = logging.getLogger(name)
    while logger is not None and logger.parent is not None:
        if logger.handlers:
            begin = logger.parent.name
        logger = logger.parent
    return begin


def handle(begin_at: str, fields: Mapping[str, Any]) -> None:
    """Handle a record of a child process in this one."""
    logging.getLogger(begin_at).callHandlers(logging.makeLogRecord(fields))


def levels() -> dict[str, int]:
    """Return the levels that were set in this process, by the names of the loggers."""
    loggers = {name: logger for name, logger in logging.root.manager.loggerDict.items() if isinstance(logger, logging.Logger)}
    return {name: logger.level for name, logger in {"": logging.root, **loggers}.items() if logger.level}


def set_levels(levels: Mapping[str, int]) -> None:
    """Set the levels of these loggers."""
    for name, level in levels.items():
        logging.getLogger(name or None).setLevel(level)


def take_over(relay: Relay) -> None:
    """Log through the relay alone: the worker, which has imported the same modules, has the handlers that they have added."""
    loggers = [each for each in logging.root.manager.loggerDict.values() if isinstance(each, logging.Logger)]
    for logger in (logging.root, *loggers):
        for handler in tuple(logger.handlers):
            logger.removeHandler(handler)
    enable_own_loggers()
    logging.root.addHandler(relay)
