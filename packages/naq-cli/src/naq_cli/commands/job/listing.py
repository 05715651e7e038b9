"""`naq job list`."""

from typing import Annotated

from cyclopts import Parameter

from naq_cli._filters import NO_FILTERS, Filters, make_filter
from naq_cli._jobs import COLUMNS
from naq_cli._options import Reading
from naq_cli._session import Session, connected
from naq_core.inspect import list_jobs
from naq_core.views import JobFilter, JobPage

_PAGE = 500


@connected("job list", Reading)
async def list_(
    session: Session,
    *words: str,
    limit: Annotated[int, Parameter(alias="-n")] = 50,
    all_: Annotated[bool, Parameter(name="--all", negative="")] = False,
    cursor: str | None = None,
    max_scan: int = 20_000,
    filters: Filters = NO_FILTERS,
) -> None:
    """List jobs, most recently changed first.

    Args:
        words: Filters such as state:dead queue:emails since:2h; other words are searched for in ids, arguments and errors.
        limit: Jobs per page.
        all_: List all jobs and ignore --limit.
        cursor: Continue where the previous page ended.
        max_scan: Search at most this many entries per page; a note says if there may be more.
    """
    wanted = make_filter(words, filters, session.connection.clock.utc())
    page = await list_jobs(session.connection, wanted, limit=_PAGE if all_ else limit, cursor=cursor, max_scan=max_scan)
    if all_:
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
