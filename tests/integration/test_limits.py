"""A limit on how many of a queue's jobs run at once, over all workers."""

import asyncio
import dataclasses
from contextlib import AsyncExitStack
from datetime import timedelta

import msgspec
import pytest

from naq_client import Queue
from naq_core import BrokerError, ConfigurationError, Connection, Settings
from naq_core.inspect import get_queue
from naq_core.server import EmbeddedServer
from naq_core.storage import queues
from naq_core.storage.queues import QueueSettings, QueueSettingsWatch
from naq_core.storage.slots import Holder, read_slots
from naq_core.transport.headers import EXPECTED_SEQUENCE
from naq_worker import Worker
from tests.conftest import RunWorker
from tests.integration import work
from tests.support.eventually import eventually
from tests.support.proxy import Proxy


async def finished(queue: Queue, run_worker: RunWorker, workers: int, jobs: list[object]) -> None:
    """Run jobs with several workers of four slots each, and note how many ran at once."""
    async with AsyncExitStack() as stack:
        for _ in range(workers):
            await stack.enter_async_context(run_worker(concurrency=4))
        await asyncio.gather(*(job.result(30) for job in jobs))  # type: ignore[attr-defined]


async def test_no_more_jobs_than_the_limit_run_at_once_over_all_workers(queue: Queue, run_worker: RunWorker) -> None:
    await queue.set_limit(3)
    work.at_once.reset()
    jobs = await queue.enqueue_many(queue.call(work.count_until, 3) for _ in range(20))
    await finished(queue, run_worker, 3, list(jobs))
    assert work.at_once.most == 3
    assert (await get_queue(await queue.connection(), "default")).limit == 3


async def test_the_limit_holds_over_priorities(queue: Queue, run_worker: RunWorker) -> None:
    await queue.set_limit(1)
    work.at_once.reset()
    jobs = [
        await queue.options(priority=priority).enqueue(work.count_at_once, 0.01)
        for _ in range(5)
        for priority in ("high", "normal", "low")
    ]
    await finished(queue, run_worker, 2, list(jobs))
    assert work.at_once.most == 1


async def test_a_limit_that_is_changed_while_workers_run_counts_at_once(queue: Queue, run_worker: RunWorker) -> None:
    async with run_worker(concurrency=8), run_worker(concurrency=8):
        await asyncio.gather(*[(await queue.enqueue(work.add, n)).result(10) for n in range(4)])
        for limit in (2, 5, 1, None):
            await queue.set_limit(limit)
            connection = await queue.connection()
            await connection.client.flush()
            work.at_once.reset()
            jobs = await queue.enqueue_many(queue.call(work.count_until, limit or 6) for _ in range(24))
            await asyncio.gather(*(job.result(30) for job in jobs))
            assert work.at_once.most == limit or (limit is None and work.at_once.most >= 6)


async def test_jobs_that_back_off_do_not_stop_a_limited_queue(queue: Queue, run_worker: RunWorker) -> None:
    await queue.set_limit(1)
    for _ in range(3):
        await queue.options(max_retries=1, retry_delay=9.5).enqueue(work.fail)
    job = await queue.enqueue(work.add, 1)
    async with run_worker():
        assert await job.result(8) == 1


async def test_a_limited_queue_does_not_hold_up_another(queue: Queue, settings: Settings, run_worker: RunWorker) -> None:
    await queue.set_limit(1)
    await queue.enqueue_many(queue.call(work.count_at_once, 3) for _ in range(20))
    async with Queue("other", settings=settings) as other, run_worker("default", "other", concurrency=2):
        jobs = [await other.enqueue(work.add, n) for n in range(50)]
        assert await asyncio.gather(*(job.result(30) for job in jobs)) == list(range(50))
        await queue.purge()


async def test_burst_workers_leave_no_job_of_a_limited_queue(queue: Queue, settings: Settings) -> None:
    await queue.set_limit(1)
    jobs = await queue.enqueue_many(
        queue.options(priority="high" if n % 2 else "low").call(work.count_at_once, 0.01) for n in range(10)
    )
    await asyncio.gather(*(Worker("default", settings=settings, burst=True, concurrency=4).run() for _ in range(2)))
    assert {await job.status() for job in jobs} == {"succeeded"}


async def test_the_slots_of_a_worker_that_is_gone_are_taken_over(queue: Queue, settings: Settings, run_worker: RunWorker) -> None:
    await queue.set_limit(1)
    connection = await queue.connection()
    body = msgspec.json.encode(Holder("gone-1-2", "some-job", 1.0))
    await connection.publish(connection.names.slot("default", 0), body, {EXPECTED_SEQUENCE: "0"})
    job = await queue.enqueue(work.add, 1)
    quick = dataclasses.replace(settings, worker_ttl=timedelta(seconds=1), heartbeat_interval=timedelta(seconds=0.3))
    async with run_worker(settings=quick):
        assert await job.result(10) == 1

        async def is_free() -> None:
            assert (await read_slots(connection, "default"))[0].is_free

        await eventually(is_free)


async def test_a_slot_forgotten_by_a_living_worker_is_taken_over(queue: Queue, settings: Settings, run_worker: RunWorker) -> None:
    await queue.set_limit(1)
    connection = await queue.connection()
    quick = dataclasses.replace(settings, heartbeat_interval=timedelta(seconds=0.3))
    async with run_worker("elsewhere", settings=quick) as forgetful, run_worker(settings=quick):
        body = msgspec.json.encode(Holder(forgetful.worker_id, "some-job", 1.0))
        await connection.publish(connection.names.slot("default", 0), body, {EXPECTED_SEQUENCE: "0"})
        assert await (await queue.enqueue(work.add, 1)).result(10) == 1


@pytest.mark.parametrize("limit", [0, -1, 10_001, True, 1.5, "3"])
async def test_an_impossible_limit_is_refused(queue: Queue, limit: object) -> None:
    with pytest.raises(ConfigurationError, match="limit"):
        await queue.set_limit(limit)  # type: ignore[arg-type]


async def test_settings_changed_while_a_worker_was_cut_off_are_read_until_they_are_known(
    queue: Queue, settings: Settings, nats_server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    known: dict[str, int | None] = {}
    names = ["default", "second", "third"]
    read, failures = queues.read_queue_settings, iter([True, True, True, True])

    async def read_at_last(connection: Connection, name: str) -> QueueSettings:
        if next(failures, False):
            raise BrokerError("no answer")
        return await read(connection, name)

    async with Proxy(nats_server.port) as proxy, Connection(dataclasses.replace(settings, nats_url=proxy.url)) as connection:
        await QueueSettingsWatch(connection, names, lambda name, found: known.update({name: found.limit})).start()
        assert known == dict.fromkeys(names)
        monkeypatch.setattr(queues, "read_queue_settings", read_at_last)
        monkeypatch.setattr(queues, "PAUSE", 0.01)
        proxy.blackhole()
        for name in names:
            await Queue(name, connection=await queue.connection()).set_limit(7)
        proxy.heal(revive=False)
        proxy.reset()
        await eventually(lambda: known == dict.fromkeys(names, 7))
    assert next(failures, None) is None
