"""Workers that are asked to take no more jobs, to take them again, or to stop."""

import asyncio

import pytest

from naq_client import Queue
from naq_core import JobState, Settings, WorkerNotFoundError
from naq_core.inspect import list_workers
from naq_core.manage import quiet_worker, resume_worker, stop_worker
from naq_worker import Worker
from tests.conftest import RunWorker
from tests.integration import work
from tests.support.eventually import eventually


@pytest.mark.naq(heartbeat_interval="60s", ack_wait="180s", worker_ttl="180s")
async def test_a_quiet_worker_finishes_its_jobs_and_takes_no_more_until_it_is_resumed(
    queue: Queue, run_worker: RunWorker
) -> None:
    work.started.clear()
    connection = await queue.connection()
    async with run_worker() as worker:
        running = await queue.enqueue(work.sleep, 0.5)
        await work.has_started()
        await quiet_worker(connection, worker.worker_id)
        await eventually(lambda: has_state(queue, "quiet"))  # the next regular heartbeat is a minute away
        assert await running.result(10) == "slept"
        waiting = await queue.enqueue(work.add, 1)
        async with run_worker() as other:
            assert await waiting.result(10) == 1
            assert other.counters.processed == 1
        left = await queue.enqueue(work.add, 2)
        assert await left.status() == JobState.QUEUED
        assert worker.counters.processed == 1
        await resume_worker(connection, worker.worker_id)
        assert await left.result(10) == 2


async def has_state(queue: Queue, state: str) -> None:
    assert [each["state"] for each in await list_workers(await queue.connection())] == [state]


@pytest.mark.parametrize("now", [False, True])
async def test_a_worker_is_stopped_from_afar(queue: Queue, settings: Settings, now: bool) -> None:
    work.started.clear()
    worker = Worker("default", settings=settings)
    running = asyncio.create_task(worker.run())
    job = await queue.enqueue(work.sleep, 30 if now else 0.5)
    await work.has_started()
    await stop_worker(await queue.connection(), worker.worker_id, now=now)
    await asyncio.wait_for(running, 10)
    assert await job.status() == (JobState.QUEUED if now else JobState.SUCCEEDED)
    with pytest.raises(WorkerNotFoundError):
        await resume_worker(await queue.connection(), worker.worker_id)


@pytest.mark.parametrize("worker_id", ["", "a.b", "*", "gone-1-2"])
async def test_no_such_worker_is_its_own_error(queue: Queue, worker_id: str) -> None:
    with pytest.raises(WorkerNotFoundError):
        await quiet_worker(await queue.connection(), worker_id)
