"""Jobs as JSON: the views of naq_core, with secrets masked as on the pages."""

from typing import Annotated, Any

from litestar import MediaType, get
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath, QueryParameter

from naq_core.filters import build_filter
from naq_core.inspect import get_job
from naq_core.record import JobState, LogLine
from naq_core.views import JobCount, JobFilter, JobPage, JobView
from naq_dashboard.queries import search
from naq_dashboard.render import LOG_LEVELS, moment
from naq_dashboard.web import AnyRequest, state_of

__all__ = ["JOBS"]

Limit = Annotated[int, QueryParameter(ge=1, le=500, description="Maximum number of jobs per page.")]
Cursor = Annotated[str, QueryParameter(description="The cursor that the previous page returned.")]
Words = Annotated[
    str, QueryParameter(max_length=2000, description="A filter, as in the search field: `state:dead queue:mail since:2h alice`.")
]
When = Annotated[str, QueryParameter(max_length=100, description="A time, or a duration before now, such as `2h`.")]
States = Annotated[list[JobState] | None, QueryParameter(name="state", max_items=8)]
Level = Annotated[str, QueryParameter(max_length=20, description="Only lines of this level or above, such as `WARNING`.")]
Short = Annotated[str, QueryParameter(max_length=500)]


async def wanted_jobs(  # noqa: PLR0913 - one parameter for each field of the filter
    request: AnyRequest,
    *,
    q: Words = "",
    states: States = None,
    queue: Short = "",
    function: Short = "",
    worker: Short = "",
    workflow: Short = "",
    schedule: Short = "",
    error: Short = "",
    since: When = "",
    until: When = "",
) -> JobFilter:
    """Return the filter that an address asks for; its parameters are those of the page of jobs."""
    fields = {
        "queue": queue,
        "function": function,
        "worker": worker,
        "workflow": workflow,
        "schedule": schedule,
        "error": error,
        "since": since,
        "until": until,
    }
    return build_filter(q, {name: value.strip() for name, value in fields.items()}, states or (), now=state_of(request).now())


FILTER = {"wanted": Provide(wanted_jobs)}


@get("/api/jobs", tags=["jobs"], dependencies=FILTER)
async def all_jobs(request: AnyRequest, wanted: NamedDependency[JobFilter], limit: Limit = 50, cursor: Cursor = "") -> JobPage:
    """List jobs, the one that changed last first, as many as are found in a moment.

    A `cursor` says that there may be more, also where fewer came than asked for: then `scanned` entries were looked at.
    """
    return await search.find(state_of(request).read, wanted, limit, cursor)


@get("/api/jobs/count", tags=["jobs"], dependencies=FILTER)
async def job_count(request: AnyRequest, wanted: NamedDependency[JobFilter]) -> JobCount:
    """Count the jobs that a filter matches. The search is bounded; `is_exact` says whether it saw them all."""
    return await search.count(state_of(request).read, wanted)


@get("/api/jobs/{job_id:str}", tags=["jobs"])
async def one_job(request: AnyRequest, job_id: FromPath[str]) -> JobView:
    """Return all that is known of a job."""
    state = state_of(request)
    return await state.read(get_job, job_id, "*", state.mask)


@get("/api/jobs/{job_id:str}/logs", tags=["jobs"])
async def job_logs(request: AnyRequest, job_id: FromPath[str]) -> list[LogLine]:
    """Return the newest lines that a job has logged, the oldest of them first."""
    state = state_of(request)
    view: JobView = await state.read(get_job, job_id, "*", state.mask)
    return view.logs


@get("/api/jobs/{job_id:str}/log.txt", tags=["jobs"], media_type=MediaType.TEXT)
async def job_log_text(request: AnyRequest, job_id: FromPath[str], level: Level = "") -> str:
    """Return the newest lines that a job has logged as text, with time (UTC), attempt and level, the oldest of them first."""
    state = state_of(request)
    view: JobView = await state.read(get_job, job_id, "*", state.mask)
    least = LOG_LEVELS.get(level.upper(), 0)
    lines = [each for each in view.logs if LOG_LEVELS.get(each.level, 0) >= least]
    return "".join(f"{_instant(each.at)} {each.attempt} {each.level} {each.message}\n" for each in lines)


def _instant(seconds: float) -> str:
    at = moment(seconds)
    return "-" if at is None else at.isoformat(timespec="milliseconds")


JOBS: list[Any] = [all_jobs, job_count, one_job, job_logs, job_log_text]
