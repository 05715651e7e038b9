"""Cron expressions: checked before anything else looks at them, and turned into instants by one rule at clock changes.

The rule is Debian cron's (cron(8)). An expression whose minute and hour both begin with something other than `*` means wall
clock times: one that a change skips runs once, right after the change; one that a change repeats runs the first time only.
Any other expression means real time: it runs at every instant whose wall clock time matches, so every half hour stays every
half hour. The expression itself is croniter's, five fields or six with the seconds last.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from naq_core.errors import InvalidScheduleError
from naq_core.values import exact_text

MAX_LENGTH = 200
YEARS = 9
"""How far to look for a date: 29 February is eight years away around a century that is no leap year."""

_NAMES = "jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec|sun|mon|tue|wed|thu|fri|sat"
_VALUE = rf"(?:\d{{1,2}}|{_NAMES})"
_PART = rf"(?:\*|\?|{_VALUE}(?:-{_VALUE})?)(?:/\d{{1,2}})?|{_VALUE}#[1-5]|l{_VALUE}?|\d{{1,2}}w"
_FIELD = re.compile(rf"(?:{_PART})(?:,(?:{_PART}))*", re.ASCII)
_ZONE = re.compile(r"[A-Za-z0-9_+-]{1,32}(/[A-Za-z0-9_+-]{1,32}){0,2}", re.ASCII)
_ALIASES = frozenset({"@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly"})
_ONE_VALUE = re.compile(rf"\b({_VALUE})-\1(?:/\d{{1,2}})?(?![\w/])", re.ASCII)
_FIELD_NAMES = ("minute", "hour", "day of the month", "month", "day of the week", "second")
_RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7), (0, 59))
_NUMBER = re.compile(r"(?<![/#\d])\d+", re.ASCII)  # neither a step nor which Friday it is
_ANY = frozenset({"*", "?"})
_ANY_TIME = datetime(2024, 1, 1)  # noqa: DTZ001 - a wall clock time
_MICROSECOND = timedelta(microseconds=1)
_DAY = timedelta(days=1)


class Cron(NamedTuple):
    """A checked expression in a time zone."""

    expression: str
    zone: tzinfo
    by_wall_clock: bool
    """Whether Debian's rule for fixed times applies."""

    def after(self, instant: datetime) -> datetime | None:
        """Return the first time later than `instant` (aware), in UTC; None if nine years have no such time."""
        try:
            return self._after_by_wall_clock(instant) if self.by_wall_clock else self._after_in_real_time(instant)
        except (OverflowError, ValueError):  # the calendar ends with the year 9999; the expression was checked
            return None

    def _after_by_wall_clock(self, instant: datetime) -> datetime | None:
        for wall in self._walls(instant.astimezone(self.zone).replace(tzinfo=None)):
            found = self._first_instant(wall)
            if found > instant:
                return found
        return None

    def _after_in_real_time(self, instant: datetime) -> datetime | None:
        limit = instant + timedelta(days=366 * YEARS)
        offset = _offset(instant, self.zone)
        while instant < limit:
            wall = next(self._walls((instant + offset).replace(tzinfo=None)), None)
            found = None if wall is None else wall.replace(tzinfo=UTC) - offset
            change = _next_change(instant, min(found or limit, limit), self.zone, offset)
            if change is None:
                return found
            # The clocks change before that: go on from the change, itself included, with the new offset.
            instant, offset = change - _MICROSECOND, _offset(change, self.zone)
        return None

    def _walls(self, after: datetime) -> Iterator[datetime]:
        """Yield the matching wall clock times later than `after`."""
        return _matches(self.expression, after)

    def _first_instant(self, wall: datetime) -> datetime:
        """Return when the wall clock first shows `wall`, or the change that skips it."""
        local = wall.replace(tzinfo=self.zone)
        instant = local.astimezone(UTC)
        if instant.astimezone(self.zone).replace(tzinfo=None) == wall:
            return instant
        # In a gap the offset before the change (fold=0) leads past it, the one after it (fold=1) leads before it.
        before = local.replace(fold=1).astimezone(UTC)
        return _next_change(before, instant, self.zone, _offset(before, self.zone)) or instant


@lru_cache(maxsize=1024)
def parse_cron(expression: str, timezone: str = "UTC") -> Cron:
    """Check an expression and a zone.

    Args:
        expression: Five fields (minute, hour, day of the month, month, day of the week), a sixth for seconds at the end, or
            `@hourly`, `@daily`, `@weekly`, `@monthly`, `@yearly`.
        timezone: An IANA name such as `Europe/Berlin`.

    Raises:
        InvalidScheduleError: It is no such expression, never matches a date, or the zone is unknown.
    """
    zone = find_zone(timezone)
    fields = _check_syntax(expression)
    normal = " ".join(fields)
    try:
        first = next(_matches(normal, _ANY_TIME), None)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError) as error:  # whatever croniter meets
        raise InvalidScheduleError("cron expression", expression, _reason(error)) from error
    if first is None:
        raise InvalidScheduleError("cron expression", expression, f"there is no such date within {YEARS} years")
    fixed = not fields[0].startswith("@") and fields[0][0] not in "*?" and fields[1][0] not in "*?"
    return Cron(normal, zone, fixed or normal in _ALIASES - {"@hourly"})


