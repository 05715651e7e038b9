"""The one place that decodes what was read from the server (`docs/adr/0032-stored-state-is-untrusted.md`).

Anybody who may publish can store anything under NAQ's subjects. A `Decoder` turns whatever is wrong with a document into one
typed error, and the types below bound its numbers, so that code behind it can compute with them.
"""

import logging
import re
from collections import OrderedDict
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, Literal, TypeAlias, TypeVar

import msgspec

from naq_core.errors import UnreadableError

T = TypeVar("T")

Instant: TypeAlias = Annotated[float, msgspec.Meta(ge=0.0, le=253_402_300_799.0)]
"""Seconds since the epoch, up to the end of the year 9999; 0 where there is no time."""
Duration: TypeAlias = Annotated[float, msgspec.Meta(ge=0.0, le=1e9)]
"""Seconds."""
Count: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
"""A number of things, or a stream sequence."""

LONGEST_REASON = 300
REMEMBERED = 1000
_FRACTION = re.compile(r"\.(\d{1,6})\d*")
_told: OrderedDict[str, str] = OrderedDict()


class Decoder(Generic[T]):
    """Decodes one kind of stored document.

    Args:
        what: What it is, for people: `the record of a job`.
        kind: The type to decode to.
        form: How it is written.
        check: Looks at what types cannot say; raises `ValueError` with the reason.
    """

    __slots__ = ("_check", "_decode", "_what")

    def __init__(
        self, what: str, kind: type[T], form: Literal["json", "msgpack"] = "json", check: Callable[[T], None] | None = None
    ) -> None:
        self._what = what
        self._check = check
        self._decode: Callable[[bytes], T] = (msgspec.json if form == "json" else msgspec.msgpack).Decoder(kind).decode

    def decode(self, data: bytes) -> T:
        """Return the document.

        Raises:
            UnreadableError: The document is malformed or has an impossible value.
        """
        try:
            found = self._decode(data)
            if self._check is not None:
                self._check(found)
        # UnicodeDecodeError is a ValueError; RecursionError is what deep nesting ends in.
        except (msgspec.MsgspecError, ValueError, TypeError, LookupError, ArithmeticError, RecursionError) as error:
            raise UnreadableError(self._what, reason_of(error)) from error
        return found


def check_value(what: str, found: Any, kind: type[T]) -> T:
    """Return a decoded value as another type, checked.

    Raises:
        UnreadableError: It is not of that type.
    """
    try:
        return msgspec.convert(found, kind)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise UnreadableError(what, reason_of(error)) from error


def whole(text: str, most: int = 2**53) -> int | None:
    """Return the number that decimal digits stand for, None of any other text and of one above `most`."""
    if not (text.isascii() and text.isdecimal() and len(text) <= len(str(most))):
        return None
    number = int(text)
    return number if number <= most else None


def parse_instant(text: str) -> datetime | None:
    """Return RFC 3339 text (nanoseconds cut to microseconds) as a time, None for anything else."""
    try:
        found = datetime.fromisoformat(_FRACTION.sub(r".\1", text))
    except (ValueError, OverflowError):
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def reason_of(error: Exception) -> str:
    """Return what is wrong with a document, in one line."""
    if isinstance(error, RecursionError):
        return "it is nested too deeply"
    if isinstance(error, UnicodeDecodeError):
        return "its text is not UTF-8"
    return " ".join(str(error).split())[:LONGEST_REASON] or type(error).__name__


def complain(log: logging.Logger, key: str, error: Exception | str, meant: str) -> None:
    """Log that a document cannot be read, once for each key and reason: it is read again and again.

    Args:
        meant: What it is taken for.
    """
    text = str(error)
    if _told.get(key) == text:
        return
    _told[key] = text
    _told.move_to_end(key)
    while len(_told) > REMEMBERED:
        _told.popitem(last=False)
    log.warning("%s: %s. It is treated as %s; naq doctor lists unreadable documents", key, text, meant)
