"""The running workers, and one of them."""

import asyncio
from typing import Any

from litestar.exceptions import NotFoundException

from naq_core.inspect import list_past_workers, list_workers
from naq_dashboard.languages import _
from naq_dashboard.pages.page import Query
from naq_dashboard.queries.audit import done_to
from naq_dashboard.queries.workers import WorkerRow, running_views, worker_rows
from naq_dashboard.state import AppState

__all__ = ["read_rows", "worker", "workers"]

MOST_JOBS = 20
"""How many running jobs to show details for."""
MOST_ENDED = 50
"""Workers that have ended that are listed, the latest."""
ENDED_FRESH = 5.0


async def read_rows(state: AppState) -> list[WorkerRow]:
    """Return a row for each running worker."""
    return worker_rows(await state.read(list_workers), state.now(), state.naq_settings.heartbeat_interval)


async def _ended(state: AppState) -> list[WorkerRow]:
    """Return the workers of the last day that have ended, the latest first."""
    past = await state.read(list_past_workers, fresh=ENDED_FRESH)
    return worker_rows(past, state.now(), state.naq_settings.heartbeat_interval)


async def workers(state: AppState, query: Query) -> dict[str, Any]:
    """Show every worker: where it runs, what it takes, what it does."""
    rows, ended = await asyncio.gather(read_rows(state), _ended(state))
    find = query.get("find")
    wanted = find.casefold()

    def is_meant(row: WorkerRow) -> bool:
        return any(wanted in name.casefold() for name in (row.worker_id, *row.queues))

    gone = [row for row in ended if is_meant(row)]
    return {
        "title": _("Workers"),
        "workers": [row for row in rows if is_meant(row)],
        "ended": gone[:MOST_ENDED],
        "ended_count": len(gone),
        "total": len(rows),
        "find": find,
        "slots": sum(row.concurrency for row in rows),
        "busy": sum(len(row.jobs) for row in rows),
    }


async def worker(state: AppState, query: Query) -> dict[str, Any]:
    """Show one worker and its running jobs."""
    worker_id = query.get("worker_id")
    row = next((each for each in await read_rows(state) if each.worker_id == worker_id), None)
    if row is None:
        row = next((each for each in await _ended(state) if each.worker_id == worker_id), None)
    if row is None:
        raise NotFoundException(
            f"no running worker with id {worker_id!r}, and none that has ended within a day; the records of its jobs name it"
        )
    views = await state.read(running_views, tuple(each.job_id for each in row.jobs[:MOST_JOBS]))
    return {"title": worker_id, "worker": row, "views": views, "activity": await done_to(state.read, "worker", worker_id)}
