"""The first page: how everything is, and what needs somebody."""

import asyncio
from typing import Any

from naq_core.inspect import broker_info, list_queues, list_workers
from naq_core.record import JobState
from naq_core.views import JobFilter, QueueView
from naq_dashboard.pages.charts import charts
from naq_dashboard.pages.page import Query
from naq_dashboard.pages.workers import worker_rows
from naq_dashboard.queries import search
from naq_dashboard.state import AppState

__all__ = ["overview"]

DEAD = JobFilter(states=frozenset({JobState.DEAD}))
RECENT = 8
MOST_QUEUES = 8


async def overview(state: AppState, query: Query) -> dict[str, Any]:
    """Show totals, the queues that wait longest, the newest failures, the workers and the server."""
    queues, found, broker, failures, drawn = await asyncio.gather(
        state.read(list_queues),
        state.read(list_workers),
        state.read(broker_info),
        search.find(state, DEAD, RECENT),
        charts(state, query),
    )
    workers = worker_rows(state, found)
    return {
        **drawn,
        "title": "Overview",
        "totals": totals(queues),
        "queues": sorted(queues, key=_urgency)[:MOST_QUEUES],
        "queue_count": len(queues),
        "workers": workers[:MOST_QUEUES],
        "worker_count": len(workers),
        "stale": sum(each["is_stale"] for each in workers),
        "slots": sum(each["concurrency"] for each in workers),
        "busy": sum(len(each["jobs"]) for each in workers),
        "failures": failures.jobs,
        "broker": broker,
        "stored_bytes": sum(stream.get("bytes", 0) for stream in broker.streams),
    }


def totals(queues: list[QueueView]) -> dict[str, int]:
    """Add the queues up."""
    names = ("waiting", "running", "held", "dead", "redelivered")
    return {name: sum(getattr(each, name) for each in queues) for name in names} | {"paused": sum(each.paused for each in queues)}


def _urgency(queue: QueueView) -> tuple[float, int, str]:
    """Sort by the age of the oldest waiting job, then by how many wait."""
    oldest = queue.oldest_at.timestamp() if queue.oldest_at is not None and queue.waiting else float("inf")
    return (oldest, -queue.waiting, queue.queue)
