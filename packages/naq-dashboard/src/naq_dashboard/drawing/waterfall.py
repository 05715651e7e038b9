"""The course of one job as bars: what it waited for, its attempts, and the jobs that depend on it."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from naq_core.record import JobState
from naq_core.views import JobView
from naq_dashboard.languages import _
from naq_dashboard.times import moment

__all__ = ["Course", "CourseBar", "course"]

SCALE = 1000
"""The width of the drawing, in its own units."""
THINNEST = 3
MOST = 60
"""Bars that are drawn at most: the newest attempts, and the first of the jobs that depend on it."""


class _Span(NamedTuple):
    name: str
    kind: str
    """A state, or `wait`."""
    begin: datetime
    end: datetime
    job: JobView | None = None
    """Another one than that of the page."""
    is_open: bool = False


@dataclass(frozen=True, slots=True)
class CourseBar:
    """A time in the life of the job, in the drawing's units."""

    name: str
    kind: str
    x: float
    width: float
    seconds: float
    job: JobView | None
    is_open: bool
    """Whether it goes on."""


@dataclass(frozen=True, slots=True)
class Course:
    """All bars, in the order in which they began."""

    bars: list[CourseBar]
    left_out: int
    seconds: float
    scale: int = SCALE


def course(job: JobView, parents: Iterable[JobView], children: Iterable[JobView], now: datetime) -> Course:
    """Lay the course of a job out in time.

    Args:
        parents: Jobs that it waited for, as far as they are known.
        children: Jobs that depend on it, as far as they are known.
        now: Where bars end that go on.
    """
    relatives = [*_relatives(parents, now), *_relatives(children, now)]
    own = list(_own(job, now))
    spans = sorted([*own[-MOST:], *relatives[:MOST]], key=lambda each: each.begin)
    if not spans:
        return Course([], 0, 0.0)
    first, last = spans[0].begin, max(each.end for each in spans)
    seconds = max((last - first).total_seconds(), 0.001)

    def bar(span: _Span) -> CourseBar:
        took = max((span.end - span.begin).total_seconds(), 0.0)
        width = max(took / seconds * SCALE, THINNEST)
        x = min((span.begin - first).total_seconds() / seconds * SCALE, SCALE - THINNEST)
        return CourseBar(span.name, span.kind, x, min(width, SCALE - x), took, span.job, span.is_open)

    return Course([bar(each) for each in spans], len(own) + len(relatives) - len(spans), seconds)


def _own(job: JobView, now: datetime) -> Iterator[_Span]:
    """Yield what the job did: it waited, and it was attempted."""
    if job.enqueued_at is None:
        return
    since, number = job.enqueued_at, 0
    is_dead = job.state is JobState.DEAD
    for error in job.errors:
        ended = moment(error.at)
        if ended is None or ended < since:
            continue
        began = moment(error.started)
        number = error.attempt
        kind = "dead" if is_dead and error is job.errors[-1] else "retrying"
        if began is not None and since <= began <= ended:
            yield from _wait(_wait_name(job, since, number), since, began)
            yield _Span(_("Attempt %(number)s: %(error)s") % {"number": number, "error": error.type}, kind, began, ended)
        else:
            yield _Span(
                _("Until attempt %(number)s failed: %(error)s") % {"number": number, "error": error.type}, kind, since, ended
            )
        since = ended
    if job.started_at is not None and job.started_at >= since and (job.attempt > number or not job.errors):
        yield from _wait(_wait_name(job, since, job.attempt), since, job.started_at)
        yield _Span(
            _("Attempt %(number)s") % {"number": job.attempt},
            job.state.value,
            job.started_at,
            job.ended_at or now,
            is_open=job.ended_at is None,
        )
    elif not job.state.is_final:
        yield _Span(_wait_name(job, since, job.attempt + 1), "wait", since, max(now, since), is_open=True)


def _wait(name: str, begin: datetime, end: datetime) -> Iterator[_Span]:
    if end > begin:
        yield _Span(name, "wait", begin, end)


def _wait_name(job: JobView, since: datetime, attempt: int) -> str:
    if since != job.enqueued_at:
        return _("Waits for attempt %(number)s") % {"number": attempt}
    return _("Waits for other jobs, and a worker") if job.parents else _("Waits")


def _relatives(jobs: Iterable[JobView], now: datetime) -> list[_Span]:
    """Return when other jobs ran."""
    found: Sequence[JobView] = [each for each in jobs if each.started_at is not None]
    return [
        _Span(each.function or each.job_id, each.state.value, each.started_at, each.ended_at or now, each, each.ended_at is None)
        for each in found
        if each.started_at is not None
    ]
