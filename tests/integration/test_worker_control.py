"""Workers that are asked to take no more jobs, to take them again, or to stop."""

import asyncio
import os

import pytest

from naq_client import Queue
from naq_core import JobState, Settings, WorkerNotFoundError
from naq_core.errors import InvalidNameError, InvalidOptionError
from naq_core.inspect import list_workers
from naq_core.manage import quiet_worker, resize_worker, resume_worker, stop_worker
from naq_core.storage.control import ControlRequest, ask_worker
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


@pytest.mark.naq(heartbeat_interval="60s", ack_wait="180s", worker_ttl="180s")
async def test_a_worker_is_resized_while_it_runs(queue: Queue, run_worker: RunWorker) -> None:
    connection = await queue.connection()
    async with run_worker(concurrency=1) as worker:
        await eventually(lambda: has_slots(queue, 1))
        jobs = [await queue.enqueue(work.meet, "resized", 3) for _ in range(3)]  # each waits for the others
        await resize_worker(connection, worker.worker_id, 3)
        await eventually(lambda: has_slots(queue, 3))  # the next regular heartbeat is a minute away
        assert [await job.result(20) for job in jobs] == [3, 3, 3]
        worker.resize(1)
        await eventually(lambda: has_slots(queue, 1))
        work.most.clear()
        work.going_on.clear()
        for job in [await queue.enqueue(work.count, 0.02) for _ in range(6)]:
            await job.result(20)
        assert work.most == [1] * 6, "never two at a time"
        assert worker.counters.processed == 9


async def has_slots(queue: Queue, slots: int) -> None:
    assert [each["concurrency"] for each in await list_workers(await queue.connection())] == [slots]


async def test_a_worker_that_shrinks_finishes_what_runs(queue: Queue, run_worker: RunWorker) -> None:
    async with run_worker(concurrency=3) as worker:
        jobs = [await queue.enqueue(work.meet, "shrunk", 4) for _ in range(4)]
        await eventually(lambda: worker.in_hand >= 3)
        await resize_worker(await queue.connection(), worker.worker_id, 1)
        assert worker.in_hand >= 3
        async with run_worker(concurrency=1) as other:  # the fourth is not hoarded by the first
            assert [await job.result(20) for job in jobs] == [4] * 4
            assert other.counters.processed == 1


@pytest.mark.parametrize("slots", [0, -1, 100_001, "many", 2.5])
async def test_a_wrong_size_is_refused_here_and_by_the_worker(queue: Queue, run_worker: RunWorker, slots: object) -> None:
    connection = await queue.connection()
    async with run_worker(concurrency=2) as worker:
        with pytest.raises(InvalidOptionError, match="concurrency"):
            await resize_worker(connection, worker.worker_id, slots)  # type: ignore[arg-type]
        if type(slots) is int:
            await eventually(lambda: has_slots(queue, 2))
            reply = await ask_worker(connection, worker.worker_id, ControlRequest("resize", slots=slots))
            assert reply is not None
            assert not reply.done
        assert worker.concurrency == 2


async def test_the_id_of_a_worker_begins_with_its_name(queue: Queue, run_worker: RunWorker) -> None:
    async with run_worker(name="mailer") as worker:
        assert worker.worker_id.startswith(f"mailer-{os.getpid()}-")
        await eventually(lambda: has_slots(queue, worker.concurrency))
        found = (await list_workers(await queue.connection()))[0]
        assert (found["worker_id"], found["name"]) == (worker.worker_id, "mailer")


@pytest.mark.parametrize("name", ["", "a.b", "a b", "*", "ä", "x" * 65, "a_b", 7])
def test_a_name_that_no_id_can_begin_with_is_refused(name: object) -> None:
    with pytest.raises(InvalidNameError, match="worker name"):
        Worker("default", name=name)  # type: ignore[arg-type]


@pytest.mark.parametrize("worker_id", ["", "a.b", "*", "gone-1-2"])
async def test_no_such_worker_is_its_own_error(queue: Queue, worker_id: str) -> None:
    with pytest.raises(WorkerNotFoundError):
        await quiet_worker(await queue.connection(), worker_id)
