"""How texts, times, numbers and small lines of values are written on pages."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

from markupsafe import Markup

from naq_core import wording
from naq_core.names import is_new_id

__all__ = ["ago", "amount", "duration", "exact_span", "in_queue", "moment", "presentable", "size", "sparkline"]

LONGEST = 100_000
"""Characters of one value on a page; what workers write of results and errors is far shorter."""
_UNSEEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
NOTHING = "\N{EN DASH}"


def presentable(value: Any) -> Any:
    """Return a text without what a page must not hold: control characters, those that turn the direction of others, megabytes."""
    if not isinstance(value, str) or isinstance(value, Markup) or (value.isprintable() and len(value) <= LONGEST):
        return value
    return _UNSEEN.sub("\N{REPLACEMENT CHARACTER}", value if len(value) <= LONGEST else f"{value[:LONGEST]}…")


def moment(value: datetime | float | None) -> datetime | None:
    """Return an aware datetime of seconds since the epoch, or of what is one already; None for nothing."""
    if isinstance(value, datetime) or not value:
        return value if isinstance(value, datetime) else None
    try:
        return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):  # records come from anybody who may write them
        return None


def ago(value: datetime | float | None, empty: str = NOTHING) -> Markup:
    """Write an instant; the browser's script turns it into a distance from now; without it the time is shown."""
    at = moment(value)
    if at is None:
        return Markup('<span class="none">{}</span>').format(empty)
    at = at.astimezone(UTC)
    text = at.strftime("%H:%M:%S") if abs(datetime.now(UTC) - at) < timedelta(hours=20) else at.strftime("%d %b %H:%M")
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        at.isoformat(timespec="milliseconds").replace("+00:00", "Z"), at.strftime("%Y-%m-%d %H:%M:%S UTC"), text
    )


def duration(value: timedelta | float | None) -> str:
    """Write a length of time for people; a clock that went backwards makes it `0s`, never negative."""
    if value is None:
        return NOTHING
    return wording.span(value.total_seconds() if isinstance(value, timedelta) else value)


def amount(value: float | None) -> str:
    """Write a number with thin spaces between thousands."""
    if value is None:
        return NOTHING
    if isinstance(value, float) and not value.is_integer():
        return f"{value:,.1f}".replace(",", "\u202f")
    return f"{int(value):,}".replace(",", "\u202f")


def exact_span(seconds: float | None) -> str:
    """Write a length of time as forms and settings read it; nothing for None."""
    return "" if seconds is None else wording.exact_span(seconds)


def size(count: float | None) -> str:
    """Write a number of bytes."""
    return NOTHING if count is None else wording.size(count)


def sparkline(values: Iterable[float], label: str, width: int = 96, height: int = 24) -> Markup:
    """Draw a small line of values as SVG."""
    points = list(values)
    top = max(points, default=0) or 1
    step = width / max(1, len(points) - 1)
    line = " ".join(f"{i * step:.1f},{height - 2 - value / top * (height - 4):.1f}" for i, value in enumerate(points))
    if len(points) < 2:
        return Markup('<span class="none">{}</span>').format(NOTHING)
    return Markup(
        '<svg class="sparkline" width="{w}" height="{h}" viewBox="0 0 {w} {h}" role="img" aria-label="{label}">'
        '<polygon points="0,{h} {line} {w},{h}"/><polyline points="{line}"/></svg>'
    ).format(w=width, h=height, label=label, line=line)


def in_queue(job_id: str, queue: str) -> dict[str, str]:
    """Return what a link or button must name besides a job's id: its queue, unless NAQ made the id, which is then unique."""
    return {"queue": queue} if queue and not is_new_id(job_id) else {}
