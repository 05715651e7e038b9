"""Figures over time, as JSON for charts and as text for Prometheus."""

import asyncio
from datetime import datetime
from typing import Annotated, Any

import msgspec
from litestar import get
from litestar.params import QueryParameter
from litestar.response import Response

from naq_core.inspect import leading_scheduler, list_queues, list_workers
from naq_core.metrics import Series, SeriesPoint
from naq_core.schedules import list_schedules
from naq_core.views import Deploy
from naq_dashboard.api.prometheus import Facts, encode
from naq_dashboard.queries.deploys import deploys
from naq_dashboard.queries.queues import problems
from naq_dashboard.web import AnyRequest, state_of

__all__ = ["METRICS"]

SCHEDULES_FRESH = 30.0
"""Seconds between two readings of all schedules, to know how many there are."""
Hours = Annotated[float, QueryParameter(gt=0, le=72, description="The time range.")]
Name = Annotated[str, QueryParameter(max_length=500)]


class Chart(msgspec.Struct, kw_only=True):
    """Figures over time, oldest first, without gaps, and the deployments in that time."""

    step: int
    """Seconds."""
    since: datetime
    until: datetime
    points: list[SeriesPoint]
    deploys: list[Deploy]


@get("/api/metrics/series", tags=["metrics"])
async def series(request: AnyRequest, hours: Hours = 1.0, queue: Name = "", function: Name = "") -> Chart:
    """Return figures over time, oldest first: steps of 10 seconds up to an hour, of a minute up to six, else of ten minutes."""
    state = state_of(request)
    found: Series
    found, marks = await asyncio.gather(state.figures.series(hours, queue, function), deploys(state.read))
    within = [each for each in marks if found.since <= each.at <= found.until]
    return Chart(step=found.step, since=found.since, until=found.until, points=found.points, deploys=within)


@get("/metrics", include_in_schema=False)
async def metrics(request: AnyRequest) -> Response[bytes]:
    """Return everything for Prometheus. One dashboard is to be asked, or the sums of several are counted twice."""
    state = state_of(request)
    connection = await state.connection()
    counters, queues, workers, schedules, leader, found = await asyncio.gather(
        state.figures.counters(),
        state.read(list_queues),
        state.read(list_workers),
        state.read(list_schedules, fresh=SCHEDULES_FRESH),
        state.read(leading_scheduler),
        problems(state.read),
    )
    facts = Facts(
        now=connection.clock.now(),
        counters=counters,
        queues=queues,
        workers=workers,
        schedules=len(schedules),
        has_leader=leader is not None,
        reconnects=connection.generation,
        streams=state.live.streams,
        problems=found,
    )
    # A thousand functions are a hundred thousand lines: others must not wait for them.
    body, media_type = await asyncio.to_thread(encode, facts, request.headers.get("accept", ""))
    return Response(body, headers={"content-type": media_type})


METRICS: list[Any] = [series, metrics]
