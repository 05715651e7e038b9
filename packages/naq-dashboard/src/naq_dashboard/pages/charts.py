"""What pages with charts have in common."""

from itertools import dropwhile
from typing import Any

from naq_core.metrics import SeriesPoint
from naq_dashboard.pages.page import Query
from naq_dashboard.state import AppState

__all__ = ["charts"]

RANGES = {"1h": 1, "6h": 6, "24h": 24, "72h": 72}
ROWS = 20
MARKED = ("at", "enqueued", "started", "succeeded", "failed", "retried", "cancelled", "depth")
"""What is new where one of these has changed."""


async def charts(state: AppState, query: Query, queue: str = "") -> dict[str, Any]:
    """Return the chosen range, and the newest figures as a table for those who do not see charts."""
    name = query.get("range") if query.get("range") in RANGES else "1h"
    series = await state.figures.series(RANGES[name], queue)
    since_data = list(dropwhile(lambda point: not _has_something(point), series.points))
    rate, over = _per_minute(since_data, series.step)
    busy = [point for point in series.points if _has_something(point)]
    return {
        "ranges": list(RANGES),
        "range": name,
        "hours": RANGES[name],
        "chart_queue": queue,
        "step": series.step,
        "rows": list(reversed(busy[-ROWS:])),
        "series_mark": hash(tuple(tuple(getattr(point, name) for name in MARKED) for point in busy[-3:])),
        "per_minute": rate,
        "per_minute_over": over,
        "spark": [point.succeeded + point.failed for point in since_data[-60:]],
    }


def _has_something(point: SeriesPoint) -> bool:
    return any(getattr(point, name) for name in MARKED[1:])


def _per_minute(points: list[SeriesPoint], step: int) -> tuple[float, float]:
    """Return how many jobs ended per minute, and over how many seconds: five minutes or so, or since there are figures.

    The step that is not over does not count.
    """
    last = points[-1 - max(1, 300 // step) : -1]
    seconds = len(last) * step
    return (sum(point.succeeded + point.failed for point in last) * 60 / seconds if seconds else 0.0), seconds
