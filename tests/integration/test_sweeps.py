"""What crashes leave behind is put in order by the leading scheduler."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import msgspec
import pytest

from naq_client import Queue
from naq_core import JobRecord, JobState, Settings
from naq_core.record import encode_record
from naq_core.storage.presence import read_presence
from naq_core.storage.records import find_job, read_record
from naq_core.storage.subjects import state_of_subject
from naq_core.transport.walk import STEP, Walk
from naq_scheduler import Scheduler
from naq_scheduler._metrics import SchedulerMetrics
from naq_scheduler._sweep import Sweeper
from tests.conftest import RunWorker
from tests.integration import work
from tests.support.eventually import eventually

pytestmark = pytest.mark.naq(worker_ttl=1, heartbeat_interval="300ms", scheduler_ttl=2)


class Leads:
    """A lease that is always held."""

    is_held = True
    seconds_left = 60.0


@pytest.fixture
async def sweeper(queue: Queue) -> Sweeper:
    return Sweeper(await queue.connection(), Leads(), SchedulerMetrics(), 1.0)


async def put_record(queue: Queue, job_id: str, state: JobState, **fields: Any) -> None:
    """Write a job's record as a worker did that died right after."""
    connection = await queue.connection()
    record = JobRecord(state, job_id, "default", "tests.integration.work:add", **fields)
    await connection.publish(connection.names.result("default", job_id), encode_record(record), {})


async def state_of(queue: Queue, job_id: str) -> JobState | None:
    stored = await read_record(await queue.connection(), "default", job_id)
    return None if stored is None else stored.record.state


async def test_a_job_that_nobody_takes_expires(queue: Queue, sweeper: Sweeper) -> None:
    late = await queue.options(expires=0.1).enqueue(work.add, 1, 2)
    held = await queue.options(expires=0.3, delay=0.2).enqueue(work.add, 1, 2)
    in_time = await queue.options(expires=3600).enqueue(work.add, 1, 2)

    async def both_expired() -> None:
        await sweeper.sweep()
        assert [await late.status(), await held.status()] == [JobState.EXPIRED] * 2

    await eventually(both_expired, interval=0.2)
    assert await in_time.status() is JobState.QUEUED
    assert await find_job(await queue.connection(), late.job_id) is None


async def test_a_job_is_released_whose_parents_ended_unseen(queue: Queue, sweeper: Sweeper, run_worker: RunWorker) -> None:
    parent = await queue.enqueue(work.add, 1, 2)
    child = await queue.options(depends_on=[parent]).enqueue(work.add, 3, 4)
    assert await sweeper.sweep() == {}
    assert await child.status() is JobState.HELD
    await put_record(queue, parent.job_id, JobState.SUCCEEDED)
    assert await sweeper.sweep() == {"jobs whose parents had ended": 1}
    message = await find_job(await queue.connection(), child.job_id)
    assert message is not None
    assert state_of_subject(message.subject)[0] == "normal"
    async with run_worker():
        assert await child.result(timeout=10) == 7


async def test_a_claim_without_worker_and_message_is_ended(queue: Queue, sweeper: Sweeper) -> None:
    long_ago = time.time() - 3600
    live = await queue.enqueue(work.add, 1, 2)
    await put_record(queue, "orphan", JobState.RUNNING, worker="gone", started_at=long_ago)
    await put_record(queue, live.job_id, JobState.RUNNING, worker="gone", started_at=long_ago)
    await put_record(queue, "young", JobState.RUNNING, worker="gone", started_at=time.time())

    async def orphan_is_dead() -> None:
        await sweeper.sweep()
        assert await state_of(queue, "orphan") is JobState.DEAD

    await eventually(orphan_is_dead, interval=0.2)
    stored = await read_record(await queue.connection(), "default", "orphan")
    assert stored is not None
    assert stored.record.errors[-1].type == "WorkerLost"
    assert await state_of(queue, live.job_id) is JobState.RUNNING
    assert await state_of(queue, "young") is JobState.RUNNING


async def test_a_claim_of_a_living_worker_is_let_alone(queue: Queue, sweeper: Sweeper, run_worker: RunWorker) -> None:
    async with run_worker() as worker:
        await put_record(queue, "young", JobState.RUNNING, worker=worker.worker_id, started_at=time.time() - 3600)
        connection = await queue.connection()

        async def is_seen() -> None:
            assert connection.seconds_connected > 1
            assert await read_presence(connection, worker.worker_id) is not None

        await eventually(is_seen)
        assert await sweeper.sweep() == {}
        assert await state_of(queue, "young") is JobState.RUNNING


async def test_a_presence_that_nobody_renews_is_removed(queue: Queue, sweeper: Sweeper, run_worker: RunWorker) -> None:
    connection = await queue.connection()
    async with run_worker() as worker:
        await connection.publish(
            connection.names.worker("ghost"), msgspec.json.encode({"worker_id": "ghost", "running": {}, "at": 1.0}), {}
        )

        async def ghost_is_gone() -> None:
            await sweeper.sweep()
            assert await read_presence(connection, "ghost") is None

        await eventually(ghost_is_gone, interval=0.3)
        assert await read_presence(connection, worker.worker_id) is not None


async def test_garbage_in_the_streams_stops_no_sweep(queue: Queue, sweeper: Sweeper) -> None:
    connection = await queue.connection()
    late = await queue.options(expires=0.1).enqueue(work.add, 1, 2)
    await connection.publish(connection.names.ready("default", "garbage"), b"\xff\x00", {})
    await connection.publish(connection.names.result("default", "garbage"), b"\xff\x00", {})
    await connection.publish(connection.names.worker("garbage"), b"\xff\x00", {})

    async def expired() -> None:
        await sweeper.sweep()
        assert await late.status() is JobState.EXPIRED

    await eventually(expired, interval=0.2)


async def test_a_walk_sees_every_message_once_across_gaps(queue: Queue) -> None:
    connection = await queue.connection()
    many = await queue.enqueue_many([queue.call(work.add, number, 0) for number in range(2 * STEP + 50)])
    await connection.api(f"STREAM.PURGE.{connection.names.jobs_stream}", {"keep": 10})
    more = [await queue.enqueue(work.add, 1, 2) for _ in range(5)]
    walk = Walk(connection, connection.names.jobs_stream)
    for _ in range(2):
        seen: list[str] = []
        is_last = False
        while not is_last:
            entries, is_last = await walk.step()
            seen += [state_of_subject(entry.subject)[2] for entry in entries]
        assert seen == [job.job_id for job in (*many[-10:], *more)]


async def test_the_leader_sweeps_by_itself(queue: Queue, settings: Settings) -> None:
    late = await queue.options(expires=0.1).enqueue(work.add, 1, 2)
    scheduler = Scheduler(settings=settings, sweep_interval=0.1)
    async with asyncio.TaskGroup() as group:
        group.create_task(scheduler.run())

        async def expired() -> None:
            assert await late.status() is JobState.EXPIRED
            assert 'naq_scheduler_swept_total{sweep="expired jobs"} 1' in scheduler.metrics.text()

        try:
            await eventually(expired)
        finally:
            scheduler.stop()
