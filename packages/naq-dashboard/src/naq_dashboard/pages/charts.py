"""What pages with charts have in common."""

import asyncio
from itertools import dropwhile
from typing import Any

from naq_core.metrics import SeriesPoint
from naq_dashboard.pages.page import Query
from naq_dashboard.queries.deploys import deploys
from naq_dashboard.state import AppState

__all__ = ["RANGES", "charts", "range_of"]

RANGES = {"1h": 1, "6h": 6, "24h": 24, "72h": 72}
ROWS = 20
MARKED = ("at", "enqueued", "started", "succeeded", "failed", "retried", "cancelled", "depth")
"""What is new where one of these has changed."""


async def charts(state: AppState, query: Query, queue: str = "", function: str = "") -> dict[str, Any]:
    """Return the chosen range, and the newest figures as a table for those who do not see charts."""
    name = range_of(query)
    series, marks = await asyncio.gather(state.figures.series(RANGES[name], queue, function), deploys(state.read))
    marks = [each for each in marks if series.since <= each.at <= series.until]
    since_data = list(dropwhile(lambda point: not _has_something(point), series.points))
    rate, over = _per_minute(since_data, series.step)
    busy = [point for point in series.points if _has_something(point)]
    return {
        "ranges": list(RANGES),
        "range": name,
        "hours": RANGES[name],
        "chart_queue": queue,
        "chart_function": function,
        "deploys": marks,
        "step": series.step,
        "rows": list(reversed(busy[-ROWS:])),
        "series_mark": hash((len(marks), *(tuple(getattr(point, name) for name in MARKED) for point in busy[-3:]))),
        "per_minute": rate,
        "per_minute_over": over,
        "spark": [point.succeeded + point.failed for point in since_data[-60:]],
    }


def range_of(query: Query) -> str:
    """Return the name of the chosen range."""
    return query.get("range") if query.get("range") in RANGES else "1h"


def _has_something(point: SeriesPoint) -> bool:
    return any(getattr(point, name) for name in MARKED[1:])


def _per_minute(points: list[SeriesPoint], step: int) -> tuple[float, float]:
    """Return how many jobs ended per minute, and over how many seconds: five minutes or so, or since there are figures.

    The step that is not over does not count.
    """
    last = points[-1 - max(1, 300 // step) : -1]
    seconds = len(last) * step
    return (sum(point.succeeded + point.failed for point in last) * 60 / seconds if seconds else 0.0), seconds
