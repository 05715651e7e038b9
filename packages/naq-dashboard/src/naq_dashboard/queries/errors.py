"""Failures put into groups: many jobs, few causes."""

import re
import shlex
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime

from naq_core.filters import describe_filter
from naq_core.record import AttemptError, JobState
from naq_core.views import JobFilter, JobPage, JobView
from naq_dashboard.queries import search
from naq_dashboard.queries.reader import Reader

__all__ = ["FailureGroup", "dead_jobs", "find_words", "fingerprint", "group_failures", "newest_failures"]

MOST = 500
"""How many of the newest dead jobs are looked at, at most."""
BARS = 24
VARIES = "…"
LONGEST = 60
SHORTEST = 3
"""Fewer characters of a message tell nothing apart."""

_VARYING = re.compile(r"0x[0-9a-f]+|[0-9a-f]{8,}|\d+|'[^']{0,200}'|\"[^\"]{0,200}\"", re.IGNORECASE)


@dataclass(slots=True)
class FailureGroup:
    """Dead jobs that failed alike."""

    function: str
    type: str
    pattern: str
    sample: JobView
    error: AttemptError | None
    count: int = 0
    queues: set[str] = field(default_factory=set)
    times: list[datetime] = field(default_factory=list)
    words: str = ""
    """What to search for beside function and type to find these jobs; empty where nothing of the message is alike."""
    is_only: bool = True
    """Whether no other group has the same function and type."""

    @property
    def can_be_named(self) -> bool:
        """Whether a filter can mean these jobs: without function or type it would mean others too, or all that are dead."""
        return bool(self.function and self.type)

    @property
    def first_at(self) -> datetime | None:
        """When the earliest of them failed."""
        return min(self.times, default=None)

    @property
    def last_at(self) -> datetime | None:
        """When the latest of them failed."""
        return max(self.times, default=None)

    def bars(self, since: datetime, until: datetime) -> list[int]:
        """Return how many failed in each of equal parts of a time."""
        width = max((until - since).total_seconds(), 1.0) / BARS
        counts = [0] * BARS
        for at in self.times:
            counts[min(BARS - 1, max(0, int((at - since).total_seconds() / width)))] += 1
        return counts


async def newest_failures(read: Reader, queue: str) -> JobPage:
    """Return the newest dead jobs, of one queue where it is named.

    Raises:
        BrokerError: The server does not answer.
    """
    return await search.find(read, dead_jobs(queue), MOST, fresh=1.0)


def dead_jobs(queue: str = "") -> JobFilter:
    """Return the filter of dead jobs, of one queue where it is named."""
    return JobFilter(states=frozenset({JobState.DEAD}), queue=queue)


def group_failures(jobs: list[JobView]) -> list[FailureGroup]:
    """Put jobs that failed alike together, the largest group first."""
    groups: dict[tuple[str, str, str], FailureGroup] = {}
    for job in jobs:
        error = job.errors[-1] if job.errors else None
        kind, message = (error.type, error.message) if error is not None else ("", job.reason)
        key = (job.function, kind, fingerprint(message))
        group = groups.get(key)
        if group is None:
            group = groups[key] = FailureGroup(*key, sample=job, error=error)
        group.count += 1
        group.queues.add(job.queue)
        if job.ended_at is not None:
            group.times.append(job.ended_at)
    return sorted(groups.values(), key=lambda group: (-group.count, group.function, group.type))


def find_words(groups: list[FailureGroup]) -> None:
    """Find for each group the longest part of its messages that all of them share, so that it can be searched for."""
    seen = Counter((group.function, group.type) for group in groups)
    for group in groups:
        group.is_only = seen[group.function, group.type] == 1
        plain = "".join(each if each.isprintable() else VARIES for each in group.pattern)
        part = max((each.strip() for each in plain.split(VARIES)), key=len)[:LONGEST].strip()
        if len(part) >= SHORTEST:
            group.words = describe_filter(JobFilter(text=part)) if ":" in part else shlex.join([part])


def fingerprint(message: str) -> str:
    """Return a message without what differs from job to job: numbers, ids, quoted words."""
    first = message.strip().partition("\n")[0][:300]
    return _VARYING.sub(VARIES, first)
