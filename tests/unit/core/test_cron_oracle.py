"""Cron against an oracle that knows no algorithm: it walks through time minute by minute and looks at the wall clock."""

from __future__ import annotations

import random
from bisect import bisect_right
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from naq_core.cron import parse_cron
from naq_core.errors import InvalidScheduleError

MINUTE = timedelta(minutes=1)
DAYS = 3
SAMPLES_PER_WALK = 40
CHANGES = [
    ("Europe/Berlin", "2026-03-29"),
    ("Europe/Berlin", "2026-10-25"),
    ("America/New_York", "2026-03-08"),
    ("America/New_York", "2026-11-01"),
    ("Australia/Lord_Howe", "2026-04-05"),
    ("Australia/Lord_Howe", "2026-10-04"),
    ("America/Sao_Paulo", "2018-02-18"),
    ("America/Sao_Paulo", "2018-11-04"),
    ("Africa/Casablanca", "2026-02-15"),
    ("Africa/Casablanca", "2026-03-22"),
    ("Asia/Kathmandu", "2026-02-28"),
    ("Asia/Kolkata", "2024-02-29"),
    ("Pacific/Apia", "2011-12-30"),
    ("Pacific/Chatham", "2026-04-05"),
    ("America/St_Johns", "2026-11-01"),
    ("Europe/Dublin", "2026-10-25"),
    ("UTC", "2026-12-31"),
]
LIMITS = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 6))


def random_field(rng: random.Random, low: int, high: int, plain: float) -> tuple[str, frozenset[int]]:
    """Return a field and the values it means; `plain` is the chance of a star."""
    everything = range(low, high + 1)
    if rng.random() < plain:
        return "*", frozenset(everything)
    first, last = sorted(rng.choices(everything, k=2))
    step = rng.randint(2, 7)
    match rng.randrange(5):
        case 0:
            return f"*/{step}", frozenset(range(low, high + 1, step))
        case 1:
            return str(first), frozenset({first})
        case 2:
            return f"{first}-{last}", frozenset(range(first, last + 1))
        case 3:
            return f"{first}-{last}/{step}", frozenset(range(first, last + 1, step))
        case _:
            values = rng.sample(everything, 3)
            return ",".join(map(str, values)), frozenset(values)


class Expression:
    """A random expression, and what it means for one wall clock time."""

    def __init__(self, rng: random.Random) -> None:
        plain = (0.3, 0.4, 0.85, 0.95, 0.85)
        fields = [random_field(rng, *limits, chance) for limits, chance in zip(LIMITS, plain, strict=True)]
        if rng.random() < 0.5:  # about the hours in which clocks change
            hour = rng.randint(0, 4)
            fields[1] = (str(hour), frozenset({hour}))
        self.text = " ".join(text for text, _ in fields)
        self.values = [values for _, values in fields]
        self.is_fixed = not fields[0][0].startswith("*") and not fields[1][0].startswith("*")

    def matches(self, wall: datetime) -> bool:
        minute, hour, day, month, weekday = self.values
        if wall.minute not in minute or wall.hour not in hour or wall.month not in month:
            return False
        by_day, by_weekday = wall.day in day, wall.isoweekday() % 7 in weekday
        day_is_free, weekday_is_free = len(day) == 31, len(weekday) == 7
        if day_is_free or weekday_is_free:
            return (by_day or day_is_free) and (by_weekday or weekday_is_free)
        return by_day or by_weekday


def walk(expression: Expression, zone: ZoneInfo, begin: datetime) -> list[datetime]:
    """Return when it runs within some days, as cron does that wakes up each minute and knows what it has done."""
    fires = []
    before = begin.astimezone(zone).replace(tzinfo=None)
    latest = before
    for number in range(1, DAYS * 24 * 60):
        instant = begin + number * MINUTE
        wall = instant.astimezone(zone).replace(tzinfo=None)
        if expression.is_fixed:
            skipped = (before + each * MINUTE for each in range(1, round((wall - before) / MINUTE) + 1))
            due = any(expression.matches(each) for each in skipped if each > latest)
        else:
            due = expression.matches(wall)
        if due:
            fires.append(instant)
        before, latest = wall, max(latest, wall)
    return fires


@pytest.mark.parametrize("samples", [4_000, pytest.param(200_000, marks=[pytest.mark.slow, pytest.mark.timeout(600)])])
def test_every_next_time_is_the_oracles(samples: int) -> None:
    rng = random.Random(samples)
    compared = 0
    while compared < samples:
        name, day = rng.choice(CHANGES)
        zone = ZoneInfo(name)
        begin = datetime.fromisoformat(day).replace(tzinfo=UTC) - timedelta(days=1, minutes=rng.randrange(600))
        expression = Expression(rng)
        fires = walk(expression, zone, begin)
        try:
            cron = parse_cron(expression.text, name)
        except InvalidScheduleError:  # such as 30 February
            assert not fires, expression.text
            continue
        for _ in range(SAMPLES_PER_WALK):
            instant = begin + timedelta(seconds=rng.randrange(DAYS * 86_400 - 60))
            at = bisect_right(fires, instant)
            expected = fires[at] if at < len(fires) else None
            found = cron.after(instant)
            if expected is None:
                assert found is None or found >= begin + timedelta(days=DAYS) - MINUTE, (expression.text, name, instant)
            else:
                assert found == expected, (expression.text, name, instant.isoformat())
            compared += 1
