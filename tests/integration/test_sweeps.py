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
from naq_core.storage.messages import released
from naq_core.storage.presence import read_presence
from naq_core.storage.records import find_job, read_record
from naq_core.storage.subjects import NORMAL, WAITS, state_of_subject
from naq_core.storage.topology import create_consumer
from naq_core.transport.walk import STEP, Walk
from naq_scheduler import Scheduler, _stranded
from naq_scheduler._metrics import SchedulerMetrics
from naq_scheduler._sweep import Sweeper
from tests.conftest import RunWorker
from tests.integration import work
from tests.support.eventually import eventually

pytestmark = pytest.mark.naq(ack_wait=2, worker_ttl=1, heartbeat_interval="300ms", scheduler_ttl=2)


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


async def strand(queue: Queue) -> None:
    """Make the consumer forget what it has delivered, as the server did in faults (ADR 54, ADR 68)."""
    connection = await queue.connection()
    stream, consumer = connection.names.jobs_stream, connection.names.consumer("default", NORMAL)
    await create_consumer(connection, "default")
    config = (await connection.api(f"CONSUMER.INFO.{stream}.{consumer}"))["config"]
    update = f"CONSUMER.CREATE.{stream}.{consumer}.{config['filter_subject']}"
    once = {**config, "ack_wait": 100_000_000, "max_deliver": 1}
    await connection.api(update, {"stream_name": stream, "config": once, "action": "update"})
    inbox = connection.client.new_inbox()
    await connection.client.listen(inbox, lambda *_: None)
    request = msgspec.json.encode({"batch": 10, "expires": 200_000_000})
    await connection.client.publish(f"$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}", request, reply=inbox)

    async def is_forgotten() -> None:
        info = await connection.api(f"CONSUMER.INFO.{stream}.{consumer}")
        assert (info["num_pending"], info["num_ack_pending"]) == (0, 0)

    await eventually(is_forgotten)
    await connection.api(update, {"stream_name": stream, "config": config, "action": "update"})


async def test_a_job_that_its_consumer_has_forgotten_is_delivered_again(
    queue: Queue, sweeper: Sweeper, run_worker: RunWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs: list[Any] = [await queue.enqueue(work.add, number, 0) for number in range(3)]
    jobs += [await queue.options(key="one").enqueue(work.add, number, 0) for number in range(3, 5)]  # with bells
    await strand(queue)
    async with run_worker():
        assert await (await queue.enqueue(work.add, 7, 0)).result(20) == 7
        assert await sweeper.sweep() == {}, "they are young"
        monkeypatch.setattr(_stranded, "AGE", -1.0)
        assert await sweeper.sweep() == {}, "they may be on their way out"
        waiting = await queue.enqueue(work.sleep, 30)

        async def runs() -> None:
            assert await waiting.status() is JobState.RUNNING

        await eventually(runs)
        assert (await sweeper.sweep())["jobs that were no longer delivered"] >= 3
        assert [await job.result(20) for job in jobs] == list(range(5))
        assert await sweeper.sweep() == {}
        await waiting.cancel()


async def test_a_job_that_waits_for_others_still_does_when_it_was_stranded(
    queue: Queue, sweeper: Sweeper, run_worker: RunWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = await queue.options(delay=3600).enqueue(work.add, 1, 2)
    child = await queue.options(depends_on=[parent]).enqueue(work.add, 3, 4)
    connection = await queue.connection()
    held = await find_job(connection, child.job_id)
    assert held is not None
    subject, body, headers = released(connection, held)
    await connection.publish(subject, body, {**headers, WAITS: "1"})  # as the server's timer does
    await strand(queue)
    monkeypatch.setattr(_stranded, "AGE", -1.0)
    await sweeper.sweep()
    assert await sweeper.sweep() == {"jobs that were no longer delivered": 1}
    async with run_worker():

        async def is_held() -> None:
            assert await child.status() is JobState.HELD

        await eventually(is_held)


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
