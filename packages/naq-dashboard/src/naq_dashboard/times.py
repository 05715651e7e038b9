"""In which zone a page writes its times: one for tables, logs, schedules and charts."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta, tzinfo

from markupsafe import Markup

from naq_core.cron import find_zone
from naq_core.errors import NaqError
from naq_dashboard.languages import N_, _

__all__ = ["UTC_NAME", "ago", "clock", "moment", "stamp", "written_in", "zone_name", "zone_of_name"]

UTC_NAME = "UTC"
LONGEST = 64
MONTHS = (
    N_("Jan"),
    N_("Feb"),
    N_("Mar"),
    N_("Apr"),
    N_("May"),
    N_("Jun"),
    N_("Jul"),
    N_("Aug"),
    N_("Sep"),
    N_("Oct"),
    N_("Nov"),
    N_("Dec"),
)

_zone: ContextVar[tzinfo] = ContextVar("naq_dashboard_zone", default=UTC)


def zone_name(asked: str) -> str:
    """Return the name of a zone if there is one of that name, else UTC."""
    if not asked or len(asked) > LONGEST:
        return UTC_NAME
    try:
        find_zone(asked)
    except NaqError:
        return UTC_NAME
    return asked


def zone_of_name(name: str) -> tzinfo:
    """Return the zone of a name that `zone_name` has returned."""
    return UTC if name == UTC_NAME else find_zone(name)


@contextmanager
def written_in(name: str) -> Iterator[None]:
    """Write times in a zone until the block ends."""
    token = _zone.set(zone_of_name(name))
    try:
        yield
    finally:
        _zone.reset(token)


def moment(value: datetime | float | None) -> datetime | None:
    """Return an aware datetime of seconds since the epoch, or of what is one already; None for nothing."""
    if isinstance(value, datetime) or not value:
        return value if isinstance(value, datetime) else None
    try:
        return datetime.fromtimestamp(value, UTC)
    except (ValueError, OverflowError, OSError):  # records come from anybody who may write them
        return None


def _day(at: datetime) -> str:
    return f"{at:%d} {_(MONTHS[at.month - 1])}"


def stamp(at: datetime) -> str:
    """Write a moment in full, with its zone."""
    return f"{at.astimezone(_zone.get()):%Y-%m-%d %H:%M:%S %Z}"


def clock(at: datetime, *, with_day: bool = False) -> str:
    """Write the time of day, with the day if that is asked for."""
    there = at.astimezone(_zone.get())
    return f"{_day(there)} {there:%H:%M:%S}" if with_day else f"{there:%H:%M:%S}"


def ago(at: datetime | None, empty: str) -> Markup:
    """Write a moment; in the browser it becomes a relative time that ticks, unless absolute ones were chosen there."""
    if at is None:
        return Markup('<span class="none">{}</span>').format(empty)
    at = at.astimezone(_zone.get())
    is_near = abs(datetime.now(UTC) - at) < timedelta(hours=20)
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        stamp(at),
        f"{at:%H:%M:%S}" if is_near else f"{_day(at)} {at:%H:%M}",
    )
