"""A connection that the program has closed: whatever still uses it learns that at once, instead of waiting for the server."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import pytest

from naq_client import Queue, gather
from naq_core import ConnectionClosedError, Job, Settings
from naq_core.inspect import list_queues
from naq_core.manage import cancel_job
from tests.integration import work
from tests.support.eventually import eventually

AT_ONCE = 5.0
"""Seconds: less than any budget, on a busy machine."""


async def refused(call: Callable[[], Awaitable[object]]) -> None:
    began = time.monotonic()
    with pytest.raises(ConnectionClosedError, match=r"is closed .*`Job\.fetch_result`"):
        await call()
    assert time.monotonic() - began < AT_ONCE


async def test_every_use_of_a_closed_connection_is_refused_at_once(settings: Settings) -> None:
    async with Queue("default", settings=settings) as queue:
        job = await queue.enqueue(work.add, 1, 1)
        schedule = await queue.schedule(work.add, 1, 1, interval=3600)
        connection = await queue.connection()
        borrower = Queue("default", connection=connection)
    for use in (job.result, job.status, job.view, job.record, job.cancel, schedule.refresh, schedule.delete, borrower.purge):
        await refused(use)
    await refused(lambda: borrower.enqueue(work.add, 1, 1))
    await refused(lambda: borrower.enqueue_many([borrower.call(work.add, 1, 1)]))
    await refused(lambda: gather(job))
    await refused(lambda: list_queues(connection))
    await refused(lambda: cancel_job(connection, job.job_id))


async def test_who_waits_for_a_result_when_the_connection_is_closed_waits_no_longer(settings: Settings) -> None:
    async with Queue("default", settings=settings) as queue:
        job = await queue.enqueue(work.add, 1, 1)
        connection = await queue.connection()
        waiting = asyncio.create_task(job.result())

        def has_begun() -> None:
            assert connection.ends._listeners

        await eventually(has_begun)
    await refused(lambda: waiting)


async def test_a_closed_queue_opens_another_connection_and_results_are_fetched_by_id(settings: Settings) -> None:
    queue = Queue("default", settings=settings)
    await queue.enqueue(work.add, 1, 1)
    await queue.close()
    job = await queue.enqueue(work.add, 1, 1)
    await queue.close()
    with pytest.raises(TimeoutError, match="has not ended"):
        await Job.fetch_result(job.job_id, timeout=0.01, settings=settings)
