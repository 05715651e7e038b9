"""When the jobs of a workflow ran, as bars, and the way through them that took longest."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

from naq_core.record import JobState
from naq_core.views import JobView

__all__ = ["Bar", "Gantt", "chart", "longest_way"]

SCALE = 1000
"""The width of the drawing, in its own units."""
THINNEST = 3
MOST = 100


class Bar(NamedTuple):
    """The last attempt of a job: waiting and running, in the drawing's units."""

    job: JobView
    waited_from: float
    ran_from: float
    ran_to: float


@dataclass(frozen=True, slots=True)
class Gantt:
    """The jobs that have started, in the order in which they did."""

    bars: list[Bar]
    left_out: int
    seconds: float
    """From the workflow's begin to its end, or until now."""
    scale: int = SCALE


def chart(jobs: Sequence[JobView], begin: datetime | None, now: datetime | None = None) -> Gantt:
    """Lay the jobs out in time.

    Args:
        begin: When the workflow was enqueued.
        now: Where the bars of running jobs end; by default this moment.
    """
    now = now or datetime.now(UTC)
    started = sorted((job for job in jobs if job.started_at is not None), key=lambda job: (job.started_at or now, job.job_id))
    if not started or started[0].started_at is None:
        return Gantt([], 0, 0.0)
    first = min(begin or started[0].started_at, started[0].started_at)
    last = max(_end(job, now) for job in started)
    seconds = max((last - first).total_seconds(), 0.001)
    ended = {job.job_id: _end(job, now) for job in started}

    def place(at: datetime) -> float:
        return max(0.0, min(1.0, (at - first).total_seconds() / seconds)) * SCALE

    bars = []
    for job in started[:MOST]:
        ready = max([first, *(ended[parent] for parent in job.parents if parent in ended)])
        ran_from = place(job.started_at or now)
        bars.append(Bar(job, min(place(ready), ran_from), ran_from, max(place(_end(job, now)), ran_from + THINNEST)))
    return Gantt(bars, max(0, len(started) - MOST), seconds)


def longest_way(jobs: Sequence[JobView], now: datetime | None = None) -> list[JobView]:
    """Return the chain of jobs that decided when the workflow ended: backwards, always over the parent that ended last.

    It ends at the job that failed first, if one has: what comes after it is of no interest before that.
    """
    now = now or datetime.now(UTC)
    known = {job.job_id: job for job in jobs if job.started_at is not None}
    way: list[JobView] = []
    dead = [each for each in known.values() if each.state is JobState.DEAD]
    if dead:
        job: JobView | None = min(dead, key=lambda each: _end(each, now))
    else:
        job = max(known.values(), key=lambda each: _end(each, now), default=None)
    while job is not None and job not in way:
        way.append(job)
        parents = [known[parent] for parent in job.parents if parent in known]
        job = max(parents, key=lambda each: _end(each, now), default=None)
    return way[::-1]


def _end(job: JobView, now: datetime) -> datetime:
    return job.ended_at or now
