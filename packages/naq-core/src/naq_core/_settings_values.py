"""Turns raw setting values (text, TOML values, arguments) into checked ones."""

import base64
import math
import re
from collections.abc import Iterable
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from naq_core.errors import shown
from naq_core.values import LONGEST_TIME, exact_text

_UNITS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|)", re.IGNORECASE)
_SCHEME = re.compile(r"\s*[a-z]+://", re.IGNORECASE)
_ADDRESS = re.compile(
    r"(?P<scheme>\s*(?:[a-z]+://)?)(?P<user>[^?#]*@)?(?P<host>\[[0-9a-f:.]+\]|[\w.-]*)(?P<port>:\d{1,5})?(?P<rest>[/?#].*)?\s*",
    re.IGNORECASE | re.DOTALL,
)
_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,64}")
_INBOX = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*")
LONGEST = timedelta(seconds=LONGEST_TIME)
LEAST_KEY = 16
"""Characters of a signing key."""
_CHOICES = {
    "job_events": ("keep", "on", "off"),
    "job_logs": ("on", "off"),
    "job_serializer": ("pickle", "json"),
    "log_format": ("console", "json", "logfmt"),
    "log_level": ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"),
}


def parse_duration(value: object) -> timedelta:
    """Turn `30`, `1.5`, `"30s"`, `"5m"`, `"1h"`, `"7d"` or a timedelta into a timedelta.

    Args:
        value: A bare number counts seconds; the units are ms, s, m, h and d.

    Returns:
        The duration, never negative.

    Raises:
        ValueError: The value has none of these forms, is negative, or is too large.
    """
    allowed = "a duration such as 30, '30s', '5m', '1h' or '7d'"
    try:
        if isinstance(value, timedelta):
            duration = timedelta(days=value.days, seconds=value.seconds, microseconds=value.microseconds)
        elif isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"must be finite; give {allowed}")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            duration = timedelta(seconds=value)
        elif isinstance(value, str) and (match := _DURATION.fullmatch(value.strip())):
            duration = timedelta(seconds=float(match[1]) * _UNITS[match[2].lower()])
        else:
            raise ValueError(f"must be {allowed}")
    except OverflowError as error:
        raise ValueError(f"is too large; give {allowed}") from error
    if duration > LONGEST:
        raise ValueError(f"is too large, at most {LONGEST.days:,} days; give {allowed}")
    if duration < timedelta(0):
        raise ValueError(f"must not be negative; give {allowed}")
    return duration


def redact_url(url: str) -> str:
    """Hide what may be secret in one address or in a comma list of them: user information, path, query and fragment.

    Args:
        url: Such as `nats://user:secret@host:4222` or `wss://host?token=secret`.

    Returns:
        The same text with `***` in those places. Of what cannot be separated, such as a password with a comma or a question
        mark that is not escaped, nothing but the scheme is left.
    """
    parts = url.split(",")
    shown = [_redacted(part) for part in parts]
    for at, part in enumerate(parts[1:], start=1):
        before = parts[at - 1]
        if "@" in part and "://" not in part and "://" in before and "@" not in before:  # the comma may be one of a password
            shown[at - 1] = f"{_scheme_of(before)}***"
    return ",".join(shown)


def _redacted(address: str) -> str:
    match = _ADDRESS.fullmatch(address)
    if match is None or "@" in (match["rest"] or ""):
        return f"{_scheme_of(address)}***"
    rest = match["rest"] or ""
    user = "***@" if match["user"] else ""
    return f"{match['scheme'] or ''}{user}{match['host']}{match['port'] or ''}{rest if rest in {'', '/'} else f'{rest[0]}***'}"


def _scheme_of(address: str) -> str:
    match = _SCHEME.match(address)
    return "" if match is None else match[0]


def whole_number(value: object) -> int:
    """Return an int, or raise ValueError."""
    if isinstance(value, int) and not isinstance(value, bool):
        return int.__int__(value)
    if isinstance(value, str) and re.fullmatch(r"[+-]?\d{1,9}", value.strip()):
        return int(value)
    raise ValueError(f"must be an integer, not {shown(value)}")


def names(value: object) -> tuple[str, ...]:
    """Return the parts of a list, or of text with commas or line breaks, or raise ValueError."""
    if isinstance(value, str):
        value = value.replace("\n", ",").split(",")
    if isinstance(value, bytes | bytearray) or not isinstance(value, Iterable):
        raise ValueError(f"must be a list, not a {type(value).__name__}")  # noqa: TRY004 - one error type for all
    items = [exact_text(item) for item in value]
    if None in items:
        raise ValueError("must be a list of strings")
    names = tuple(item.strip() for item in items if item is not None)
    return tuple(name for name in names if name)


MIDDLEWARE_SIDES = ("enqueue", "attempt")
"""What a middleware has a method for."""


def middleware(value: object) -> tuple[Any, ...]:
    """Return middleware as it was given: names (`module:name`) in text or in a list, where classes and instances may be, too.

    Raises:
        ValueError: A part of it is neither.
    """
    return tuple(_middleware(each) for each in _members(value))


def _middleware(each: Any) -> Any:
    if isinstance(each, str):
        return _reference(each, "shop.naq:Tracing")
    if any(hasattr(each, side) for side in MIDDLEWARE_SIDES):
        return each
    raise ValueError(f"takes module:name, or classes and instances with a method enqueue or attempt; not {shown(each)}")


