"""Checks of values that users and remote senders give: each returns the exact value that is then used.

A subclass can look like its base to a check and like something else afterwards: a member of a `(str, Enum)` equals its value, but
is formatted as `Names.MAIL` into a subject. Therefore a check never hands on the object it was given, only a plain `str`, `int`,
`float` or `bool`, or a `datetime` in UTC.
"""

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from naq_core.errors import InvalidOptionError, shown

T = TypeVar("T")

LONGEST_TIME = 1e9
"""Seconds, some 31 years: a longer delay or time-out overflows what the server or an event loop can hold."""
LARGEST_COUNT = 2**31 - 1
_LONE = re.compile("[\ud800-\udfff]")


def exact_text(value: object) -> str | None:
    """Return text as a plain `str` (of an enum member its value), and None for what is not text."""
    return str.__str__(value) if isinstance(value, str) else None


def from_system(value: str) -> str:
    """Return text of the command line or the environment as it was meant, although the locale may be C or POSIX.

    Python then decodes what is not ASCII to lone surrogates. NAQ takes the bytes for UTF-8, whatever the locale.

    Raises:
        ValueError: The bytes are not UTF-8.
    """
    return utf8(value.encode("utf-8", "surrogateescape")) if _LONE.search(value) else value


def utf8(data: bytes) -> str:
    """Return UTF-8 as text, without a byte order mark.

    Raises:
        ValueError: It is not UTF-8. Unlike the codec's own error, this one does not hold the data, which may be a secret.
    """
    found = data.decode("utf-8-sig", "surrogateescape")
    if _LONE.search(found):
        raise ValueError("it is not UTF-8 text")
    return found


def text(value: object, name: str, most: int = 10_000) -> str:
    """Return text as a plain `str`.

    Raises:
        InvalidOptionError: It is not text, longer than `most` characters, or holds lone surrogates, which are not Unicode text.
    """
    found = exact_text(value)
    if found is None:
        raise InvalidOptionError(name, f"must be text, not a {type(value).__name__}")
    if len(found) > most:
        raise InvalidOptionError(name, f"must have at most {most:,} characters, not {len(found):,}")
    try:
        found.encode()
    except UnicodeEncodeError as error:
        raise InvalidOptionError(name, f"{found!r} is not Unicode text: {error.reason}") from None
    return found


def whole(value: object, name: str, least: int, most: int = LARGEST_COUNT) -> int:
    """Return a whole number as a plain `int`.

    Raises:
        InvalidOptionError: It is not an `int` (True and False are not), or out of range.
    """
    if isinstance(value, bool) or not isinstance(value, int) or not least <= int.__int__(value) <= most:
        raise InvalidOptionError(name, f"{shown(value)} is not an integer from {least:,} to {most:,}")
    return int.__int__(value)


def number(value: object, name: str, least: float, most: float) -> float:
    """Return a number as a plain `float`.

    Raises:
        InvalidOptionError: It is not a number, not finite, or out of range.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        plain = int.__int__(value) if isinstance(value, int) else float.__float__(value)
        if least <= plain <= most:  # never true of NaN
            return float(plain)
    raise InvalidOptionError(name, f"{shown(value)} is not a number from {least:g} to {most:g}")


def seconds(value: object, name: str, least: float = 0.0) -> float:
    """Return a delay in seconds.

    Raises:
        InvalidOptionError: It is neither a `timedelta` nor a finite number, or not between `least` and 1e9 seconds.
    """
    plain: object = timedelta.total_seconds(value) if isinstance(value, timedelta) else value
    try:
        return number(plain, name, least, LONGEST_TIME)
    except InvalidOptionError:
        problem = f"{shown(value)} is not a delay: use a timedelta or seconds from {least:g} to 1e9"
        raise InvalidOptionError(name, problem) from None


def patience(value: object, name: str = "timeout") -> float | None:
    """Return how many seconds to wait; None means as long as it takes.

    Raises:
        InvalidOptionError: As `seconds`.
    """
    return None if value is None else seconds(value, name)


def flag(value: object, name: str) -> bool:
    """Return a `bool`.

    Raises:
        InvalidOptionError: It is anything else: the text `"false"` would count as true.
    """
    if value is True or value is False:
        return value
    raise InvalidOptionError(name, f"must be True or False, not {shown(value)}")


def members(value: Iterable[T], name: str, what: str) -> list[T]:
    """Return what a list, a generator or the like holds.

    Args:
        what: Should have been given, for the message.

    Raises:
        InvalidOptionError: It is something else, or text.
    """
    if isinstance(value, str | bytes) or not isinstance(value, Iterable):
        raise InvalidOptionError(name, f"takes {what}, not {shown(value)}")
    return list(value)


def aware(value: object, name: str) -> datetime:
    """Return an aware time as a plain `datetime` in UTC.

    Raises:
        InvalidOptionError: It is not a `datetime`, naive (ambiguous time zone), or outside the years 1 to 9999 UTC.
    """
    if not isinstance(value, datetime):
        raise InvalidOptionError(name, f"{shown(value)} is not a datetime")
    try:
        offset = value.utcoffset()
        if offset is not None:
            parts = (value.year, value.month, value.day, value.hour, value.minute, value.second, value.microsecond)
            return datetime(*parts, tzinfo=UTC) - offset
    except Exception as error:  # a time zone is code of its own; the smallest and largest times overflow
        raise InvalidOptionError(name, f"{shown(value)} cannot be expressed in UTC: {error}") from error
    raise InvalidOptionError(
        name,
        f"{value.isoformat()} has no time zone: write datetime.now(UTC) + …, or {name}.astimezone() for local time",
    )
