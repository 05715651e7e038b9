"""The workers that live, and one of them."""

import asyncio
from datetime import UTC, datetime
from typing import Any

from litestar.exceptions import NotFoundException

from naq_core.errors import AmbiguousJobError, InvalidNameError, JobNotFoundError
from naq_core.inspect import get_job, list_workers
from naq_core.storage.connection import Connection
from naq_core.views import JobView
from naq_dashboard.pages.audit import done_to
from naq_dashboard.pages.page import Query
from naq_dashboard.state import AppState

__all__ = ["worker", "worker_rows", "workers"]

MOST_JOBS = 20
"""How many running jobs to show details for."""
COUNTERS = ("processed", "succeeded", "failed", "retried", "skipped")


async def workers(state: AppState, query: Query) -> dict[str, Any]:
    """Show every worker: where it runs, what it takes, what it does."""
    rows = worker_rows(state, await state.read(list_workers))
    find = query.get("find")
    wanted = find.casefold()
    return {
        "title": "Workers",
        "workers": [row for row in rows if any(wanted in name.casefold() for name in (row["worker_id"], *row["queues"]))],
        "total": len(rows),
        "find": find,
        "slots": sum(row["concurrency"] for row in rows),
        "busy": sum(len(row["jobs"]) for row in rows),
    }


async def worker(state: AppState, query: Query) -> dict[str, Any]:
    """Show one worker and the jobs in its hands."""
    worker_id = query.get("worker_id")
    rows = [row for row in worker_rows(state, await state.read(list_workers)) if row["worker_id"] == worker_id]
    if not rows:
        raise NotFoundException(
            f"no running worker with id {worker_id!r}; a stopped worker is only named in the records of its jobs"
        )
    views = await state.read(_jobs_in_hand, tuple(each["job_id"] for each in rows[0]["jobs"][:MOST_JOBS]))
    return {"title": worker_id, "worker": rows[0], "views": views, "activity": await done_to(state, "worker", worker_id)}


async def _jobs_in_hand(connection: Connection, job_ids: tuple[str, ...]) -> dict[str, JobView]:
    """Return what is known of the jobs; one may have ended and been forgotten meanwhile, or have an id that no job can have."""

    async def look(job_id: str) -> JobView | None:
        try:
            return await get_job(connection, job_id)
        except (JobNotFoundError, AmbiguousJobError, InvalidNameError):
            return None

    found = await asyncio.gather(*(look(job_id) for job_id in job_ids))
    return {job_id: view for job_id, view in zip(job_ids, found, strict=True) if view is not None}


def worker_rows(state: AppState, found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Bring the presence documents, which may be of another version or anybody's, into one form."""
    settings = state.naq_settings
    stale_after = settings.heartbeat_interval * 2
    return [_row(each, state.now() - stale_after) for each in found if isinstance(each, dict)]


def _row(each: dict[str, Any], stale_before: datetime) -> dict[str, Any]:
    running = each.get("running")
    running = running if isinstance(running, dict) else {}
    seen = _instant(each.get("at"))
    return {
        "worker_id": str(each.get("worker_id", "?")),
        "host": str(each.get("host", "")),
        "pid": each.get("pid", ""),
        "queues": [str(name) for name in _list(each.get("queues"))],
        "concurrency": _whole(each.get("concurrency")),
        "jobs": [{"job_id": str(job_id), "started_at": _instant(at)} for job_id, at in running.items()],
        "rss": _whole(each.get("rss")),
        "version": str(each.get("version", "")),
        "python": str(each.get("python", "")),
        "started_at": _instant(each.get("started_at")),
        "seen_at": seen,
        "state": str(each.get("state", "")),
        "unreadable": str(each.get("unreadable", "")),
        "is_stale": seen is not None and seen < stale_before,
        "counters": {name: _whole(each.get(name)) for name in COUNTERS},
    }


def _instant(value: object) -> datetime | None:
    if not isinstance(value, int | float) or not 0 < value < 32_503_680_000:
        return None
    return datetime.fromtimestamp(value, UTC)


def _whole(value: object) -> int:
    return int(value) if isinstance(value, int | float) and abs(value) < 2**63 else 0


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
