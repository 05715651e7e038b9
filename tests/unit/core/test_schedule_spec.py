"""What a schedule is: which times it has, what is refused, and which job it makes; without a server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any

import msgspec
import pytest

from naq_core.errors import InvalidNameError, InvalidOptionError, InvalidScheduleError
from naq_core.job import Job
from naq_core.names import check_schedule_id
from naq_core.option_kinds import LATEST
from naq_core.option_set import OptionSet
from naq_core.schedules.spec import (
    ScheduleSpec,
    check_spec,
    delay_of,
    firing_id,
    make_named_spec,
    make_spec,
)

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
TICK = timedelta(microseconds=1)


def spec_of(**timing: Any) -> ScheduleSpec:
    options: dict[str, Any] = {"schedule_id": "s"} | timing
    return make_spec(Job("shop:work"), **options)


def seconds_after_noon(spec: ScheduleSpec, after: datetime = NOON, count: int = 3) -> list[float]:
    """The first times of a schedule that was made at noon."""
    return [(found - NOON).total_seconds() for found in islice(spec.times(NOON, after), count)]


def test_an_interval_counts_from_when_the_schedule_was_made() -> None:
    spec = spec_of(interval=10)
    assert seconds_after_noon(spec) == [10, 20, 30]
    assert seconds_after_noon(spec, NOON + 10 * SECOND) == [20, 30, 40], "later than a time of its own"
    assert seconds_after_noon(spec, NOON + 75 * SECOND) == [80, 90, 100]
    assert seconds_after_noon(spec, NOON - 75 * SECOND) == [10, 20, 30], "there are none before"


def test_an_interval_with_a_start_counts_from_it() -> None:
    spec = spec_of(interval=10, start_at=NOON + 3 * SECOND)
    assert seconds_after_noon(spec) == [3, 13, 23]
    assert seconds_after_noon(spec, NOON + 3 * SECOND) == [13, 23, 33]
    assert seconds_after_noon(spec, NOON + 75 * SECOND) == [83, 93, 103]


def test_a_cron_expression_may_match_at_the_start_and_at_the_end() -> None:
    start = NOON + 60 * SECOND
    assert seconds_after_noon(spec_of(cron="* * * * *", start_at=start)) == [60, 120, 180]
    assert seconds_after_noon(spec_of(cron="* * * * *", start_at=start + TICK)) == [120, 180, 240]
    assert seconds_after_noon(spec_of(cron="* * * * *", start_at=start), start) == [120, 180, 240]
    assert seconds_after_noon(spec_of(cron="* * * * *", end_at=NOON + 120 * SECOND)) == [60, 120]
    assert seconds_after_noon(spec_of(interval=60, start_at=start, end_at=start)) == [60]


def test_an_interval_ends_with_the_calendar() -> None:
    assert seconds_after_noon(spec_of(interval=1e9), datetime(9998, 1, 1, tzinfo=UTC)) == []


def test_the_shortest_interval_is_ten_milliseconds() -> None:
    assert spec_of(interval=0.01).interval == 0.01
    with pytest.raises(InvalidScheduleError, match=r"at least 0\.01 s"):
        spec_of(interval=0.009)


def test_a_delay_is_the_same_everywhere_and_for_good() -> None:
    """Two leaders of different releases must agree on when a firing is due."""
    assert delay_of("s", 30, NOON) == timedelta(seconds=15.070556)
    assert delay_of("s", 60, NOON) == timedelta(seconds=30.141112)
    assert delay_of("s", 0, NOON) == timedelta()


def test_what_is_not_given_has_its_default() -> None:
    spec = spec_of(cron="  0   9 * * *  ")
    assert (spec.cron, spec.interval, spec.timezone) == ("0 9 * * *", None, "UTC")
    assert (spec.jitter, spec.grace, spec.expires_in) == (0, 60, 0)
    stored = ScheduleSpec(schedule_id="s", queue="default", template=spec.template, cron="0 9 * * *")
    assert stored == spec, "what is not stored means the same as what was not given"
    assert spec_of(interval=60, grace=None).grace is None
    assert spec_of(interval=60, grace=5).grace == 5


def test_the_template_belongs_to_no_job_and_to_no_time() -> None:
    job = spec_of(interval=60).job()
    assert (job.id, job.at, job.expires) == ("", 0, 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "give one of the two"),
        ({"cron": "@daily", "interval": 5}, "give one of the two"),
        ({"cron": "@daily", "timezone": "Mars/Olympus"}, "time zone"),
        ({"interval": 5, "timezone": "Mars/Olympus"}, "time zone"),
        ({"cron": "61 * * * *"}, "cannot be the minute"),
        ({"interval": 5, "max_runs": 0}, "max_runs"),
        ({"interval": 5, "jitter": -1}, "jitter"),
        ({"interval": 5, "overlap": "perhaps"}, "is not one of allow, skip, cancel"),
        ({"interval": 5, "overlap": None}, "is not one of allow, skip, cancel"),
        ({"interval": 5, "misfire": "twice"}, "is not one of skip, once, all"),
        ({"interval": 5, "start_at": NOON, "end_at": NOON - TICK}, "is before start_at"),
        ({"interval": 5, "start_at": "soon"}, "is not a time"),
        ({"interval": 5, "end_at": LATEST}, "too far ahead"),
    ],
)
def test_a_wrong_value_is_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidScheduleError, match=message):
        spec_of(**options)


def test_the_least_and_the_latest_that_is_allowed() -> None:
    assert spec_of(interval=5, max_runs=1).max_runs == 1
    assert spec_of(interval=5, end_at=LATEST - TICK).end_at == LATEST - TICK


@pytest.mark.parametrize(("ttl", "is_enough"), [(600, True), (599.999, False), (None, True)])
def test_the_record_of_a_run_is_kept_until_nobody_fires_it_again(ttl: float | None, is_enough: bool) -> None:
    job: Job[Any] = Job("shop:work", options=OptionSet({} if ttl is None else {"result_ttl": ttl}))
    if is_enough:
        assert make_spec(job, interval=5).job().opt.result_ttl == ttl
    else:
        with pytest.raises(InvalidScheduleError, match="at least 600 s"):
            make_spec(job, interval=5)


def test_a_job_with_a_time_of_its_own_is_refused_and_a_relative_expiry_is_not() -> None:
    with pytest.raises(InvalidScheduleError, match="only expires=<seconds> is allowed"):
        make_spec(Job("shop:work", options=OptionSet({"delay": 5.0})), interval=5)
    assert make_spec(Job("shop:work", options=OptionSet({"expires": 30.0})), interval=5).expires_in == 30


def test_the_same_call_has_the_same_id_and_another_one_another() -> None:
    def derived(function: str, *args: Any, **timing: Any) -> str:
        options: dict[str, Any] = {"interval": 5} | timing
        return make_spec(Job(function, args), **options).schedule_id

    assert derived("shop:work", 1) == derived("shop:work", 1)
    different = [derived("shop:work", 2), derived("shop:work", 1, interval=6), derived("bakery:work", 1)]
    assert len({derived("shop:work", 1), *different}) == 4
    assert derived("shop:work").startswith("work-")
    assert derived("shop:Till.close").startswith("Till-close-")
    assert derived("shop:" + 50 * "w").startswith(40 * "w" + "-")
    assert derived("shop:日本").startswith("schedule-")


@pytest.mark.parametrize("wrong", ["", "a.b", 91 * "x", None, 5])
def test_what_cannot_name_a_schedule_is_refused(wrong: Any) -> None:
    with pytest.raises(InvalidNameError, match="1 to 90"):
        check_schedule_id(wrong)
    assert check_schedule_id(90 * "x") == 90 * "x"


def test_the_id_of_a_firing_is_its_time_in_utc() -> None:
    assert firing_id("s", NOON.astimezone(tz=None)) == "s=20260501T120000Z"
    assert firing_id("s", NOON + 25 * TICK) == "s=20260501T120000-000025Z"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schedule_id": "a.b"}, "schedule id"),
        ({"queue": "a b"}, "queue"),
        ({"cron": "* * * * *"}, "either a cron expression or an interval"),
        ({"interval": None}, "either a cron expression or an interval"),
        ({"interval": None, "cron": "61 * * * *"}, "cannot be the minute"),
        ({"timezone": "Mars/Olympus"}, "time zone"),
        ({"overlap": "perhaps"}, "overlap"),
        ({"misfire": "twice"}, "misfire"),
        ({"template": b"no job"}, "job"),
    ],
)
def test_a_stored_specification_that_could_not_be_fired_is_refused(changes: dict[str, Any], message: str) -> None:
    spec = spec_of(interval=60)
    check_spec(spec)
    check_spec(spec_of(cron="@daily"))
    with pytest.raises((ValueError, InvalidNameError, InvalidScheduleError), match=message):
        check_spec(msgspec.structs.replace(spec, **changes))


def test_a_function_is_named_with_options_as_they_are_written_in_a_file() -> None:
    plain = make_named_spec("shop:work", interval=5)
    assert plain == make_spec(Job("shop:work"), interval=5)
    assert make_named_spec("shop:work", options={"timeout": "30s"}, interval=5).job().opt.timeout == 30
    assert make_named_spec("shop:work", options=OptionSet({"timeout": 30.0}), interval=5).job().opt.timeout == 30
    with pytest.raises(InvalidOptionError, match="timout"):
        make_named_spec("shop:work", options={"timout": "30s"}, interval=5)
    with pytest.raises(InvalidScheduleError, match="evry"):
        make_named_spec("shop:work", evry=5)
