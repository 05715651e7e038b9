"""Many jobs awaited at once."""

import asyncio
from pathlib import Path

import pytest

from naq_client import Queue, as_completed, gather
from naq_core import Connection, Job, JobError, JobFailedError, JobTimeoutError
from tests.conftest import RunWorker
from tests.integration import work
from tests.support.eventually import eventually


async def test_results_come_in_the_order_of_the_jobs(queue: Queue, run_worker: RunWorker) -> None:
    slow = await queue.enqueue(work.sleep, 0.2)
    async with run_worker("default", "other"), Queue("other", settings=queue.settings) as other:
        quick = await other.enqueue(work.add, 1, 2)
        assert await gather(slow, quick, slow, timeout=10) == ["slept", 3, "slept"]
        assert await gather() == []


async def test_the_first_failure_is_raised_or_all_are_returned(queue: Queue, run_worker: RunWorker) -> None:
    good, bad = await queue.enqueue(work.add, 1, 2), await queue.enqueue(work.fail, "no good")
    async with run_worker():
        with pytest.raises(JobFailedError, match="no good"):
            await gather(good, bad, timeout=10)
        result, error = await gather(good, bad, timeout=10, return_exceptions=True)
    assert result == 3
    assert isinstance(error, JobFailedError)


async def test_a_timeout_names_a_job_that_has_not_ended(queue: Queue, run_worker: RunWorker) -> None:
    ended, waiting = await queue.enqueue(work.add, 1, 2), await queue.enqueue(work.sleep, 30)
    async with run_worker() as worker:
        await ended.result(10)
        with pytest.raises(JobTimeoutError) as caught:
            await gather(ended, waiting, timeout=0.1)
        worker.stop_now()
    assert caught.value.job_id == waiting.job_id


async def test_jobs_come_as_they_end(queue: Queue, run_worker: RunWorker, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    slow, quick, failing = (
        await queue.enqueue(work.hold, gate),
        await queue.enqueue(work.add, 1, 2),
        await queue.enqueue(work.fail, "no good"),
    )
    found = []
    async with run_worker():
        async for job in as_completed([slow, quick, failing], timeout=10):
            found.append(job)
            if job is failing:
                with pytest.raises(JobFailedError, match="no good"):
                    await job.result()
            else:
                assert await job.result() in {"held", 3}
            if len(found) == 2:
                gate.touch()
    assert found[-1] is slow
    assert set(found) == {slow, quick, failing}


async def test_what_has_no_result_is_refused(queue: Queue) -> None:
    fast = await queue.options(fast=True).enqueue(work.add, 1)
    with pytest.raises(JobError, match="fast"):
        await gather(fast)
    with pytest.raises(JobError, match="not enqueued"):
        await gather(Job(work.add))


def _listening(connection: Connection) -> list[str]:
    """Return what is subscribed, but for the connection's own inboxes, which are opened once, when they are first needed."""
    subjects = [each.subject for each in connection.client._subs.values()]
    return [subject for subject in subjects if not subject.startswith(connection.settings.nats_inbox_prefix)]


async def test_thousands_of_jobs_are_awaited_with_few_subscriptions(queue: Queue, run_worker: RunWorker) -> None:
    connection = await queue.connection()
    jobs = await queue.enqueue_many(queue.call(work.add, n, 1) for n in range(2_000))
    before = len(connection.client._subs)
    waiting = asyncio.create_task(gather(*jobs, timeout=50))

    async def listening() -> None:
        assert connection.ends._waiting["default"] == 2_000

    await eventually(listening)
    assert len(connection.client._subs) - before < 150
    async with run_worker(concurrency=100):
        assert await waiting == [n + 1 for n in range(2_000)]
    assert not _listening(connection)


async def test_results_are_found_over_a_reconnect(queue: Queue, run_worker: RunWorker) -> None:
    jobs = await queue.enqueue_many(queue.call(work.sleep, 0.3) for _ in range(100))
    waiting = asyncio.create_task(gather(*jobs, timeout=30))
    async with run_worker(concurrency=50):
        connection = await queue.connection()
        await connection.client.force_reconnect()
        assert await waiting == ["slept"] * 100


async def test_giving_up_leaves_nothing_behind(queue: Queue) -> None:
    connection = await queue.connection()
    jobs = await queue.enqueue_many(queue.call(work.add, n) for n in range(100))
    for patience in (0.01, 0.1):
        with pytest.raises(JobTimeoutError):
            await gather(*jobs, timeout=patience)
        with pytest.raises(JobTimeoutError):
            await jobs[0].result(patience)
    assert not connection.ends._listeners
    assert not _listening(connection)
