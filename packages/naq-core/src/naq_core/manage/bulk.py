"""Bulk actions: requeue, cancel or delete the jobs that match a filter."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Literal, TypeAlias

import msgspec

from naq_core.errors import EnqueueSkippedError, InvalidOptionError, JobNotFoundError, JobStateError
from naq_core.filters import check_filter
from naq_core.inspect import list_jobs
from naq_core.manage.cancel import CancelOutcome, cancel_job
from naq_core.manage.jobs import delete_job, retry_job
from naq_core.masks import Mask
from naq_core.record import FINAL, JobState
from naq_core.storage.connection import Connection
from naq_core.views import JobFilter, JobView

Action: TypeAlias = Literal["retry", "cancel", "delete"]

PAGE = 200
AT_ONCE = 32

MEANT: dict[str, frozenset[JobState]] = {
    "retry": frozenset({JobState.DEAD}),
    "cancel": frozenset({JobState.QUEUED, JobState.HELD, JobState.RUNNING, JobState.RETRYING}),
    "delete": FINAL,
}
"""The states meant by a filter that names none."""


async def bulk(
    connection: Connection,
    action: Action,
    filter: JobFilter,  # noqa: A002 - as in `list_jobs`
    *,
    on_progress: Callable[[int], None] | None = None,
    mask: Mask | None = None,
) -> int:
    """Put back, cancel or delete every job that a filter matches, and return with how many it was done.

    Works page by page from the newest job down, so it needs little memory for any number of jobs; jobs that come to match
    while it runs are not reached. What has changed between the look and the deed is left as it is and not counted.

    Args:
        action: `retry`, `cancel` or `delete`.
        filter: Where it names no states: the dead ones to `retry`, those that have not ended to `cancel`, those that have to
            `delete`.
        on_progress: Called after each page with the number so far.
        mask: As of `naq_core.inspect.list_jobs`: what it hides is not looked at by the filter.

    Raises:
        InvalidOptionError: No such action.
        BrokerError: The server went away; what was done is done, call it again for the rest.
    """
    if action not in tuple(MEANT):
        raise InvalidOptionError("action", f"unknown action {action!r}; use one of {', '.join(sorted(MEANT))}")
    wanted = check_filter(filter)
    if not wanted.states:
        wanted = msgspec.structs.replace(wanted, states=MEANT[action])
    done = 0
    cursor: str | None = None
    room = asyncio.Semaphore(AT_ONCE)

    async def act(job: JobView) -> bool:
        async with room:
            return await _DO[action](connection, job)

    while True:
        page = await list_jobs(connection, wanted, limit=PAGE, cursor=cursor, mask=mask)
        done += sum(await asyncio.gather(*(act(job) for job in page.jobs)))
        if on_progress is not None:
            on_progress(done)
        cursor = page.cursor
        if cursor is None:
            return done


async def _retry(connection: Connection, job: JobView) -> bool:
    try:
        await retry_job(connection, job.job_id, queue=job.queue)
    except (JobNotFoundError, JobStateError, EnqueueSkippedError):
        return False
    return True


async def _cancel(connection: Connection, job: JobView) -> bool:
    try:
        return await cancel_job(connection, job.job_id, queue=job.queue) is not CancelOutcome.ALREADY_ENDED
    except JobNotFoundError:
        return False


async def _delete(connection: Connection, job: JobView) -> bool:
    try:
        await delete_job(connection, job.job_id, queue=job.queue)
    except (JobNotFoundError, JobStateError):
        return False
    return True


_DO: dict[str, Callable[[Connection, JobView], Awaitable[bool]]] = {"retry": _retry, "cancel": _cancel, "delete": _delete}
