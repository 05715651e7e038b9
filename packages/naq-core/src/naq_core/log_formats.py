"""The forms in which services print log records: for people, as JSON, and as logfmt."""

import json
import logging
import time
from typing import Any

JOB_FIELDS = ("job_id", "function", "queue", "attempt")
"""The attributes of a log record that name the job it is about."""

_KNOWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}  # the last is uvicorn's
_SECONDS = "%Y-%m-%dT%H:%M:%S"


class ConsoleFormatter(logging.Formatter):
    """Lines for people: time in UTC, level, logger and message; behind a message that does not name its job, the job's fields."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s: %(message)s", _SECONDS)
        self.converter = time.gmtime

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the standard library's name
        """Return the line without a traceback."""
        line = super().formatMessage(record)
        fields = vars(record)
        job_id = fields.get("job_id")
        if not isinstance(job_id, str) or job_id in record.message:
            return line
        named = " ".join(f"{name}={_logfmt(fields[name])}" for name in JOB_FIELDS if name in fields)
        return f"{line} [{named}]"


class JsonFormatter(logging.Formatter):
    """A JSON object a line: `time`, `level`, `logger`, `message`, the record's `extra` fields, `exception`, `stack`."""

    def __init__(self) -> None:
        super().__init__()
        self.converter = time.gmtime

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        fields = self.fields(record)
        try:
            return json.dumps(fields, default=_text, allow_nan=False)
        except (TypeError, ValueError, RecursionError):  # a key that is no text, infinity, a list in itself
            return json.dumps({name: value if isinstance(value, str) else _text(value) for name, value in fields.items()})

    def fields(self, record: logging.LogRecord) -> dict[str, Any]:
        """Return what is known of a record, in the order in which it is printed."""
        own: dict[str, Any] = {
            "time": f"{self.formatTime(record, _SECONDS)}.{int(record.msecs):03d}Z",
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_text or record.exc_info:
            own["exception"] = record.exc_text or self.formatException(record.exc_info)  # type: ignore[arg-type]  # one is there
        if record.stack_info:
            own["stack"] = self.formatStack(record.stack_info)
        given = {name: value for name, value in vars(record).items() if name not in _KNOWN and name not in own}
        job = {name: given.pop(name) for name in JOB_FIELDS if name in given}
        trace: dict[str, Any] = {name: own.pop(name) for name in ("exception", "stack") if name in own}
        return {**own, **job, **given, **trace}


class LogfmtFormatter(JsonFormatter):
    """The same fields as in JSON, as `name=value` pairs in one line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        return " ".join(f"{_name(name)}={_logfmt(value)}" for name, value in self.fields(record).items())


FORMATTERS: dict[str, type[logging.Formatter]] = {
    "console": ConsoleFormatter,
    "json": JsonFormatter,
    "logfmt": LogfmtFormatter,
}
"""By the values of the setting `log_format`."""


def _name(name: str) -> str:
    return "".join("_" if letter in '="' or letter.isspace() or not letter.isprintable() else letter for letter in name)


def _logfmt(value: object) -> str:
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    text = value if isinstance(value, str) else _text(value)
    if text and text.isprintable() and not any(letter in ' ="\\' for letter in text):
        return text
    return json.dumps(text, ensure_ascii=not text.isprintable())


def _text(value: object) -> str:
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - whatever a `__str__` raises
        return f"<{type(value).__name__}>"