def hooks(value: object) -> tuple[Any, ...]:
    """Return hooks as they were given: names (`module:function`) in text or in a list, where functions may be, too.

    Raises:
        ValueError: A part of it is neither.
    """
    return tuple(_hook(each) for each in _members(value))


def _hook(each: Any) -> Any:
    if isinstance(each, str):
        return _reference(each, "shop.naq:open_pool")
    if callable(each) and not isinstance(each, type):
        return each
    raise ValueError(f"takes module:function, or functions; not {shown(each)}")


def _members(value: object) -> Iterable[Any]:
    if isinstance(value, str):
        return names(value)
    if isinstance(value, bytes | bytearray) or not isinstance(value, Iterable):
        raise ValueError(f"must be a list, not a {type(value).__name__}")  # noqa: TRY004 - one error type for all
    return value


def _reference(text: str, example: str) -> str:
    name = str.__str__(text).strip()
    module, colon, rest = name.partition(":")
    if not colon or not all(part.isidentifier() for part in (*module.split("."), *rest.split("."))):
        raise ValueError(f"takes module:name, such as '{example}'; not {shown(name)}")
    return name


_LEAST_NUMBER = {
    "replicas": 1,
    "concurrency": 1,
    "max_crashes": 1,
    "max_in_flight": 1,
    "workers": 1,
    "processes": 0,
    "large_threshold": 0,
}
_MOST_NUMBER = {
    "replicas": 5,
    "concurrency": 100_000,
    "max_crashes": 1_000_000,
    "max_in_flight": 1_000_000,
    "workers": 1_000,
    "processes": 10_000,
    "large_threshold": 2**40,
}
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
_SERVED = re.compile(r"[A-Za-z0-9_*-]{1,64}(=[\d.]+)?")
_ITEMS = {
    "allowed_functions": (_FUNCTION_NAME, "module:qualname, module:* or module.*"),
    "worker_queues": (_SERVED, "names of queues, patterns such as 'cust-*', or name=weight"),
}
_TOKEN_RULE = (_TOKEN, "1 to 64 letters, digits, '_' and '-'")
_PATTERNS = {
    "namespace": _TOKEN_RULE,
    "default_queue": _TOKEN_RULE,
    "jetstream_domain": _TOKEN_RULE,
    "nats_inbox_prefix": (_INBOX, "letters, digits, '_' and '-', with dots between,"),
}


def check(name: str, value: Any) -> None:
    """Raise ValueError, saying what is allowed, when the value is outside its range."""
    _check_range(name, value)
    if name in _CHOICES and value not in _CHOICES[name]:
        raise ValueError(f"must be one of {', '.join(_CHOICES[name])}, not {shown(value)}")
    if name in _PATTERNS and value is not None and not _PATTERNS[name][0].fullmatch(value):
        raise ValueError(f"may contain only {_PATTERNS[name][1]}; not {shown(value)}")
    if name in _ITEMS:
        pattern, allowed = _ITEMS[name]
        for wrong in (item for item in value if not pattern.fullmatch(item)):
            raise ValueError(f"takes {allowed}, not {wrong!r}")
    match name:
        case "nats_url":
            _check_url(value)
        case "signing_key" if any(len(key) < LEAST_KEY for key in value):
            raise ValueError(f"takes keys of at least {LEAST_KEY} characters; make one with `openssl rand -hex 32`")
        case "webhook_secret":
            for secret in value:
                webhook_key(secret)
        case _:
            pass


def webhook_key(secret: str) -> bytes:
    """Return the bytes of a secret of webhooks.

    Raises:
        ValueError: It is not one. The message does not contain it.
    """
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except ValueError:
        key = b""
    if not (secret.startswith("whsec_") and 24 <= len(key) <= 64):
        raise ValueError(
            "takes whsec_ and 24 to 64 bytes as base64: make one with `echo whsec_$(openssl rand -base64 32)`"
        ) from None
    return key


def _check_range(name: str, value: Any) -> None:
    if name in _LEAST_NUMBER and value < _LEAST_NUMBER[name]:
        raise ValueError(f"must be at least {_LEAST_NUMBER[name]}, not {shown(value)}")
    if name in _MOST_NUMBER and value > _MOST_NUMBER[name]:
        raise ValueError(f"must be at most {_MOST_NUMBER[name]:,}")
    if name in _LEAST_DURATION and value.total_seconds() < _LEAST_DURATION[name]:
        raise ValueError(f"must be at least {_LEAST_DURATION[name]:g} s, not {value}")


def _check_url(value: str) -> None:
    allowed = "nats://host:port (also tls, ws and wss; several with commas)"
    if not all(_is_usable(part.strip()) for part in value.split(",")):
        raise ValueError(f"must be {allowed}, not {redact_url(value)!r}")


def _is_usable(address: str) -> bool:
    """Whether an address can be connected to; the error of what cannot would show a part of it."""
    try:
        parts = urlsplit(address if "://" in address else f"nats://{address}")
        return bool(parts.hostname) and (parts.port is None or parts.port > 0) and parts.scheme in {"nats", "tls", "ws", "wss"}
    except ValueError:
        return False
