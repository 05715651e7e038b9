"""Nobody waits for what cannot come."""

import asyncio

import pytest

from naq_client import Queue, gather, group
from naq_client.waiting import as_completed
from naq_core import Job, JobNotFoundError, JobTimeoutError
from naq_core.inspect import wait_for_job
from naq_core.storage import waiting
from naq_core.storage.connection import AT_ONCE, Connection
from naq_core.storage.records import find_job, read_record
from naq_core.storage.waiting import FIRST_LOOK
from naq_core.transport.message import Message
from tests.conftest import RunWorker
from tests.integration import work
from tests.support.eventually import eventually

asking: list[Queue] = []
"""The queue, for a job that runs in the test's process; the last one counts."""


async def ask_another() -> int:
    return await (await asking[-1].enqueue(work.add, 1)).result(60)


async def has_gone(job: Job[int]) -> None:
    async def check() -> None:
        assert await read_record(job.connection, job.queue, job.job_id) is None

    await eventually(check)


async def test_the_result_of_an_unknown_id_is_not_waited_for(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    job = await queue.job("never-existed")
    with pytest.raises(JobNotFoundError, match="it never existed, was deleted, or its record has expired"):
        await job.result()
    with pytest.raises(JobNotFoundError):
        await wait_for_job(await queue.connection(), "never-existed")
    monkeypatch.setattr(waiting, "FIRST_LOOK", 6.0)
    for timeout in (0, 3.0):
        with pytest.raises(JobNotFoundError):
            await job.result(timeout=timeout)


async def test_a_job_that_waits_is_waited_for(queue: Queue) -> None:
    job = await queue.enqueue(work.add, 1)
    for result in (job.result(timeout=0), job.result(timeout=FIRST_LOOK), gather(job, timeout=1.5 * FIRST_LOOK)):
        with pytest.raises(JobTimeoutError):  # although it is looked for meanwhile
            await result


async def test_many_that_wait_ask_in_turns(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    asking, most = 0, 0

    async def find(connection: Connection, *key: str) -> Message | None:
        nonlocal asking, most
        asking += 1
        most = max(most, asking)
        try:
            return await find_job(connection, *key)
        finally:
            asking -= 1

    monkeypatch.setattr(waiting, "find_job", find)
    jobs = await queue.enqueue_many(queue.call(work.add, number) for number in range(4 * AT_ONCE))
    found = await asyncio.gather(*(job.result(timeout=FIRST_LOOK) for job in jobs), return_exceptions=True)
    assert {type(each) for each in found} == {JobTimeoutError}
    assert 0 < most <= AT_ONCE


async def test_the_result_of_an_expired_record_is_not_waited_for(queue: Queue, run_worker: RunWorker) -> None:
    job = await queue.options(result_ttl=1).enqueue(work.add, 1)
    kept = await queue.enqueue(work.add, 2)
    async with run_worker():
        assert await gather(job, kept) == [1, 2]
    await has_gone(job)
    with pytest.raises(JobNotFoundError):
        await job.result()
    with pytest.raises(JobNotFoundError):
        await gather(job, kept)
    error, result = await gather(job, kept, return_exceptions=True)
    assert (type(error), result) == (JobNotFoundError, 2)
    assert [each.job_id async for each in as_completed([job, kept])] == [kept.job_id, job.job_id]


async def test_whoever_waits_for_a_job_that_is_purged_is_told(queue: Queue) -> None:
    first, second = [await queue.enqueue(work.add, number) for number in range(2)]
    waiting = [asyncio.ensure_future(first.result()), asyncio.ensure_future(gather(second))]
    connection = await queue.connection()

    async def listening() -> None:
        assert len(connection.ends._own) == 2

    await eventually(listening)
    assert await queue.purge() == 2
    for error in await asyncio.gather(*waiting, return_exceptions=True):
        assert isinstance(error, JobNotFoundError)


async def test_a_workflow_whose_records_have_expired_is_not_waited_for(queue: Queue, run_worker: RunWorker) -> None:
    job = queue.options(result_ttl=1).call(work.add, 1)
    handle = await group(job).enqueue(queue)
    async with run_worker():
        assert await handle.result(30) == [1]
    await has_gone(job)
    assert (await handle.wait(30)).counts == {"unknown": 1}
    with pytest.raises(JobNotFoundError):
        await handle.results()


async def test_a_success_counts_although_its_record_expires_while_another_parent_runs(
    queue: Queue, run_worker: RunWorker
) -> None:
    quick = await queue.options(result_ttl=1).enqueue(work.add, 1)
    async with run_worker():
        assert await quick.result(30) == 1
    slow = await queue.enqueue(work.add, 2)
    child = await queue.options(depends_on=[quick, slow]).enqueue(work.add, 3)
    await has_gone(quick)
    async with run_worker():
        assert await child.result(30) == 3


async def test_jobs_that_wait_for_jobs_of_a_full_worker_are_warned(
    queue: Queue, run_worker: RunWorker, caplog: pytest.LogCaptureFixture
) -> None:
    asking.append(queue)
    job = await queue.enqueue(ask_another)

    async def warned() -> str:
        found = [each.getMessage() for each in caplog.records if "deadlock" in each.getMessage()]
        assert found
        return found[0]

    async with run_worker(concurrency=1):
        message = await eventually(warned)
        assert message.startswith(
            f"possible deadlock: job {job.job_id} (tests.integration.test_waiting:ask_another) waits for job "
        )
        assert "of queue default, which no worker can start: all 1 slots are taken" in message
        await job.cancel()


async def test_a_job_that_waits_while_a_place_is_free_is_not_warned(
    queue: Queue, run_worker: RunWorker, caplog: pytest.LogCaptureFixture
) -> None:
    asking.append(queue)
    job = await queue.enqueue(ask_another)
    async with run_worker(concurrency=2):
        assert await job.result(30) == 1
    assert "deadlock" not in caplog.text
