"""A paused queue: a fact of the server, for every worker."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from naq_client import Queue
from naq_core import ConfigurationError, JobState, JobTimeoutError, Settings
from naq_core.manage import is_queue_paused, pause_queue, resume_queue
from naq_core.server import EmbeddedServer
from naq_core.storage.connection import Connection
from naq_worker import Worker
from tests.conftest import RunWorker
from tests.integration import work
from tests.support.eventually import eventually


async def test_a_paused_queue_delivers_nothing_until_it_is_resumed(queue: Queue, run_worker: RunWorker) -> None:
    async with run_worker():
        assert await (await queue.enqueue(work.add, 1)).result(10) == 1
        await queue.pause()
        job = await queue.enqueue(work.add, 2)
        with pytest.raises(JobTimeoutError):
            await job.result(0.5)
        assert await job.status() == JobState.QUEUED
        assert await queue.is_paused()

        await queue.resume()
        assert await job.result(10) == 2
        assert not await queue.is_paused()


async def test_a_worker_that_starts_on_a_paused_queue_waits_and_other_queues_go_on(
    queue: Queue, settings: Settings, run_worker: RunWorker
) -> None:
    await queue.pause()
    job = await queue.enqueue(work.add, 1)
    async with run_worker("default", "other"), Queue("other", settings=settings) as other:
        assert await (await other.enqueue(work.add, 2)).result(10) == 2
        assert await job.status() == JobState.QUEUED
        await queue.resume()
        assert await job.result(10) == 1


async def test_a_running_job_goes_on_in_a_paused_queue(queue: Queue, run_worker: RunWorker) -> None:
    work.started.clear()
    async with run_worker():
        job = await queue.enqueue(work.sleep, 0.3)
        await work.has_started()
        await queue.pause()
        assert await job.result(10) == "slept"


async def test_the_server_resumes_a_queue_by_itself_at_the_time_given(queue: Queue, run_worker: RunWorker) -> None:
    until = datetime.now(UTC) + timedelta(seconds=1)
    await queue.pause(until)
    async with run_worker():
        assert await (await queue.enqueue(work.now)).result(10) >= until.timestamp()
    assert not await queue.is_paused()


async def test_a_consumer_created_anew_on_a_paused_queue_is_paused_too(queue: Queue) -> None:
    connection = await queue.connection()
    await queue.pause()
    for consumer, _ in connection.names.consumers("default"):
        await connection.api(f"CONSUMER.DELETE.{connection.names.jobs_stream}.{consumer}")
    connection.ready.clear()
    await queue.enqueue(work.add, 1)
    assert await queue.is_paused()


async def test_a_pause_survives_a_restart_of_the_server(namespace: str) -> None:
    with EmbeddedServer() as server:
        async with Connection(Settings.load(nats_url=server.url, namespace=namespace)) as connection:
            await pause_queue(connection, "mail")
            server.kill()
            server.restart()
            assert await is_queue_paused(connection, "mail")
            await resume_queue(connection, "mail")
            assert not await is_queue_paused(connection, "mail")


@pytest.mark.parametrize("until", [datetime(2020, 1, 1, tzinfo=UTC), datetime(2200, 1, 1)])  # noqa: DTZ001 - naive on purpose
async def test_an_impossible_end_of_a_pause_is_refused(queue: Queue, until: datetime) -> None:
    with pytest.raises(ConfigurationError, match="until"):
        await queue.pause(until)
    assert not await queue.is_paused()


async def test_a_queue_nobody_ever_used_is_not_paused_and_can_be_resumed(queue: Queue) -> None:
    assert not await queue.is_paused()
    await queue.resume()


async def test_a_burst_worker_does_not_wait_for_a_paused_queue(queue: Queue, settings: Settings) -> None:
    job = await queue.enqueue(work.add, 1)
    await queue.pause()
    await asyncio.wait_for(Worker("default", settings=settings, burst=True).run(), 10)
    assert await job.status() == JobState.QUEUED


async def test_a_pause_that_is_over_does_not_stop_a_consumer_that_is_created_later(queue: Queue) -> None:
    connection = await queue.connection()
    await queue.pause(datetime.now(UTC) + timedelta(seconds=0.2))

    async def is_over() -> None:
        assert not await queue.is_paused()

    await eventually(is_over)
    for consumer, _ in connection.names.consumers("default"):
        await connection.api(f"CONSUMER.DELETE.{connection.names.jobs_stream}.{consumer}")
    connection.ready.clear()
    await queue.enqueue(work.add, 1)
    assert not await queue.is_paused()
