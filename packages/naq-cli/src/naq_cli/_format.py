"""Values as text: relative times and short numbers for people, exact ones for programs."""

from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any

from naq_core.names import listed
from naq_core.wording import span

STATE_COLORS = {
    "queued": "cyan",
    "held": "blue",
    "running": "yellow",
    "retrying": "magenta",
    "succeeded": "green",
    "dead": "red",
    "cancelled": "bright_black",
    "expired": "bright_black",
    "paused": "yellow",
    "late": "bold red",
    "ok": "green",
    "warning": "yellow",
    "problem": "red",
}

NOTHING = "\N{EN DASH}"


def as_time(value: datetime | float | None) -> datetime | None:
    """Return an instant from a datetime or from seconds since the epoch, where 0 means none."""
    if isinstance(value, datetime):
        return value
    return datetime.fromtimestamp(value, UTC) if value else None


def iso(value: datetime) -> str:
    """Return an instant as ISO 8601 in UTC, to the millisecond."""
    return value.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def relative(value: datetime, now: datetime | None = None) -> str:
    """Return an instant as seen from now: `just now`, `5m ago`, `in 2h`."""
    seconds = ((now or datetime.now(UTC)) - value).total_seconds()
    if abs(seconds) < 1:
        return "just now"
    text = span(abs(seconds))
    return f"{text} ago" if seconds > 0 else f"in {text}"


def for_people(value: Any) -> str:
    """Return a cell as people like it."""
    match value:
        case None | "":
            return NOTHING
        case bool():
            return "yes" if value else "no"
        case datetime():
            return relative(value)
        case timedelta():
            return span(value.total_seconds())
        case int():
            return f"{value:,}"
        case float():
            return f"{value:,.3g}"
        case list() | tuple():
            return listed([_text(each) for each in value])
        case _:
            return _text(value)


def for_programs(value: Any) -> str:
    """Return a cell as programs like it: exact, without tabs and line ends, empty where there is nothing."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case datetime():
            return iso(value)
        case timedelta():
            return f"{value.total_seconds():g}"
        case _:
            return _text(value).replace("\t", " ").replace("\r", " ").replace("\n", " ")


def _text(value: Any) -> str:
    match value:
        case Enum():
            return str(value.value)
        case list() | tuple() | set() | frozenset():
            return ", ".join(_text(each) for each in value)
        case dict():
            return ", ".join(f"{key} {_text(each)}" for key, each in value.items())
        case _:
            return printable(str(value))


def printable(text: str) -> str:
    """Replace control characters: what a job says of itself must not drive the terminal."""
    return "".join(each if each.isprintable() or each in "\n\t" else "\N{REPLACEMENT CHARACTER}" for each in text)
