"""Running workers, from the presence documents that they write, and the jobs that they run."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from naq_core.errors import AmbiguousJobError, InvalidNameError, JobNotFoundError
from naq_core.inspect import get_job
from naq_core.storage.connection import Connection
from naq_core.views import JobView

__all__ = ["RunningJob", "WorkerRow", "running_views", "worker_rows"]

ENDED = ("stopped", "vanished")
"""The states of workers that are no more."""
COUNTERS = ("processed", "succeeded", "failed", "retried", "skipped")


@dataclass(frozen=True, slots=True)
class RunningJob:
    """A job that a worker says it runs."""

    job_id: str
    started_at: datetime | None
    """None while it waits for a slot."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerRow:
    """A worker as pages show it; empty and 0 stand for what its document does not say."""

    worker_id: str
    host: str
    pid: str
    queues: list[str]
    patterns: list[str]
    """It serves all queues that match them."""
    concurrency: int
    jobs: list[RunningJob]
    rss: int
    """Bytes of memory."""
    version: str
    python: str
    started_at: datetime | None
    seen_at: datetime | None
    state: str
    unreadable: str
    """Why the document cannot be read."""
    is_stale: bool
    """Whether it has missed two heartbeats."""
    counters: dict[str, int]


def worker_rows(found: Sequence[object], now: datetime, heartbeat: timedelta) -> list[WorkerRow]:
    """Return presence documents in one form: they may be of another version, or written by anybody.

    Args:
        found: As `list_workers` returns them.
        now: The server's time.
        heartbeat: How often a worker writes its document.
    """
    return [_row(each, now - heartbeat * 2) for each in found if isinstance(each, dict)]


async def running_views(connection: Connection, job_ids: tuple[str, ...]) -> dict[str, JobView]:
    """Return what is known of running jobs, without those that were forgotten meanwhile or whose id no job can have."""

    async def view(job_id: str) -> JobView | None:
        try:
            return await get_job(connection, job_id)
        except (JobNotFoundError, AmbiguousJobError, InvalidNameError):
            return None

    found = await asyncio.gather(*(view(job_id) for job_id in job_ids))
    return {job_id: view for job_id, view in zip(job_ids, found, strict=True) if view is not None}


def _row(each: Mapping[str, Any], stale_before: datetime) -> WorkerRow:
    running = each.get("running")
    seen = _instant(each.get("at"))
    return WorkerRow(
        worker_id=str(each.get("worker_id", "?")),
        host=str(each.get("host", "")),
        pid=str(each.get("pid", "")),
        queues=[str(name) for name in _list(each.get("queues"))],
        patterns=[str(name) for name in _list(each.get("patterns"))],
        concurrency=_whole(each.get("concurrency")),
        jobs=[RunningJob(str(name), _instant(at)) for name, at in (running if isinstance(running, dict) else {}).items()],
        rss=_whole(each.get("rss")),
        version=str(each.get("version", "")),
        python=str(each.get("python", "")),
        started_at=_instant(each.get("started_at")),
        seen_at=seen,
        state=str(each.get("state", "")),
        unreadable=str(each.get("unreadable", "")),
        is_stale=seen is not None and seen < stale_before and each.get("state") not in ENDED,
        counters={name: _whole(each.get(name)) for name in COUNTERS},
    )


def _instant(value: object) -> datetime | None:
    if not isinstance(value, int | float) or not 0 < value < 32_503_680_000:
        return None
    return datetime.fromtimestamp(value, UTC)


def _whole(value: object) -> int:
    return int(value) if isinstance(value, int | float) and abs(value) < 2**63 else 0


def _list(value: object) -> list[Any]:
    return value if isinstance(value, list) else []
