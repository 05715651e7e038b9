"""What is due of a schedule: in time, late by policy, bounded."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from naq_core.job import Job
from naq_core.schedules.document import ScheduleDocument, new_document
from naq_core.schedules.spec import make_spec
from naq_scheduler._plan import ENOUGH, MOST, DueRuns, plan

NOON = datetime(2026, 5, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def schedule(**options: Any) -> ScheduleDocument:
    """Return a schedule made at noon, every minute on the minute unless told otherwise."""
    timing: dict[str, Any] = {} if {"cron", "interval"} & options.keys() else {"cron": "* * * * *"}
    job: Job[Any] = Job("shop:work")
    return new_document(make_spec(job, schedule_id="s", **timing, **options), NOON, paused=False)


def minutes(*numbers: int) -> list[datetime]:
    return [NOON + number * MINUTE for number in numbers]


def test_nothing_is_due_before_its_time() -> None:
    assert plan(schedule(), NOON + timedelta(seconds=59)) == DueRuns([], 0, None, None)


def test_nothing_is_due_after_the_end() -> None:
    found = plan(schedule(end_at=NOON + 2 * MINUTE, misfire="all"), NOON + 10 * MINUTE)
    assert (found.run, found.watermark) == (minutes(1, 2), NOON + 2 * MINUTE)


def test_what_is_due_is_run() -> None:
    assert plan(schedule(), NOON + MINUTE).run == minutes(1)


@pytest.mark.parametrize("misfire", ["skip", "once", "all"])
def test_within_the_grace_every_time_is_run_whatever_the_policy(misfire: str) -> None:
    found = plan(schedule(misfire=misfire, grace=300), NOON + 5.5 * MINUTE)
    assert (found.run, found.missed) == (minutes(1, 2, 3, 4, 5), 0)


@pytest.mark.parametrize(
    ("misfire", "run", "missed"),
    [
        ("skip", minutes(9, 10), minutes(*range(1, 9))),
        ("once", minutes(8, 9, 10), minutes(*range(1, 8))),
        ("all", minutes(*range(1, 11)), []),
    ],
)
def test_beyond_the_grace_the_policy_decides(misfire: str, run: list[datetime], missed: list[datetime]) -> None:
    found = plan(schedule(misfire=misfire, grace=90), NOON + 10 * MINUTE)
    assert found == DueRuns(run, len(missed), missed[-1] if missed else None, NOON + 10 * MINUTE)


def test_without_a_limit_no_time_is_too_late() -> None:
    assert len(plan(schedule(misfire="skip", grace=None), NOON + 500 * MINUTE).run) == 500


@pytest.mark.parametrize("timing", [{"cron": "* * * * * *"}, {"interval": 1}])
def test_a_year_of_missed_seconds_is_bounded_in_time_and_number(timing: dict[str, Any]) -> None:
    document = schedule(misfire="all", grace=60, **timing)
    now = NOON + timedelta(days=365)
    found = plan(document, now)
    assert len(found.run) <= MOST
    assert found.run[-1] == found.watermark == now
    assert found.run == sorted(set(found.run))
    assert len(found.run) >= MOST - 1
    assert found.missed + len(found.run) < 2 * ENOUGH, "those before are not even counted"


def test_a_year_of_missed_seconds_is_run_once() -> None:
    found = plan(schedule(cron="* * * * * *", misfire="once", grace=10), NOON + timedelta(days=365))
    assert len(found.run) == 12
    assert found.missed > 1000


def test_the_number_of_runs_bounds_what_is_made_up_for() -> None:
    assert plan(schedule(max_runs=3, misfire="all"), NOON + 10 * MINUTE).run == minutes(1, 2, 3)


def test_earlier_runs_count_towards_the_number_of_runs() -> None:
    document = schedule(max_runs=3, misfire="all")
    document.runs = 2
    assert plan(document, NOON + 10 * MINUTE).run == minutes(1)
    assert list(document.times()) == minutes(1)
    document.runs = 3
    assert plan(document, NOON + 10 * MINUTE).run == list(document.times()) == []


def test_jitter_is_not_lateness() -> None:
    """The grace counts from when a firing was due, jitter included."""
    document = schedule(jitter=30, grace=1, misfire="skip")
    due = NOON + MINUTE + document.spec.delay(NOON + MINUTE)
    assert due > NOON + MINUTE + timedelta(seconds=2), "a jitter longer than the grace"
    assert plan(document, due + timedelta(seconds=1)).run == minutes(1)
    assert plan(document, due + timedelta(seconds=1, microseconds=1)).missed == 1


def test_jitter_delays_each_firing_by_the_same_amount_everywhere() -> None:
    document = schedule(jitter=30)
    delay = document.spec.delay(NOON + MINUTE)
    assert timedelta() < delay < timedelta(seconds=30)
    assert plan(document, NOON + MINUTE + delay - timedelta(microseconds=1)).run == []
    assert plan(document, NOON + MINUTE + delay).run == minutes(1)
    assert delay != document.spec.delay(NOON + 2 * MINUTE)


def test_an_interval_does_not_drift() -> None:
    document = schedule(interval=0.1, start_at=NOON + MINUTE)
    document.watermark = NOON + timedelta(days=3650)
    assert next(document.times()) == NOON + timedelta(days=3650, seconds=0.1)


def test_a_start_that_has_just_passed_is_not_missed() -> None:
    document = schedule(interval=60, start_at=NOON - timedelta(seconds=1))
    assert plan(document, NOON).run == [NOON - timedelta(seconds=1)]


def test_a_start_long_ago_is_no_reason_to_make_up_for_all_since() -> None:
    document = schedule(interval=60, start_at=NOON - timedelta(days=1), misfire="all", grace=None)
    assert plan(document, NOON + timedelta(seconds=61)).run == minutes(1)
