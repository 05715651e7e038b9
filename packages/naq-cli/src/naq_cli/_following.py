"""Following one job until its end: its log lines and its progress as they come."""

import asyncio
import contextlib

from naq_cli._jobs import progress_text, write_log
from naq_cli._session import Session
from naq_core.events import events
from naq_core.inspect import get_job, wait_for_job
from naq_core.tasks import beside
from naq_core.views import JobView


async def follow_job(session: Session, job_id: str, timeout: float | None = None, *, logs_only: bool = False) -> JobView:
    """Print a job's log lines and progress as they come, and return it when it has ended.

    Args:
        timeout: Seconds; None waits as long as it takes.
        logs_only: Leave the progress out.

    Raises:
        JobNotFoundError: There is no such job.
        JobTimeoutError: It has not ended; it goes on.
    """
    connection = session.connection
    shown = _Shown(session, logs_only=logs_only)
    job = await get_job(connection, job_id)
    shown.update(job)

    async def follow() -> None:
        async with contextlib.aclosing(events(connection, job.queue)) as feed:
            async for event in feed:
                if event.job_id in {job.job_id, ""}:  # a gap has no id
                    shown.update(await get_job(connection, job.job_id, job.queue))

    async with beside(follow()) as following, beside(wait_for_job(connection, job_id, timeout)) as end:
        await asyncio.wait((end, following), return_when=asyncio.FIRST_COMPLETED)
        if not end.done():
            following.result()  # it only returns by failing
        job = await end
    shown.update(job)
    return job


class _Shown:
    """Remembers what was printed."""

    def __init__(self, session: Session, *, logs_only: bool) -> None:
        self._session = session
        self._logs_only = logs_only
        self._lines = 0
        self._progress = ""

    def update(self, job: JobView) -> None:
        """Print what is new."""
        for line in job.logs[self._lines :]:
            write_log(self._session, line)
        self._lines = max(self._lines, len(job.logs))
        text = progress_text(job.progress)
        if text != self._progress and not self._logs_only:
            self._session.output.remark(text)
            self._progress = text
