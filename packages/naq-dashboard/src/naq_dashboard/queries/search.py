"""Searching among any number of jobs within a time that a person does not notice; what was not looked at is said.

Only what may be shown is looked at: what the mask hides is neither found nor counted.
"""

from naq_core.inspect import count_jobs, list_jobs
from naq_core.views import JobCount, JobFilter, JobPage
from naq_dashboard.queries.reader import Reader

__all__ = ["count", "find"]

LIST_SECONDS = 0.12
"""Then a list ends with what it has found, and its cursor goes on from there."""
COUNT_SECONDS = 0.05
MOST_LISTED = 20_000
"""Entries that are looked at for a page of a list at most."""
MOST_COUNTED = 1_000
"""Counts above this usually come from the server's counters, or "at least" is good enough."""
COUNT_FRESH = 3.0
"""Seconds for which a count stays: it may have to look at many entries."""


async def find(read: Reader, wanted: JobFilter, limit: int, cursor: str = "", *, fresh: float = 0.0) -> JobPage:
    """Return the next jobs that a filter matches, masked, as many as are found in a moment.

    Raises:
        InvalidOptionError: The cursor is of another list, or the limit is out of range.
        BrokerError: The server does not answer.
    """
    return await read(list_jobs, wanted, limit, cursor or None, MOST_LISTED, LIST_SECONDS, read.mask, fresh=fresh)


async def count(read: Reader, wanted: JobFilter, page: JobPage | None = None, limit: int = 0) -> JobCount:
    """Return how many jobs a filter matches, at least.

    Args:
        page: The first page of the list, where it is known: one that is not full has looked at more than a count would.
        limit: How many jobs make that page full.

    Raises:
        BrokerError: The server does not answer.
    """
    if page is not None and len(page.jobs) < limit:
        return JobCount(count=len(page.jobs), is_exact=page.cursor is None, scanned=page.scanned)
    return await read(count_jobs, wanted, MOST_COUNTED, COUNT_SECONDS, read.mask, fresh=COUNT_FRESH, stale=COUNT_FRESH)
