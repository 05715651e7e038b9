"""What values options take: how each kind is checked, and how it is read where there is only text or JSON.

A value is checked in one place, whichever entrance it came through, so that a wrong one gets the same message everywhere. What a
reader does not understand it leaves as it is, for the check to refuse.
"""

import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any, NamedTuple

from naq_core._settings_values import parse_duration
from naq_core.errors import InvalidOptionError, shown
from naq_core.names import check_job_id, check_queue, check_schedule_id, check_signal
from naq_core.queue_policy import LONGEST_KEY
from naq_core.values import aware, exact_text, flag, seconds, text, whole

LATEST = datetime(2199, 1, 1, tzinfo=UTC)
SHORTEST_INTERVAL = 0.01
"""Seconds."""
MOST_TAGS = 32
LONGEST_TAG = 64
MOST_HEADERS = 64
LONGEST_HEADER = 8192
"""Characters of a header's value: as many as W3C baggage may have."""
_TAG = re.compile(rf"[^\s,]{{1,{LONGEST_TAG}}}")
_HEADER = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_INTEGER = re.compile(r"\s*[+-]?\d{1,18}\s*", re.ASCII)
_NUMBER = re.compile(r"\s*[+-]?\d{1,18}(\.\d{1,18})?\s*", re.ASCII)
_FLAGS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}


def _as_it_is(value: Any, now: datetime) -> Any:
    del now
    return value


class Kind(NamedTuple):
    """A kind of value."""

    check: Callable[[Any, str], Any]
    """Returns the exact value that is then used, given a value and the option's name; raises InvalidOptionError."""
    read: Callable[[Any, datetime], Any] = _as_it_is
    """Returns what a program would give, from text or JSON and the present time, from which durations count."""
    schema: Mapping[str, Any] = {"type": "string"}
    """Its JSON schema."""
    choices: tuple[str, ...] = ()
    """The values that there are, where they are few."""
    is_list: bool = False
    """Several values may be given."""
    example: str = ""
    """How a value is written in text."""


def _whole(value: Any, name: str) -> int:
    return whole(value, name, 0)


def _count(value: Any, name: str) -> int:
    return whole(value, name, 1)


def _read_whole(value: Any, now: datetime) -> Any:
    del now
    return int(value) if isinstance(value, str) and _INTEGER.fullmatch(value) else value


def _read_flag(value: Any, now: datetime) -> Any:
    del now
    return _FLAGS.get(value.strip().lower(), value) if isinstance(value, str) else value


def _duration(value: Any, name: str) -> float:
    try:
        return seconds(value, name)
    except InvalidOptionError:
        problem = f"{shown(value)} is not a duration: use seconds from 0 to 1e9 or a timedelta (as text: 30s, 5m, 2h)"
        raise InvalidOptionError(name, problem) from None


def _longer_than_0(value: Any, name: str) -> float:
    found = _duration(value, name)
    if found == 0:
        raise InvalidOptionError(name, "must be longer than 0 seconds")
    return found


def _timeout(value: Any, name: str) -> float:
    found = _duration(value, name)
    if found == 0:
        raise InvalidOptionError(name, "0 would stop every attempt at once; omit it for no limit")
    return found


def _ttl(value: Any, name: str) -> float:
    found = _duration(value, name)
    if found < 1:
        raise InvalidOptionError(name, f"{shown(value)} is below 1 s, the server's granularity")
    return found


def _span(value: Any, name: str) -> float:
    """Return seconds, to the microsecond, also from text: programs and settings files may write a schedule's durations so."""
    return timedelta(seconds=_duration(_read_duration(value), name)).total_seconds()


def _interval(value: Any, name: str) -> float:
    found = _span(value, name)
    if found < SHORTEST_INTERVAL:
        raise InvalidOptionError(name, f"{found:g} s is too short: must be at least {SHORTEST_INTERVAL:g} s")
    return found


def _read_duration(value: Any, now: datetime | None = None) -> Any:
    del now
    if not isinstance(value, str):
        return value
    if _NUMBER.fullmatch(value):
        return float(value) if "." in value else int(value)
    try:
        return parse_duration(value)
    except ValueError:
        return value


def _delays(value: Any, name: str) -> tuple[float, ...]:
    given = (value,) if isinstance(value, int | float | timedelta) else value
    if isinstance(given, str | bytes | bytearray | memoryview) or not isinstance(given, Sequence) or not given:
        raise InvalidOptionError(name, f"{shown(value)} is not a duration or a non-empty list of durations (as text: 1s,10s,60s)")
    return tuple(_duration(each, name) for each in given)


def _read_delays(value: Any, now: datetime) -> Any:
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, list | tuple):
        return value
    found = [_read_duration(part.strip() if isinstance(part, str) else part, now) for part in parts]
    return found[0] if len(found) == 1 else found


def instant(when: object, name: str) -> float:
    """Return an aware time as seconds since the epoch.

    Raises:
        InvalidOptionError: As `_moment`.
    """
    return _moment(when, name).timestamp()


