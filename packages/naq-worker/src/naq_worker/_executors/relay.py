"""Log records of child processes, handled in the worker: they come out in its format, at its levels, through its handlers."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

_PLAIN = (str, int, float, bool, type(None))


class Relay(logging.Handler):
    """The handler of the root logger in a child process: hands each record over.

    Args:
        send: Takes the name of the logger where the worker is to begin, and the fields of the record.
    """

    def __init__(self, send: Callable[[str, dict[str, Any]], None]) -> None:
        super().__init__()
        self._send = send

    def emit(self, record: logging.LogRecord) -> None:
        """Hand a record over, as text where it would have to be pickled."""
        try:
            fields = {name: value if isinstance(value, _PLAIN) else repr(value) for name, value in vars(record).items()}
            fields["msg"], fields["args"] = record.getMessage(), None
            if record.exc_info:
                fields["exc_text"] = record.exc_text or logging.Formatter().formatException(record.exc_info)
            fields["exc_info"] = None
            self._send(_begin_at(record.name), fields)
        except Exception:  # noqa: BLE001 - a record that cannot be written must not fail what logs it
            self.handleError(record)


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


def set_up(levels: Mapping[str, int], relay: Relay) -> None:
    """Log through the relay, at these levels."""
    logging.root.addHandler(relay)
    for name, level in levels.items():
        logging.getLogger(name or None).setLevel(level)
