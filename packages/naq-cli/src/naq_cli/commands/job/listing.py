"""Lists of jobs."""

from collections.abc import Sequence
from datetime import timedelta

from naq_cli._filters import make_filter
from naq_cli._output import Column
from naq_cli._session import Session
from naq_cli.commands.job import Filters
from naq_core.inspect import list_jobs
from naq_core.views import JobFilter, JobPage, JobView

_PAGE = 500


def duration(job: JobView) -> timedelta | None:
    """Return how long the last attempt took."""
    if job.started_at is None or job.ended_at is None:
        return None
    return max(job.ended_at - job.started_at, timedelta(0))


def attempts(job: JobView) -> str:
    """Return the attempt and how many there may be."""
    return f"{job.attempt}/{job.max_attempts}" if job.max_attempts else str(job.attempt)


def last_error(job: JobView) -> str:
    """Return the last error, where the job has not succeeded after it."""
    if not job.errors or job.state == "succeeded":
        return job.reason
    return f"{job.errors[-1].type}: {job.errors[-1].message}"


COLUMNS = (
    Column("Job", lambda job: job.job_id),
    Column("State", lambda job: job.state),
    Column("Queue", lambda job: job.queue, wrap=True, rank=3),
    Column("Function", lambda job: job.function, wrap=True),
    Column("Attempt", attempts, right=True, rank=5),
    Column("Enqueued", lambda job: job.enqueued_at, right=True, rank=1),
    Column("Due", lambda job: job.due_at, right=True, rank=6),
    Column("Took", duration, right=True, rank=4),
    Column("Worker", lambda job: job.worker, wrap=True, rank=8),
    Column("Arguments", lambda job: job.arguments, wrap=True, rank=7),
    Column("Error", last_error, wrap=True, rank=2),
)


async def list_page(
    session: Session,
    words: Sequence[str],
    filters: Filters,
    *,
    limit: int,
    everything: bool,
    cursor: str | None,
    max_scan: int,
) -> None:
    """List one page of jobs, or all."""
    wanted = make_filter(words, filters, session.connection.clock.utc())
    page = await list_jobs(session.connection, wanted, limit=_PAGE if everything else limit, cursor=cursor, max_scan=max_scan)
    if everything:
        page = await _all(session, wanted, page, max_scan)
    output = session.output
    output.list(page.jobs, COLUMNS, key=lambda job: job.job_id, empty=_nothing(wanted, page), document=page)
    if page.cursor is not None and not output.is_json:
        output.remark(f"Searched {page.scanned:,} entries. There may be more: --cursor {page.cursor}, or --all")


async def _all(session: Session, wanted: JobFilter, page: JobPage, max_scan: int) -> JobPage:
    jobs, scanned = list(page.jobs), page.scanned
    while page.cursor is not None:
        page = await list_jobs(session.connection, wanted, limit=_PAGE, cursor=page.cursor, max_scan=max_scan)
        jobs += page.jobs
        scanned += page.scanned
    return JobPage(jobs=jobs, scanned=scanned)


def _nothing(wanted: JobFilter, page: JobPage) -> str:
    if wanted == JobFilter():
        return "There are no jobs. Enqueue one: naq enqueue math:sqrt 2"
    return f"No matching job among the {page.scanned:,} searched."