def _moment(when: object, name: str) -> datetime:
    """Return an aware time in UTC.

    Raises:
        InvalidOptionError: It is not a datetime, is naive (ambiguous time zone), or is after 2198.
    """
    if not isinstance(when, datetime):
        problem = f"{shown(when)} is not a time: use an aware datetime (as text: 2026-11-24T12:30:00Z, or 2h from now)"
        raise InvalidOptionError(name, problem)
    moment = aware(when, name)
    if moment >= LATEST:
        raise InvalidOptionError(name, f"{moment.isoformat()} is too far ahead: give a time before {LATEST.year}")
    return moment


def _time(value: Any, name: str) -> datetime:
    return _moment(_read_iso(value), name)


def _read_time(value: Any, now: datetime) -> Any:
    """Return a time from a duration from now, or from ISO 8601 text, which is UTC where it names no zone."""
    if not isinstance(value, str):
        return value
    try:
        length = parse_duration(value)
    except ValueError:
        pass
    else:
        return now + length
    return _read_iso(value)


def _read_iso(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        found = datetime.fromisoformat(value.strip())
    except ValueError:
        return value
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


class LatestStart(float):
    """A latest start as seconds since the epoch, unlike one in seconds from the enqueue."""

    __slots__ = ()


def _expiry(value: Any, name: str) -> float:
    if isinstance(value, datetime):
        at = instant(value, name)
        if at <= 0:  # 0 means never
            raise InvalidOptionError(name, f"{value.isoformat()} is long past: the job would never run")
        return LatestStart(at)
    try:
        found = seconds(value, name)
    except InvalidOptionError:
        problem = f"{shown(value)} is neither seconds from the enqueue (as text: 30s, 5m, 2h) nor a time (2026-11-24T12:30:00Z)"
        raise InvalidOptionError(name, problem) from None
    if found == 0:
        raise InvalidOptionError(name, "must be longer than 0 seconds, or the job would never run")
    return found


def _read_expiry(value: Any, now: datetime) -> Any:
    found = _read_duration(value, now)
    return _read_time(found, now) if isinstance(found, str) else found


def _key(value: Any, name: str) -> str:
    key = exact_text(value)
    if key is None or not 0 < len(key) <= LONGEST_KEY:
        raise InvalidOptionError(name, f"{shown(value)} is not a valid key: use text of 1 to {LONGEST_KEY} characters")
    return key


def _named(check: Callable[[Any], str]) -> Callable[[Any, str], str]:
    """Return the check of a name as that of an option."""
    return lambda value, _: check(value)


def _or_made(check: Callable[[Any, str], str]) -> Callable[[Any, str], Any]:
    """Return a check that a function passes, which makes the value of a job's arguments."""
    return lambda value, name: value if callable(value) else check(value, name)


def _class_names(value: Any, name: str) -> tuple[str, ...]:
    if isinstance(value, type | str):
        value = (value,)
    if not isinstance(value, Iterable):
        raise InvalidOptionError(name, f"{shown(value)} is not a list of exception classes or their names")
    found = []
    for each in value:
        text = exact_text(each)
        if text is not None and text.isprintable() and text and not any(map(str.isspace, text)):
            found.append(text)
        elif isinstance(each, type) and issubclass(each, BaseException):
            found.append(f"{each.__module__}.{each.__qualname__}")
        else:
            raise InvalidOptionError(name, f"{shown(each)} is not an exception class or the name of one")
    return tuple(found)


def _read_names(value: Any, now: datetime) -> Any:
    del now
    parts = [value] if isinstance(value, str) else value
    if not isinstance(parts, list | tuple) or not all(isinstance(part, str) for part in parts):
        return value
    return [name for part in parts for each in part.split(",") if (name := each.strip())]


def _tags(value: Any, name: str) -> tuple[str, ...]:
    given = (value,) if isinstance(value, str) else value
    if isinstance(given, bytes | bytearray | memoryview) or not isinstance(given, Iterable):
        raise InvalidOptionError(name, f"{shown(value)} is not a list of words")
    found = dict.fromkeys(_tag(each, name) for each in given)
    if len(found) > MOST_TAGS:
        raise InvalidOptionError(name, f"must be at most {MOST_TAGS} words, not {len(found):,}")
    return tuple(found)


def _tag(value: Any, name: str) -> str:
    tag = exact_text(value)
    if tag is None or not _TAG.fullmatch(tag) or not tag.isprintable():
        problem = f"{shown(value)} is not a tag: use 1 to {LONGEST_TAG} printable characters without spaces and commas"
        raise InvalidOptionError(name, problem)
    return tag


def _headers(value: Any, name: str) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise InvalidOptionError(name, f"{shown(value)} is not a mapping of names to texts (as text: customer=4711 trace=a1)")
    if len(value) > MOST_HEADERS:
        raise InvalidOptionError(name, f"must be at most {MOST_HEADERS} headers, not {len(value):,}")
    return {_header_name(key, name): _header_text(each, key, name) for key, each in value.items()}


def _header_name(value: Any, name: str) -> str:
    key = exact_text(value)
    if key is None or not _HEADER.fullmatch(key):
        rule = "1 to 64 letters, digits, '_', '-' and '.', beginning with a letter or a digit"
        raise InvalidOptionError(name, f"{shown(value)} is not a header's name: use {rule}")
    return key


def _header_text(value: Any, key: Any, name: str) -> str:
    found = exact_text(value)
    if found is None:
        raise InvalidOptionError(name, f"the header {key!r} must be text, not a {type(value).__name__}")
    return text(found, name, LONGEST_HEADER)


def _read_headers(value: Any, now: datetime) -> Any:
    """Return a mapping from `name=value` words, in one text or in a list; in one text quotes keep spaces together."""
    del now
    try:
        words = shlex.split(value) if isinstance(value, str) else value
    except ValueError:
        return value
    if not isinstance(words, list | tuple) or not words or not all(isinstance(word, str) and "=" in word for word in words):
        return value
    return dict(word.split("=", 1) for word in words)


def _chosen(value: Any, name: str) -> Any:
    if callable(value):
        return value
    given = (value,) if isinstance(value, str) else value
    names = None if isinstance(given, Mapping) or not isinstance(given, Iterable) else tuple(map(exact_text, given))
    if names is None or not all(each is not None and each.isidentifier() for each in names):
        raise InvalidOptionError(name, f"{shown(value)} is neither names of arguments nor a function of them")
    return names


def _any(value: Any, name: str) -> Any:
    del name
    return value


def _cron(value: Any, name: str) -> str:
    return " ".join(text(value, name).split())


def choice(values: Iterable[str]) -> Kind:
    """Return the kind of an option that has one of a few values."""
    known = tuple(str(each) for each in values)

    def check(value: Any, name: str) -> str:
        text = exact_text(value)
        if text not in known:
            raise InvalidOptionError(name, f"{shown(value)} is not one of {', '.join(known)}")
        return text

    return Kind(check, schema={"type": "string", "enum": list(known)}, choices=known)


def clash(values: type[StrEnum]) -> Kind:
    """Return the kind of an option whose value becomes a member of an enumeration."""
    plain = choice(values)
    return plain._replace(check=lambda value, name: values(plain.check(value, name)))


_TIME = {"type": ["string", "number"]}
_SPANS = "30s, 5m or 2h"
_LIST = {"type": ["array", "string"], "items": {"type": "string"}}
_MAPPING = {"type": ["object", "string"], "additionalProperties": {"type": "string"}}

WHOLE = Kind(_whole, _read_whole, {"type": "integer", "minimum": 0})
FLAG = Kind(flag, _read_flag, {"type": "boolean"})
DURATION = Kind(_duration, _read_duration, _TIME, example=_SPANS)
WAIT = Kind(_longer_than_0, _read_duration, _TIME, example=_SPANS)
TIMEOUT = Kind(_timeout, _read_duration, _TIME, example=_SPANS)
TTL = Kind(_ttl, _read_duration, _TIME, example=_SPANS)
DELAYS = Kind(_delays, _read_delays, {"type": ["string", "number", "array"], "items": _TIME}, example="30s or 1s,10s,60s")
MOMENT = Kind(instant, _read_time, example="2026-11-24T12:30:00Z, or 2h from now")
EXPIRY = Kind(_expiry, _read_expiry, _TIME, example="2h or 2026-11-24T12:30:00Z")
KEY = Kind(_key, schema={"type": "string", "maxLength": LONGEST_KEY})
CHOSEN = Kind(_chosen, _read_names, _LIST, is_list=True, example="order_id,customer")
OWNER = Kind(_or_made(_key), schema={"type": "string", "maxLength": LONGEST_KEY})
"""A key, or a function that makes one of a job's arguments."""
SIGNAL = Kind(_or_made(_named(check_signal)), schema={"type": "string", "maxLength": 128}, example="invoice-7:approved")
"""The name of a signal, or a function that makes one of a job's arguments."""
EXCEPTIONS = Kind(_class_names, _read_names, _LIST, is_list=True, example="OSError,shop.errors.Busy")
TAGS = Kind(_tags, _read_names, _LIST, is_list=True, example="billing,vip")
HEADERS = Kind(_headers, _read_headers, _MAPPING, is_list=True, example="customer=4711")
JOBS = Kind(_any, _read_names, _LIST, is_list=True)
"""Jobs and their ids; checked when the dependency is made."""
JOB_ID = Kind(_named(check_job_id))
QUEUE = Kind(_named(check_queue))
COUNT = Kind(_count, _read_whole, {"type": "integer", "minimum": 1})
CRON = Kind(_cron, example="30 9 * * mon-fri or @daily")
"""An expression; it is parsed where its time zone is known."""
ZONE = Kind(text, example="Europe/Berlin")
INTERVAL = Kind(_interval, _read_duration, _TIME, example=_SPANS)
SPAN = Kind(_span, _read_duration, _TIME, example=_SPANS)
TIME = Kind(_time, _read_time, example=MOMENT.example)
SCHEDULE_ID = Kind(_named(check_schedule_id))
