"""Figures over time, as JSON for charts and as text for Prometheus."""

import asyncio
from typing import Annotated, Any

from litestar import get
from litestar.params import QueryParameter
from litestar.response import Response

from naq_core import __version__
from naq_core.inspect import list_queues, list_workers
from naq_core.metrics import Series
from naq_dashboard.figures import prometheus_text
from naq_dashboard.web import AnyRequest, board_of

__all__ = ["METRICS"]

Hours = Annotated[float, QueryParameter(gt=0, le=72, description="How far back.")]
Name = Annotated[str, QueryParameter(max_length=500)]


@get("/api/metrics/series", tags=["metrics"])
async def series(request: AnyRequest, hours: Hours = 1.0, queue: Name = "", function: Name = "") -> Series:
    """Return figures over time, oldest first: steps of 10 seconds up to an hour, of a minute up to six, else of ten minutes."""
    return await board_of(request).figures.series(hours, queue, function)


@get("/metrics", include_in_schema=False)
async def metrics(request: AnyRequest) -> Response[bytes]:
    """Return everything in Prometheus' text format. One dashboard is to be asked, or sums are counted twice."""
    board = board_of(request)
    totals, queues, workers = await asyncio.gather(board.figures.totals(), board.read(list_queues), board.read(list_workers))
    text = prometheus_text(totals, queues, len(workers), __version__, board.live.streams)
    return Response(text.encode(), media_type="text/plain; version=0.0.4")


METRICS: list[Any] = [series, metrics]
