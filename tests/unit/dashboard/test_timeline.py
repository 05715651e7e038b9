"""The moments of a job's life, as its page shows them."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from naq_core.record import AttemptError, JobState
from naq_core.views import JobView
from naq_dashboard.pages.jobs import timeline

BEGIN = datetime(2026, 11, 24, tzinfo=UTC)


def job(state: JobState, failures: int = 0, **fields: Any) -> JobView:
    errors = [
        AttemptError("ValueError", "no", attempt=number, at=BEGIN.timestamp() + 10 * number) for number in range(1, failures + 1)
    ]
    return JobView(job_id="1", queue="mail", state=state, enqueued_at=BEGIN, errors=errors, **fields)


@pytest.mark.parametrize(
    ("view", "names"),
    [
        (job(JobState.QUEUED), ["Enqueued", "Waiting for a worker"]),
        (job(JobState.HELD, due_at=BEGIN), ["Enqueued", "Due"]),
        (job(JobState.HELD), ["Enqueued", "Waiting for other jobs"]),
        (job(JobState.RUNNING, attempt=1, started_at=BEGIN), ["Enqueued", "Started", "Running"]),
        (
            job(JobState.RETRYING, 1, attempt=1, started_at=BEGIN, due_at=BEGIN),
            ["Enqueued", "Attempt 1 failed", "Next attempt"],
        ),
        (
            job(JobState.DEAD, 2, attempt=2, started_at=BEGIN, ended_at=BEGIN),
            ["Enqueued", "Attempt 1 failed", "Attempt 2 started", "Failed permanently"],
        ),
        (
            job(JobState.SUCCEEDED, 5, attempt=6, started_at=BEGIN, ended_at=BEGIN),
            [
                "Enqueued",
                "2 more failed",
                *("Attempt 3 failed", "Attempt 4 failed", "Attempt 5 failed"),
                *("Attempt 6 started", "Succeeded"),
            ],
        ),
        (job(JobState.CANCELLED, ended_at=BEGIN), ["Enqueued", "Cancelled"]),
    ],
)
def test_the_timeline_tells_what_has_been_and_what_is_next(view: JobView, names: list[str]) -> None:
    assert [step["name"] for step in timeline(view)] == names


def test_the_time_between_two_moments_is_told() -> None:
    steps = timeline(job(JobState.SUCCEEDED, attempt=1, started_at=BEGIN + timedelta(seconds=3), ended_at=None))
    assert [step.get("took") for step in steps] == [None, 3.0, None]
