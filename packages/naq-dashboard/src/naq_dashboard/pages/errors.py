"""The page of failures: many jobs, few causes."""

import asyncio
from typing import Any

from naq_dashboard.languages import _
from naq_dashboard.pages.page import Query
from naq_dashboard.queries import search
from naq_dashboard.queries.errors import dead_jobs, find_words, group_failures, newest_failures
from naq_dashboard.state import AppState

__all__ = ["errors"]


async def errors(state: AppState, query: Query) -> dict[str, Any]:
    """Show the newest dead jobs by function, error and message."""
    queue = query.get("queue")
    page, count = await asyncio.gather(newest_failures(state.read, queue), search.count(state.read, dead_jobs(queue)))
    groups = group_failures(page.jobs)
    find_words(groups)
    times = [at for group in groups for at in group.times]
    return {
        "title": _("Errors"),
        "groups": groups,
        "found": page,
        "queue": queue,
        "looked_at": len(page.jobs),
        "count": count,
        "since": min(times, default=None),
        "until": max(times, default=None),
    }
