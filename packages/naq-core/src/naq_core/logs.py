"""Setting up logging for a service, around what the user's own modules set up.

The modules of `--imports` are imported first. What they set stays: where the root logger has handlers by then, NAQ adds none.
"""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from naq_core.context import running_job
from naq_core.log_formats import FORMATTERS, JOB_FIELDS
from naq_core.log_lines import LineHandler
from naq_core.settings import Settings

OWN = ("naq", "naq_core", "naq_client", "naq_worker", "naq_scheduler", "naq_dashboard")
"""Top loggers of NAQ."""


class JobFields(logging.Filter):
    """Gives each record the job that its line is from, as `job_id`, `function`, `queue` and `attempt`; refuses none.

    The services' own handler has it. Add it to handlers of yours: `handler.addFilter(JobFields())`.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Add the fields that the record does not have, where the current code is a job's."""
        job = running_job()
        if job is not None:
            for name in JOB_FIELDS:
                vars(record).setdefault(name, getattr(job, name))
        return True


class ServiceHandler(LineHandler):
    """Prints records to standard error, in the form that was asked for, but no record that another handler prints, too.

    Args:
        log_format: console, json or logfmt.
    """

    def __init__(self, log_format: str) -> None:
        super().__init__()
        self.setFormatter(FORMATTERS[log_format]())
        self.addFilter(JobFields())

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record."""
        if not is_printed(record, by_others_than=self):
            super().emit(record)


@contextmanager
def logging_set_up(settings: Settings) -> Iterator[None]:
    """Set logging up for a service, after the body, in which its user's modules are imported.

    What they log meanwhile comes out in the service's form too, if they have not set up logging themselves.
    """
    handler = ServiceHandler(settings.log_format)
    for name in OWN:
        logging.getLogger(name)  # that `logging.config` can disable them, and we enable them again
    logging.getLogger("naq_core.commands").setLevel(settings.log_level)  # says at DEBUG why an import has failed
    before, logging.lastResort = logging.lastResort, handler
    try:
        yield
    finally:
        logging.lastResort = before
        enable_own_loggers()
        _configure(settings, handler)


def _configure(settings: Settings, handler: ServiceHandler) -> None:
    root = logging.getLogger()
    if not root.handlers:
        root.addHandler(handler)
        if root.level == logging.WARNING:  # it was not set
            root.setLevel(settings.log_level)
            return
    if settings.source("log_level") != "default":
        for name in OWN:
            if logging.getLogger(name).level == logging.NOTSET:
                logging.getLogger(name).setLevel(settings.log_level)


def enable_own_loggers() -> None:
    """Undo what `disable_existing_loggers`, which is on by default in `logging.config`, has done to NAQ's loggers."""
    for name, logger in tuple(logging.root.manager.loggerDict.items()):
        if isinstance(logger, logging.Logger) and name.partition(".")[0] in OWN:
            logger.disabled = False


def is_printed(record: logging.LogRecord, by_others_than: logging.Handler) -> bool:
    """Return whether another handler that a record comes to writes to this process's standard output or error."""
    logger: logging.Logger | None = logging.getLogger(record.name)
    while logger is not None:
        for handler in logger.handlers:
            if handler is not by_others_than and record.levelno >= handler.level and _is_console(handler):
                return True
        logger = logger.parent if logger.propagate else None
    return False


def _is_console(handler: logging.Handler) -> bool:
    stream = getattr(handler, "stream", None)
    return stream is not None and any(stream is each for each in (sys.stderr, sys.stdout, sys.__stderr__, sys.__stdout__))


def say(command: str, message: str, log_format: str = "console", level: int = logging.INFO) -> None:
    """Print a message of a command to standard error: a plain line, or a log record where those are for machines."""
    if log_format == "console":
        line = f"naq {command}: {message}"
    else:
        fields = {"name": f"naq.{command}", "levelno": level, "levelname": logging.getLevelName(level), "msg": message}
        line = FORMATTERS[log_format]().format(logging.makeLogRecord(fields))
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def complain(command: str, message: str, code: int, log_format: str = "console") -> int:
    """Say why a command ends, and return its exit code."""
    say(command, message, log_format, logging.CRITICAL)
    return code
