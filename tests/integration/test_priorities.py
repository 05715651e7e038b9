"""Levels and several queues, on the real server with a real worker."""

import asyncio
from collections import Counter

import pytest

from naq_client import Queue, SyncQueue, task
from naq_core import ConfigurationError, JobState, Settings
from naq_core.manage import set_queue_limit
from naq_core.storage.records import find_job
from naq_worker import Worker
from tests.conftest import RunWorker
from tests.integration import work
from tests.support.eventually import eventually


async def drain(settings: Settings, queues: object = "default", concurrency: int = 1) -> list[str]:
    """Work everything off, and return the names of the jobs in the order of their starts."""
    work.order.clear()
    await Worker(queues, settings=settings, concurrency=concurrency, burst=True).run()  # type: ignore[arg-type]
    return list(work.order)


async def test_high_goes_before_normal_before_low(queue: Queue, settings: Settings) -> None:
    for level in ("low", "normal", "high"):
        await queue.enqueue_many(queue.options(priority=level).call(work.note, level) for _ in range(30))
    started = await drain(settings)
    assert Counter(started) == {"high": 30, "normal": 30, "low": 30}
    # One in ten slots goes to each level below, and a worker that finds three full levels begins with one of each.
    assert started[:25].count("high") >= 17
    assert started[-25:].count("low") >= 17
    assert "low" in started[:40]


async def test_a_level_has_a_subject_and_a_consumer(queue: Queue) -> None:
    job = await queue.options(priority="high").enqueue(work.add, 1)
    connection = await queue.connection()
    names = connection.names
    message = await find_job(connection, job.job_id, "default")
    assert message is not None
    assert message.subject == names.ready("default", job.job_id, "high")
    info = await connection.api(f"CONSUMER.INFO.{names.jobs_stream}.naq-high-default")
    assert (info["num_pending"], info["config"]["filter_subject"]) == (1, names.ready_filter("default", "high"))


async def test_a_retry_keeps_its_level_short_or_held_or_dead(queue: Queue, settings: Settings) -> None:
    connection = await queue.connection()
    names = connection.names
    held = await queue.options(priority="low", max_retries=1, retry_delay=3600).enqueue(work.fail)
    dead = await queue.options(priority="high").enqueue(work.fail)
    short = await queue.options(priority="low", max_retries=2, retry_delay=0.01).enqueue(work.fail_until, 2)
    await Worker(["default"], settings=settings, burst=True).run()
    assert await short.result(10) == 2
    for job, state, level in ((held, "held", "low"), (dead, "dead", "high")):
        message = await find_job(connection, job.job_id, "default")
        assert message is not None
        assert message.subject == f"{names.jobs}.{state}.default.{job.job_id}"
        assert message.headers["Nats-Schedule-Target"] == names.ready("default", job.job_id, level)


async def test_an_unknown_priority_is_refused_by_name(queue: Queue) -> None:
    with pytest.raises(ConfigurationError, match=r"priority.*'urgent'.*high, normal, low"):
        queue.options(priority="urgent")  # type: ignore[arg-type]


async def test_tasks_and_the_synchronous_queue_know_priorities(settings: Settings) -> None:
    important = task(priority="high")(work.add)
    assert important.call(1).options.priority == "high"
    assert important.options(priority="low").call(1).options.priority == "low"
    with SyncQueue("default", settings=settings) as sync:
        assert sync.options(priority="low").enqueue(work.add, 1).job.options.priority == "low"


async def test_queues_in_a_list_are_served_in_that_order(queue: Queue, settings: Settings) -> None:
    connection = await queue.connection()
    urgent = Queue("urgent", connection=connection)
    await queue.enqueue_many(queue.call(work.note, "rest") for _ in range(30))
    await urgent.enqueue_many(urgent.call(work.note, "urgent") for _ in range(30))
    started = await drain(settings, ["urgent", "default"])
    assert started[:25].count("urgent") >= 20


async def test_weights_are_shares_while_all_have_a_backlog(queue: Queue, settings: Settings) -> None:
    connection = await queue.connection()
    for name in ("a", "b"):
        each = Queue(name, connection=connection)
        await each.enqueue_many(each.call(work.note, name) for _ in range(80))
    started = await drain(settings, {"a": 3, "b": 1}, concurrency=2)
    assert Counter(started) == {"a": 80, "b": 80}
    assert started[10:90].count("a") / 80 == pytest.approx(0.75, abs=0.1)


async def test_a_high_job_passes_a_backlog_of_a_running_worker(queue: Queue, settings: Settings) -> None:
    work.order.clear()
    await queue.enqueue_many(queue.call(work.nap, "normal", 0.01) for _ in range(200))
    worker = Worker(["default"], settings=settings, concurrency=2, burst=True)
    running = asyncio.ensure_future(worker.run())

    async def has_begun() -> None:
        assert len(work.order) >= 20

    await eventually(has_begun)
    await queue.options(priority="high").enqueue(work.note, "high")
    await running
    assert work.order.index("high") < 100


async def test_a_paused_queue_holds_all_its_levels_back(queue: Queue, run_worker: RunWorker) -> None:
    await queue.pause()
    held_back = [await queue.options(priority=level).enqueue(work.add, 1) for level in ("high", "normal", "low")]
    other = Queue("other", connection=await queue.connection())
    async with run_worker("default", "other"):
        for number in range(5):
            assert await (await other.enqueue(work.add, number)).result(10) == number
        assert [await job.status() for job in held_back] == [JobState.QUEUED] * 3
        await queue.resume()
        assert [await job.result(10) for job in held_back] == [1, 1, 1]


async def test_a_limit_holds_over_all_levels(queue: Queue, run_worker: RunWorker) -> None:
    await set_queue_limit(await queue.connection(), "default", 1)
    work.most.clear()
    jobs = [await queue.options(priority=level).enqueue(work.count, 0.05) for level in ("high", "normal", "low") * 3]
    async with run_worker(concurrency=8):
        for job in jobs:
            await job.result(30)
    assert max(work.most) == 1


async def test_an_option_among_the_arguments_is_pointed_out(queue: Queue) -> None:
    for option in ({"priority": "high"}, {"delay": 5}, {"unique": "k"}):
        with pytest.raises(ConfigurationError, match=r"is not a parameter of .*add.*queue\.options"):
            await queue.enqueue(work.add, 1, **option)
    job = await queue.enqueue(work.takes_delay, delay=5)
    assert job.kwargs == {"delay": 5}