def find_zone(name: object) -> tzinfo:
    """Return the zone of an IANA name.

    Raises:
        InvalidScheduleError: No zone has this name.
    """
    zone = exact_text(name)
    if zone == "UTC":
        return UTC
    # What `localtime` and `posixrules` mean is another machine's guess, and `right/` counts leap seconds.
    if zone is None or not _ZONE.fullmatch(zone) or zone.startswith(("localtime", "posix", "right/")):
        raise InvalidScheduleError("time zone", name, "give an IANA name such as 'Europe/Berlin' or 'UTC'")
    try:
        return ZoneInfo(zone)
    except (ZoneInfoNotFoundError, OSError, ValueError) as error:
        raise InvalidScheduleError(
            "time zone", name, "not known here; give an IANA name such as 'Europe/Berlin' or 'UTC'"
        ) from error


def _check_syntax(expression: object) -> list[str]:
    """Return the fields in lower case; refuse here, cheaply, whatever a parser should not have to look at."""
    what = "cron expression"
    if not isinstance(expression, str):
        raise InvalidScheduleError(what, expression, "must be text such as '30 9 * * mon-fri'")
    if len(expression) > MAX_LENGTH:
        raise InvalidScheduleError(what, expression, f"is longer than {MAX_LENGTH} characters")
    fields = expression.lower().split()
    if len(fields) == 1 and fields[0].startswith("@"):
        if fields[0] not in _ALIASES:
            raise InvalidScheduleError(what, expression, f"the short forms are {', '.join(sorted(_ALIASES))}")
        return fields
    if len(fields) not in {5, 6}:
        raise InvalidScheduleError(
            what, expression, "needs 5 fields (minute hour day month weekday), or 6 with the seconds at the end"
        )
    for name, field, (low, high) in zip(_FIELD_NAMES, fields, _RANGES, strict=False):
        if not _FIELD.fullmatch(field):
            raise InvalidScheduleError(what, expression, f"{field!r} cannot be the {name}")
        if any(not low <= int(number) <= high for number in _NUMBER.findall(field)):
            raise InvalidScheduleError(what, expression, f"{field!r} cannot be the {name}: use {low} to {high}")
    day, weekday = fields[2], fields[4]
    if (("#" in weekday or "l" in weekday) and day not in _ANY) or ("w" in day and weekday not in _ANY):
        # croniter finds no date for the one, and does not look at the weekday for the other.
        raise InvalidScheduleError(what, expression, f"{day!r} and {weekday!r} cannot be combined: use two schedules")
    # croniter takes 3-3 as a weekday for the whole week.
    return [_ONE_VALUE.sub(r"\1", field) for field in fields]


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    return f"not valid: {text[:120]}" if text else f"not valid ({type(error).__name__})"


@lru_cache(maxsize=1024)
def _iterator(expression: str) -> Any:
    # Imported at the first use: it takes a tenth of a second, and most processes have no schedules.
    from croniter import croniter  # noqa: PLC0415

    return croniter(expression, _ANY_TIME, ret_type=datetime, max_years_between_matches=YEARS)


def _matches(expression: str, after: datetime) -> Iterator[datetime]:
    """Yield wall clock times later than `after`, in order."""
    from croniter import CroniterBadDateError  # noqa: PLC0415 - as above

    iterator = _iterator(expression)
    while True:
        # The iterators are shared, so that each expression is parsed once: reset the position at each step.
        iterator.set_current(after, force=True)
        try:
            after = iterator.get_next(datetime)
        except CroniterBadDateError:
            return
        yield after


def _offset(instant: datetime, zone: tzinfo) -> timedelta:
    return instant.astimezone(zone).utcoffset() or timedelta()


def _next_change(after: datetime, until: datetime, zone: tzinfo, offset: timedelta) -> datetime | None:
    """Return the first instant in (after, until] at which the zone's offset is another; it does not change twice in a day."""
    if zone is UTC:
        return None
    low = after
    while low < until:
        high = min(low + _DAY, until)
        if _offset(high, zone) != offset:
            while high - low > _MICROSECOND:
                middle = low + (high - low) / 2
                low, high = (middle, high) if _offset(middle, zone) == offset else (low, middle)
            return high
        low = high
    return None


def times(cron: Cron, after: datetime) -> Iterator[datetime]:
    """Yield the times later than `after`."""
    found = cron.after(after)
    while found is not None:
        yield found
        found = cron.after(found)
