"""Turns raw setting values (text, TOML values, arguments) into checked ones."""

import re
from collections.abc import Iterable
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

_UNITS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|)", re.IGNORECASE)
_TOKEN = re.compile(r"[A-Za-z0-9_-]+")
_INBOX = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
LEAST_KEY = 16
"""Characters of a signing key."""
_CHOICES = {
    "job_events": ("keep", "on", "off"),
    "job_logs": ("on", "off"),
    "job_serializer": ("pickle", "json"),
    "log_level": ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"),
}


def parse_duration(value: object) -> timedelta:
    """Turn `30`, `1.5`, `"30s"`, `"5m"`, `"1h"`, `"7d"` or a timedelta into a timedelta.

    Args:
        value: A bare number counts seconds; the units are ms, s, m, h and d.

    Returns:
        The duration, never negative.

    Raises:
        ValueError: The value is none of these forms, negative, or too large.
    """
    allowed = "a duration such as 30, '30s', '5m', '1h' or '7d'"
    try:
        if isinstance(value, timedelta):
            duration = value
        elif isinstance(value, int | float) and not isinstance(value, bool):
            duration = timedelta(seconds=value)
        elif isinstance(value, str) and (match := _DURATION.fullmatch(value.strip())):
            duration = timedelta(seconds=float(match[1]) * _UNITS[match[2].lower()])
        else:
            raise ValueError(f"must be {allowed}")
    except OverflowError as error:
        raise ValueError(f"is too large; give {allowed}") from error
    if duration < timedelta(0):
        raise ValueError(f"must not be negative; give {allowed}")
    return duration


def redact_url(url: str) -> str:
    """Hide the user information of one NATS address or of a comma list of them.

    Args:
        url: Such as `nats://user:secret@host:4222`.

    Returns:
        The same text with everything before each `@` replaced by `***`.
    """
    return ",".join(re.sub(r"^(\s*[a-z]+://)?.*@", r"\1***@", part) for part in url.split(","))


def whole_number(value: object) -> int:
    """Return an int, or raise ValueError."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, str) and re.fullmatch(r"[+-]?\d{1,9}", value.strip()):
        return int(value)
    raise ValueError(f"must be a whole number, not {value!r}")


def names(value: object) -> tuple[str, ...]:
    """Return the parts of a list, or of text with commas or line breaks, or raise ValueError."""
    if isinstance(value, str):
        value = value.replace("\n", ",").split(",")
    if not isinstance(value, Iterable):
        raise ValueError(f"must be a list, not a {type(value).__name__}")  # noqa: TRY004 - as above
    names = tuple(str(item).strip() for item in value)
    return tuple(name for name in names if name)


_LEAST_NUMBER = {"replicas": 1, "concurrency": 1, "max_crashes": 1, "max_in_flight": 1, "processes": 0, "large_threshold": 0}
_LEAST_DURATION = {
    "result_ttl": 1.0,
    "failure_ttl": 1.0,
    "dead_ttl": 1.0,
    "ack_wait": 1.0,
    "heartbeat_interval": 0.1,
    "worker_ttl": 1.0,
    "scheduler_ttl": 2.0,
    "publish_timeout": 0.1,
    "large_ttl": 60.0,
    "audit_ttl": 3600.0,
}
_FUNCTION_NAME = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*(:\*|\.\*|:[^\W\d]\w*(\.[^\W\d]\w*)*)")
_TOKEN_RULE = (_TOKEN, "letters, digits, '_' and '-'")
_PATTERNS = {
    "namespace": _TOKEN_RULE,
    "default_queue": _TOKEN_RULE,
    "nats_inbox_prefix": (_INBOX, "letters, digits, '_' and '-', with dots between,"),
}


def check(name: str, value: Any) -> None:
    """Raise ValueError, saying what is allowed, when the value is outside its range."""
    _check_range(name, value)
    if name in _CHOICES and value not in _CHOICES[name]:
        raise ValueError(f"must be one of {', '.join(_CHOICES[name])}, not {value!r}")
    if name in _PATTERNS and not _PATTERNS[name][0].fullmatch(value):
        raise ValueError(f"may hold {_PATTERNS[name][1]} only, not {value!r}")
    match name:
        case "nats_url":
            _check_url(value)
        case "signing_key" if any(len(key) < LEAST_KEY for key in value):
            raise ValueError(f"takes keys of at least {LEAST_KEY} characters; make one with `openssl rand -hex 32`")
        case "allowed_functions":
            for wrong in (item for item in value if not _FUNCTION_NAME.fullmatch(item)):
                raise ValueError(f"takes module:qualname, module:* or module.*, not {wrong!r}")
        case _:
            pass


def _check_range(name: str, value: Any) -> None:
    if name in _LEAST_NUMBER and value < _LEAST_NUMBER[name]:
        raise ValueError(f"must be at least {_LEAST_NUMBER[name]}, not {value}")
    if name == "replicas" and value > 5:
        raise ValueError(f"must be at most 5, not {value}")
    if name in _LEAST_DURATION and value.total_seconds() < _LEAST_DURATION[name]:
        raise ValueError(f"must be at least {_LEAST_DURATION[name]:g} s, not {value}")


def _check_url(value: str) -> None:
    allowed = "nats://host:port (also tls, ws and wss; several with commas)"
    for part in value.split(","):
        address = part.strip()
        try:
            parts = urlsplit(address if "://" in address else f"nats://{address}")
            usable = bool(parts.hostname) and (parts.port is None or parts.port > 0)
        except ValueError as error:
            raise ValueError(f"must be {allowed}, not {redact_url(address)!r}") from error
        if not usable or parts.scheme not in {"nats", "tls", "ws", "wss"}:
            raise ValueError(f"must be {allowed}, not {redact_url(address)!r}")
