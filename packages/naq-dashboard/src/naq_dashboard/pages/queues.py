"""All queues, and one of them."""

import asyncio
import math
from collections.abc import Callable
from typing import Any

from naq_core.errors import QueueNotFoundError
from naq_core.inspect import get_queue, list_queues
from naq_core.views import JobFilter, QueueView
from naq_dashboard.languages import _
from naq_dashboard.pages.charts import charts
from naq_dashboard.pages.page import Query
from naq_dashboard.pages.workers import read_rows
from naq_dashboard.queries import search
from naq_dashboard.queries.audit import done_to
from naq_dashboard.queries.queues import totals
from naq_dashboard.state import AppState

__all__ = ["queue", "queues"]

RECENT = 12
MOST_ROWS = 500
"""Queues that the list shows; of more, those that come first by the chosen order."""
ORDERS: dict[str, Callable[[QueueView], float]] = {
    "queued": lambda each: each.queued,
    "oldest": lambda each: -each.oldest_at.timestamp() if each.queued and each.oldest_at else -math.inf,
    "running": lambda each: each.running,
    "held": lambda each: each.held,
    "dead": lambda each: each.dead,
    "redelivered": lambda each: each.redelivered,
}
"""What the list can be ordered by, the most first."""


async def queues(state: AppState, query: Query) -> dict[str, Any]:
    """Show every queue: how many jobs are where, how long the oldest waits, and how many ended in the last hour."""
    every, ended = await asyncio.gather(state.read(list_queues), state.figures.last_hour())
    sort = query.get("sort").replace("waiting", "queued")  # its old name is in bookmarks
    found = sorted(every, key=lambda each: each.queue)
    if sort in ORDERS:
        found.sort(key=ORDERS[sort], reverse=True)
    find = query.get("find")
    matching = [each for each in found if find.casefold() in each.queue.casefold()]
    return {
        "title": _("Queues"),
        "queues": matching[:MOST_ROWS],
        "matching": len(matching),
        "total": len(every),
        "find": find,
        "sort": sort if sort in ORDERS else "",
        "totals": totals(every),
        "ended": ended,
    }


async def _queue(state: AppState, name: str) -> QueueView:
    """Return a queue; one that has had no job yet is there as soon as a worker takes from it."""
    try:
        return await state.read(get_queue, name)
    except QueueNotFoundError:
        workers = sum(name in row.queues for row in await read_rows(state))
        if not workers:
            raise
        return QueueView(queue=name, workers=workers)


async def queue(state: AppState, query: Query) -> dict[str, Any]:
    """Show one queue: its states, its consumers at the server, its workers and what happened last."""
    name = query.get("queue")
    view, recent, workers, drawn, done = await asyncio.gather(
        _queue(state, name),
        search.find(state.read, JobFilter(queue=name), RECENT),
        read_rows(state),
        charts(state, query, name),
        done_to(state.read, "queue", name),
    )
    connection = await state.connection()
    names = connection.names
    return {
        **drawn,
        "title": name,
        "queue": view,
        "jobs": recent.jobs,
        "activity": done,
        "workers": [each for each in workers if name in each.queues],
        "jobs_stream": names.jobs_stream,
        "consumer": names.consumer(name),
        "subject": names.ready_filter(name),
    }
