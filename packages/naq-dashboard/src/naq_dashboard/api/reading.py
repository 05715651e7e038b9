"""Queues, jobs and errors as JSON: the views of naq_core, with secrets masked as on the pages."""

import asyncio
from datetime import datetime
from typing import Annotated, Any

import msgspec
from litestar import get
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath, QueryParameter

from naq_core.filters import build_filter
from naq_core.inspect import broker_info, get_job, get_queue, list_queues, list_workers
from naq_core.record import JobState, LogLine
from naq_core.views import BrokerView, JobCount, JobFilter, JobPage, JobView, QueueView
from naq_dashboard.queries import search
from naq_dashboard.queries.errors import group_failures, newest_failures
from naq_dashboard.queries.queues import totals
from naq_dashboard.web import AnyRequest, state_of

__all__ = ["READING", "Overview"]

Limit = Annotated[int, QueryParameter(ge=1, le=500, description="Maximum number of jobs per page.")]
Cursor = Annotated[str, QueryParameter(description="The cursor that the previous page returned.")]
Words = Annotated[
    str, QueryParameter(max_length=2000, description="A filter, as in the search field: `state:dead queue:mail since:2h alice`.")
]
When = Annotated[str, QueryParameter(max_length=100, description="A time, or a duration before now, such as `2h`.")]
States = Annotated[list[JobState] | None, QueryParameter(name="state", max_items=8)]
Short = Annotated[str, QueryParameter(max_length=500)]


class Overview(msgspec.Struct, kw_only=True):
    """The figures of the overview."""

    totals: dict[str, int]
    queues: list[QueueView]
    workers: int
    slots: int
    broker: BrokerView


class ErrorGroup(msgspec.Struct, kw_only=True):
    """Dead jobs that failed alike."""

    function: str
    type: str
    message: str
    count: int
    queues: list[str]
    first_at: datetime | None
    last_at: datetime | None
    sample: str
    """The id of one of them."""


@get("/api/overview", tags=["overview"])
async def overview(request: AnyRequest) -> Overview:
    """Return totals, queues, and how many workers there are."""
    state = state_of(request)
    queues, workers, broker = await asyncio.gather(state.read(list_queues), state.read(list_workers), state.read(broker_info))
    slots = sum(each["concurrency"] for each in workers if isinstance(each.get("concurrency"), int))
    return Overview(totals=totals(queues), queues=queues, workers=len(workers), slots=slots, broker=broker)


@get("/api/queues", tags=["queues"])
async def all_queues(request: AnyRequest) -> list[QueueView]:
    """List the queues by name."""
    return await state_of(request).read(list_queues)


@get("/api/queues/{queue:str}", tags=["queues"])
async def one_queue(request: AnyRequest, queue: FromPath[str]) -> QueueView:
    """Return one queue. KEDA's metrics-api scaler can read `waiting` here."""
    return await state_of(request).read(get_queue, queue)


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


@get("/api/errors", tags=["errors"])
async def all_errors(request: AnyRequest, queue: Short = "") -> list[ErrorGroup]:
    """Group the newest dead jobs, up to 500, by function, error and message."""
    page = await newest_failures(state_of(request).read, queue)
    return [
        ErrorGroup(
            function=group.function,
            type=group.type,
            message=group.error.message if group.error else group.sample.reason,
            count=group.count,
            queues=sorted(group.queues),
            first_at=group.first_at,
            last_at=group.last_at,
            sample=group.sample.job_id,
        )
        for group in group_failures(page.jobs)
    ]


READING: list[Any] = [overview, all_queues, one_queue, all_jobs, job_count, one_job, job_logs, all_errors]
