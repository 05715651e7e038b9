"""Recurring schedules, from the terminal."""

import json
from datetime import datetime
from typing import Any

import pytest

from tests.cli.commands import naq
from tests.cli.terminal import plain, screen


def add(*words: str, **here: Any) -> str:
    done = naq("schedule", "add", *words, "-q", **here)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_schedule_is_added_shown_paused_resumed_triggered_and_removed(here: dict[str, Any]) -> None:
    words = ("shop:price", "3", "currency=USD", "--cron", "30 9 * * mon-fri", "--timezone", "Europe/Berlin", "--id", "daily")
    assert add(*words, **here) == "daily"
    shown = json.loads(naq("schedule", "show", "daily", "--json", **here).stdout)
    assert (shown["function"], shown["cron"], shown["timezone"]) == ("shop:price", "30 9 * * mon-fri", "Europe/Berlin")
    assert "3, currency='USD'" in shown["arguments"]
    assert naq("schedule", "pause", "daily", **here).returncode == 0
    assert json.loads(naq("schedule", "list", "--jsonl", **here).stdout)["paused"] is True
    assert naq("schedule", "resume", "daily", **here).returncode == 0
    job_id = naq("schedule", "trigger", "daily", **here).stdout.strip()
    assert json.loads(naq("job", "show", job_id, "--json", **here).stdout)["schedule"] == "daily"
    assert job_id in naq("schedule", "show", "daily", **here).stdout
    refused = naq("schedule", "remove", "daily", **here)
    assert refused.returncode == 2
    assert naq("schedule", "remove", "daily", "--yes", **here).returncode == 0
    assert naq("schedule", "show", "daily", **here).returncode == 5


def test_the_next_times_are_exact_in_a_pipe_and_local_on_a_terminal(here: dict[str, Any]) -> None:
    add("math:sqrt", "2", "--cron", "30 9 * * *", "--timezone", "Asia/Tokyo", "--id", "tokyo", **here)
    times = [datetime.fromisoformat(line) for line in naq("schedule", "next", "tokyo", "-n", "3", **here).stdout.split()]
    assert [(time.hour, time.minute) for time in times] == [(0, 30)] * 3
    shown, _ = screen("schedule", "next", "tokyo", **here)
    assert "09:30:00 JST" in plain(shown)


def test_an_id_that_exists_is_changed_only_on_demand(here: dict[str, Any]) -> None:
    add("math:sqrt", "2", "--every", "5m", "--id", "x", **here)
    done = naq("schedule", "add", "math:sqrt", "3", "--every", "6m", "--id", "x", **here)
    assert done.returncode == 7
    assert "--replace" in done.stderr
    add("math:sqrt", "3", "--every", "6m", "--id", "x", "--replace", **here)
    assert json.loads(naq("schedule", "show", "x", "--json", **here).stdout)["interval"] == 360


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["math:sqrt"], "Give --cron"),
        (["math:sqrt", "--every", "5m", "--cron", "* * * * *"], "Give --cron"),
        (["math:sqrt", "--every", "often"], "--every"),
        (["math:sqrt", "--cron", "99 * * * *"], "99"),
        (["math:sqrt", "--cron", "* * * * *", "--timezone", "Mars/Base"], "Mars/Base"),
        (["math.sqrt", "--every", "5m"], "math:sqrt"),
        (["math:sqrt", "--every", "5m", "--start", "soon"], "--start"),
        (["math:sqrt", "--every", "5m", "--overlap", "never"], "--overlap"),
    ],
)
def test_what_cannot_be_meant_is_refused(here: dict[str, Any], words: list[str], said: str) -> None:
    done = naq("schedule", "add", *words, **here)
    assert done.returncode == 2, done.stderr
    assert said in done.stderr
    assert naq("schedule", "list", "-q", **here).stdout == ""


@pytest.mark.parametrize("width", [80, 120])
def test_the_list_fits_the_terminal(here: dict[str, Any], width: int) -> None:
    add("math:sqrt", "2", "--cron", "30 9 * * mon-fri", "--timezone", "Europe/Berlin", "--id", "daily", **here)
    shown, _ = screen("schedule", "list", width=width, **here)
    assert max(map(len, plain(shown).splitlines())) <= width
    assert "daily" in shown


def test_a_backfill_says_which_runs_and_which_had_been_enqueued_before(here: dict[str, Any]) -> None:
    add("math:sqrt", "2", "--cron", "30 9 * * *", "--id", "daily", **here)
    backfill = ("schedule", "backfill", "daily", "--since")
    one_day = ("2026-03-05T10:00Z", "--until", "2026-03-06T10:00Z")
    asked = naq(*backfill, *one_day, **here)
    assert (asked.returncode, asked.stdout) == (2, "")
    assert "The run of daily of 2026-03-06 09:30:00 UTC would be enqueued if it has no job yet." in asked.stderr
    assert naq(*backfill, *one_day, "--yes", **here).stdout == "1 run enqueued.\n"
    asked = naq(*backfill, "2026-03-04T10:00Z", "--until", "2026-03-06T10:00Z", **here)
    assert "2 runs of daily, from 2026-03-05 09:30:00 to 2026-03-06 09:30:00 UTC, would be enqueued at once" in asked.stderr
    done = naq(*backfill, "2026-03-04T10:00Z", "--until", "2026-03-06T10:00Z", "--yes", **here)
    assert done.stdout == "1 run enqueued. 1 of 2 times had a job already.\n"
    none = naq(*backfill, "2026-03-04T10:00Z", "--until", "2026-03-04T11:00Z", **here)
    assert (none.returncode, none.stdout) == (0, "daily has no time between 2026-03-04 10:00:00 and 2026-03-04 11:00:00 UTC.\n")
    many = naq(*backfill, "2001-01-01", **here)
    assert (many.returncode, "such as until 2003-09-27T09:30:00Z" in many.stderr) == (2, True)
