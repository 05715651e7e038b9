"""Cron expressions: what they mean at clock changes, and what is refused."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from naq_core.cron import parse_cron, times
from naq_core.errors import InvalidScheduleError


def local(expression: str, zone: str, since: str, count: int) -> list[str]:
    """Return the wall clock times after a local time, with their offsets."""
    cron = parse_cron(expression, zone)
    after = datetime.fromisoformat(since).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
    return [found.astimezone(ZoneInfo(zone)).isoformat() for found in islice(times(cron, after), count)]


def test_a_wall_clock_time_that_a_change_skips_runs_once_right_after() -> None:
    assert local("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00", 2) == [
        "2026-03-29T03:00:00+02:00",
        "2026-03-30T02:30:00+02:00",
    ]


def test_several_skipped_times_run_once_together() -> None:
    assert local("0,20,40 2 * * *", "Europe/Berlin", "2026-03-28T12:00", 2) == [
        "2026-03-29T03:00:00+02:00",
        "2026-03-30T02:00:00+02:00",
    ]


def test_a_wall_clock_time_that_a_change_repeats_runs_the_first_time_only() -> None:
    assert local("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00", 2) == [
        "2026-10-25T02:30:00+02:00",
        "2026-10-26T02:30:00+01:00",
    ]


def test_real_time_goes_on_through_a_repeated_hour() -> None:
    assert local("*/30 * * * *", "Europe/Berlin", "2026-10-25T01:45", 5) == [
        "2026-10-25T02:00:00+02:00",
        "2026-10-25T02:30:00+02:00",
        "2026-10-25T02:00:00+01:00",
        "2026-10-25T02:30:00+01:00",
        "2026-10-25T03:00:00+01:00",
    ]


def test_real_time_goes_on_across_a_skipped_hour() -> None:
    assert local("@hourly", "Europe/Berlin", "2026-03-29T00:30", 3) == [
        "2026-03-29T01:00:00+01:00",
        "2026-03-29T03:00:00+02:00",
        "2026-03-29T04:00:00+02:00",
    ]


def test_a_star_in_either_of_minute_and_hour_means_real_time_as_in_debian() -> None:
    assert local("*/30 2 * * *", "Europe/Berlin", "2026-03-28T12:00", 1) == ["2026-03-30T02:00:00+02:00"]
    assert local("15 */2 * * *", "Europe/Berlin", "2026-10-25T01:00", 3) == [
        "2026-10-25T02:15:00+02:00",
        "2026-10-25T02:15:00+01:00",
        "2026-10-25T04:15:00+01:00",
    ]


def test_a_zone_that_moves_by_half_an_hour() -> None:
    assert local("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T12:00", 2) == [
        "2026-10-04T02:30:00+11:00",
        "2026-10-05T02:15:00+11:00",
    ]
    assert local("45 1 * * *", "Australia/Lord_Howe", "2026-04-04T12:00", 2) == [
        "2026-04-05T01:45:00+11:00",
        "2026-04-06T01:45:00+10:30",
    ]


def test_a_midnight_that_does_not_exist_is_one_o_clock() -> None:
    assert local("@daily", "America/Sao_Paulo", "2018-11-03T12:00", 2) == [
        "2018-11-04T01:00:00-02:00",
        "2018-11-05T00:00:00-02:00",
    ]


def test_a_zone_with_an_odd_offset() -> None:
    assert local("0 9 * * *", "Asia/Kathmandu", "2026-05-01T00:00", 1) == ["2026-05-01T09:00:00+05:45"]


def test_leap_days_are_found_across_a_century_without_one() -> None:
    found = islice(times(parse_cron("0 0 29 2 *"), datetime(2095, 1, 1, tzinfo=UTC)), 3)
    assert [each.year for each in found] == [2096, 2104, 2108]


def test_seconds_are_the_sixth_field() -> None:
    found = islice(times(parse_cron("* * * * * */20"), datetime(2026, 1, 1, tzinfo=UTC)), 3)
    assert [each.second for each in found] == [20, 40, 0]


@pytest.mark.parametrize(
    ("expression", "first"),
    [
        ("0 0 * JAN mon", "2026-01-05T00:00:00+00:00"),
        ("@weekly", "2026-01-04T00:00:00+00:00"),
        ("@monthly", "2026-02-01T00:00:00+00:00"),
        ("@yearly", "2027-01-01T00:00:00+00:00"),
        ("0 0 l * *", "2026-01-31T00:00:00+00:00"),
        ("0 12 * * fri#2", "2026-01-09T12:00:00+00:00"),
        ("0 12 * * l5", "2026-01-30T12:00:00+00:00"),
        ("0 12 ? * l5", "2026-01-30T12:00:00+00:00"),
        ("0 0 17w * *", "2026-01-16T00:00:00+00:00"),
        ("0 0 l * mon", "2026-01-05T00:00:00+00:00"),
        ("0 0 * * 7", "2026-01-04T00:00:00+00:00"),
        ("0 0 * * wed-wed", "2026-01-07T00:00:00+00:00"),
        ("0 0 * * 3-3/2,6", "2026-01-03T00:00:00+00:00"),
        ("0 0 13 * 5", "2026-01-02T00:00:00+00:00"),
    ],
)
def test_the_forms_of_cron(expression: str, first: str) -> None:
    assert next(times(parse_cron(expression), datetime(2026, 1, 1, tzinfo=UTC))).isoformat() == first


@pytest.mark.parametrize("expression", ["0 0 31 2 *", "0 0 30 feb *", "0 0 31 4,6,9,11 *"])
def test_dates_that_never_come_are_refused(expression: str) -> None:
    with pytest.raises(InvalidScheduleError, match="no such date"):
        parse_cron(expression)


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "* * * *",
        "* * * * * * *",
        "60 * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "* * * 13 *",
        "*/0 * * * *",
        "r * * * *",
        "h * * * *",
        "@reboot",
        "@every 5m",
        "0-999999999 * * * *",
        "*/99999999999999999999 * * * *",
        "1,2,,3 * * * *",
        "\x00 * * * *",
        "٣ * * * *",
        "-1 * * * *",
        "1-2-3 * * * *",
        "0 0 * * fri#9",
        "0 0 13 * fri#2",
        "0 0 l * l5",
        "0 0 15w * mon",
        "x" * 1_000_000,
        "1," * 100_000 + "1 * * * *",
        "* " * 100_000,
        None,
        5,
        b"* * * * *",
    ],
)
def test_what_is_no_expression_is_refused_at_once(expression: Any) -> None:
    began = time.monotonic()
    with pytest.raises(InvalidScheduleError) as caught:
        parse_cron(expression)
    assert time.monotonic() - began < 10
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("99 9 * * mon-fri", "'99' cannot be the minute: use 0 to 59"),
        ("0 9-25/2 * * *", "'9-25/2' cannot be the hour: use 0 to 23"),
        ("0 9 0 * *", "'0' cannot be the day of the month: use 1 to 31"),
        ("0 9 * 13 *", "'13' cannot be the month: use 1 to 12"),
        ("0 9 * * mon,8", "'mon,8' cannot be the day of the week: use 0 to 7"),
        ("0 9 32 * *", "'32' cannot be the day of the month: use 1 to 31"),
        ("0 9 * * * 60", "'60' cannot be the second: use 0 to 59"),
        ("0 0 13 * fri#2", "cannot be combined"),
        ("0 0 1 * l5", "cannot be combined"),
        ("0 0 15w * mon", "cannot be combined"),
        ("daily", "needs 5 fields"),
        ("@daily 5", "needs 5 fields"),
        ("*/0 * * * *", "not valid: "),
    ],
)
def test_what_is_wrong_with_an_expression_is_named(expression: str, problem: str) -> None:
    with pytest.raises(InvalidScheduleError, match=problem):
        parse_cron(expression)


def test_the_least_value_of_each_field_and_the_longest_expression() -> None:
    found = next(times(parse_cron("0 0 1 1 0 0"), datetime(2026, 1, 1, tzinfo=UTC)))
    assert found.isoformat() == "2026-01-04T00:00:00+00:00"
    longest = f"{'0,' * 95}0 * * * *"
    assert len(longest) == 199
    assert parse_cron(f"{longest} ")
    with pytest.raises(InvalidScheduleError, match="longer than 200"):
        parse_cron(f"{longest}  ")


def test_real_time_is_found_in_another_year_beyond_changes_of_the_clocks() -> None:
    assert local("*/30 0 29 2 *", "Europe/Berlin", "2026-03-01T00:00", 1) == ["2028-02-29T00:00:00+01:00"]


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
@pytest.mark.parametrize("expression", ["0 0 * 2 thu#5", "*/30 * * 2 thu#5"])
def test_a_time_that_is_more_than_nine_years_away_is_none(expression: str, zone: str) -> None:
    """The 29 February of 2024 and of 2052 is a Thursday."""
    assert parse_cron(expression, zone).after(datetime(2024, 3, 1, tzinfo=UTC)) is None


@pytest.mark.parametrize("zone", ["UTC", "Europe/Berlin"])
@pytest.mark.parametrize("expression", ["0 0 29 2 *", "*/30 * 29 2 *"])
def test_times_end_with_the_calendar(expression: str, zone: str) -> None:
    assert parse_cron(expression, zone).after(datetime(9996, 3, 1, tzinfo=UTC)) is None


_token = st.sampled_from([*"*?,-/#lwLW ", *map(str, range(62)), "mon", "feb", "sun-sat", "@daily", "0-59/7", "99", "#6", "\t"])


@given(st.one_of(st.text(max_size=60), st.lists(_token, max_size=30).map("".join)))
def test_any_text_is_either_refused_or_understood(text: str) -> None:
    try:
        cron = parse_cron(text, "Europe/Berlin")
    except InvalidScheduleError:
        return
    began = datetime(2026, 3, 28, tzinfo=UTC)
    found = list(islice(times(cron, began), 3))
    assert found == sorted(set(found))
    assert all(each > began for each in found)


@pytest.mark.parametrize(
    "zone", ["Mars/Olympus", "../../etc/passwd", "/etc/localtime", "", "Europe/Berlin\x00", "+02:00", 5, "posixrules"]
)
def test_what_is_no_zone_is_refused(zone: Any) -> None:
    with pytest.raises(InvalidScheduleError, match="time zone") as caught:
        parse_cron("* * * * *", zone)
    assert ("not known here" in str(caught.value)) == (zone == "Mars/Olympus"), "no file is looked for by any other name"
