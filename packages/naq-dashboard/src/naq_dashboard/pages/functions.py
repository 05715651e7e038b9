"""All functions by what they take, and one of them over time."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec

from naq_core.metrics import FunctionFigures
from naq_core.record import JobState
from naq_core.views import JobFilter, JobPage, JobView
from naq_dashboard.languages import _
from naq_dashboard.pages.charts import RANGES, charts, range_of
from naq_dashboard.pages.page import Query
from naq_dashboard.queries import search
from naq_dashboard.queries.deploys import deploys
from naq_dashboard.state import AppState

__all__ = ["function", "functions"]

MOST_ROWS = 500
MOST_JOBS = 10
LOOKED_AT = 200
"""The newest jobs of a function among which the slowest are looked for."""
FRESH = 3.0
ORDERS: dict[str, Callable[[FunctionFigures], float]] = {
    "runs": lambda each: each.started,
    "failed": lambda each: each.failed,
    "retried": lambda each: each.retried,
    "p50": lambda each: each.run_p50 or 0.0,
    "p95": lambda each: each.run_p95 or 0.0,
    "p99": lambda each: each.run_p99 or 0.0,
    "wait": lambda each: each.wait_p95 or 0.0,
}
"""What the list can be ordered by, the most first; otherwise by the time that all runs took together."""


async def functions(state: AppState, query: Query) -> dict[str, Any]:
    """Show every function that ran within the range: how often, how long, how well."""
    chosen, queue = range_of(query), query.get("queue")
    every, marks = await asyncio.gather(state.figures.functions(RANGES[chosen], queue), deploys(state.read))
    find, sort = query.get("find"), query.get("sort")
    found = [each for each in every if find.casefold() in each.function.casefold()]
    if sort in ORDERS:
        found.sort(key=ORDERS[sort], reverse=True)
    return {
        "title": _("Functions"),
        "functions": found[:MOST_ROWS],
        "matching": len(found),
        "total": len(every),
        "run_total": sum(each.run_total for each in every),
        "find": find,
        "queue": queue,
        "sort": sort if sort in ORDERS else "",
        "ranges": list(RANGES),
        "range": chosen,
        "deploys": marks[:MOST_JOBS],
    }


async def function(state: AppState, query: Query) -> dict[str, Any]:
    """Show one function: its figures over time, its slowest runs and its newest failures."""
    name = query.get("function")
    hours = RANGES[range_of(query)]
    ended = frozenset({JobState.SUCCEEDED, JobState.DEAD})
    every, drawn, newest, dead = await asyncio.gather(
        state.figures.functions(hours),
        charts(state, query, function=name),
        _jobs(state, name, ended, LOOKED_AT),
        _jobs(state, name, frozenset({JobState.DEAD}), MOST_JOBS),
    )
    figures = next((each for each in every if each.function == name), FunctionFigures(function=name, queues=[]))
    slowest = sorted((job for job in newest.jobs if _took(job)), key=_took, reverse=True)
    return {
        **drawn,
        "title": name,
        "function": name,
        "figures": figures,
        "slowest": slowest[:MOST_JOBS],
        "looked_at": len(newest.jobs),
        "dead": dead,
    }


async def _jobs(state: AppState, name: str, states: frozenset[JobState], limit: int) -> JobPage:
    """Return the newest jobs of exactly this function."""
    page = await search.find(state.read, JobFilter(states=states, function=name), limit, fresh=FRESH)
    return msgspec.structs.replace(page, jobs=[job for job in page.jobs if job.function == name])


def _took(job: JobView) -> timedelta:
    return job.ended_at - job.started_at if job.ended_at and job.started_at else timedelta(0)
