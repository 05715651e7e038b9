"""Dead jobs put back to work or deleted, one by one and by filter."""

import asyncio
from pathlib import Path

import pytest

from naq_client import Queue
from naq_core import ConfigurationError, JobFailedError, JobNotFoundError, JobState, JobStateError
from naq_core.inspect import get_job, list_jobs
from naq_core.job import Job
from naq_core.manage import bulk, delete_job, retry_job
from naq_core.record import encode_record
from naq_core.storage.messages import schedule_headers
from naq_core.storage.records import find_job
from naq_core.transport.headers import EXPECTED_SEQUENCE
from naq_core.transport.message import Message
from naq_core.views import JobFilter
from tests.conftest import RunWorker
from tests.integration import work
from tests.support.eventually import eventually

DEAD = JobFilter(states=frozenset({JobState.DEAD}))


async def kill(queue: Queue, run_worker: RunWorker, path: Path, count: int = 1) -> list[Job[str]]:
    """Make dead jobs, which succeed once the file is there."""
    jobs = [await queue.enqueue(work.fail_unless, str(path)) for _ in range(count)]
    async with run_worker():
        for job in jobs:
            with pytest.raises(JobFailedError):
                await job.result(10)
        await eventually(lambda: all_dead(queue, count))
    return jobs


async def all_dead(queue: Queue, count: int) -> None:
    assert len((await list_jobs(await queue.connection(), DEAD, limit=1000)).jobs) == count


async def test_a_dead_job_put_back_begins_anew_and_keeps_its_errors(queue: Queue, run_worker: RunWorker, tmp_path: Path) -> None:
    path = tmp_path / "there"
    (job,) = await kill(queue, run_worker, path)
    path.touch()
    await queue.retry(job.job_id)
    assert await job.status() == JobState.QUEUED
    waiting = asyncio.create_task(job.result(10))
    async with run_worker():
        assert await waiting == "there"
    record = await job.record()
    assert record is not None
    assert (record.state, record.attempt, [each.type for each in record.errors]) == (JobState.SUCCEEDED, 1, ["OSError"])
    assert (await list_jobs(await queue.connection(), DEAD)).jobs == []


async def test_a_job_can_be_put_back_the_moment_its_failure_is_known(queue: Queue, run_worker: RunWorker) -> None:
    async with run_worker():
        for _ in range(20):
            job = await queue.enqueue(work.fail)
            for _ in range(3):
                with pytest.raises(JobFailedError):
                    await job.result(10)
                await queue.retry(job.job_id)
            with pytest.raises(JobFailedError):
                await job.result(10)
        await eventually(lambda: all_dead(queue, 20))


async def test_a_job_can_die_and_be_put_back_many_times(queue: Queue, run_worker: RunWorker, tmp_path: Path) -> None:
    path = tmp_path / "there"
    (job,) = await kill(queue, run_worker, path)
    for _ in range(3):
        await queue.retry(job.job_id)
        async with run_worker():
            with pytest.raises(JobFailedError):
                await job.result(10)
            await eventually(lambda: all_dead(queue, 1))
    path.touch()
    await queue.retry(job.job_id)
    async with run_worker():
        assert await job.result(10) == "there"


async def test_a_dead_job_whose_record_is_gone_can_be_put_back(queue: Queue, run_worker: RunWorker, tmp_path: Path) -> None:
    path = tmp_path / "there"
    (job,) = await kill(queue, run_worker, path)
    connection = await queue.connection()
    await connection.api(f"STREAM.PURGE.{connection.names.results_stream}", {})
    path.touch()
    await queue.retry(job.job_id)
    async with run_worker():
        assert await job.result(10) == "there"


async def test_a_job_whose_return_was_broken_off_is_still_dead_and_can_be_put_back(
    queue: Queue, run_worker: RunWorker, tmp_path: Path
) -> None:
    """Whoever put it back died between the record and the move."""
    path = tmp_path / "there"
    (job,) = await kill(queue, run_worker, path)
    connection = await queue.connection()
    record = await job.record()
    assert record is not None
    record.state, record.attempt = JobState.QUEUED, 0
    await connection.publish(connection.names.result("default", job.job_id), encode_record(record))
    assert [each.job_id for each in (await list_jobs(connection, DEAD)).jobs] == [job.job_id]
    path.touch()
    assert await bulk(connection, "retry", JobFilter()) == 1
    async with run_worker():
        assert await job.result(10) == "there"


async def test_two_who_put_a_job_back_at_once_run_it_once(queue: Queue, run_worker: RunWorker, tmp_path: Path) -> None:
    path = tmp_path / "there"
    (job,) = await kill(queue, run_worker, path)
    path.touch()
    outcomes = await asyncio.gather(queue.retry(job.job_id), queue.retry(job.job_id), return_exceptions=True)
    assert None in outcomes
    assert all(each is None or isinstance(each, JobStateError) for each in outcomes)
    async with run_worker() as worker:
        assert await job.result(10) == "there"
        await eventually(lambda: is_removed(queue, job.job_id))
        assert worker.counters.processed == 1


async def is_removed(queue: Queue, job_id: str) -> None:
    assert await find_job(await queue.connection(), job_id) is None


async def die_before_acknowledging(queue: Queue, job_id: str) -> Message:
    """Put a dead job's ready message back before it, as a worker leaves them that dies between the two, and return the dead."""
    connection = await queue.connection()
    dead = await find_job(connection, job_id)
    assert dead is not None
    names = connection.names
    await connection.api(f"STREAM.PURGE.{names.jobs_stream}", {})
    ready = names.ready("default", job_id)
    await connection.publish(ready, dead.data, {EXPECTED_SEQUENCE: "0"})
    await connection.publish(dead.subject, dead.data, {EXPECTED_SEQUENCE: "0", **schedule_headers(ready, None)})
    return dead


async def test_a_late_delivery_of_a_dead_job_does_not_bury_what_was_put_back(
    queue: Queue, run_worker: RunWorker, tmp_path: Path
) -> None:
    """Its worker died between keeping the dead job and acknowledging it."""
    path = tmp_path / "there"
    (job,) = await kill(queue, run_worker, path)
    await die_before_acknowledging(queue, job.job_id)
    path.touch()
    await queue.retry(job.job_id)
    async with run_worker() as worker:
        assert await job.result(10) == "there"
        await eventually(lambda: is_removed(queue, job.job_id))
        assert worker.counters.processed == 1


async def test_a_late_delivery_of_a_dead_job_makes_no_second_one(queue: Queue, run_worker: RunWorker, tmp_path: Path) -> None:
    """As above, but nobody puts it back."""
    (job,) = await kill(queue, run_worker, tmp_path / "there")
    dead = await die_before_acknowledging(queue, job.job_id)
    async with run_worker():
        await (await queue.enqueue(work.add, 1)).result(10)

        async def one_is_left() -> None:
            connection = await queue.connection()
            info = await connection.api(f"STREAM.INFO.{connection.names.jobs_stream}", {"subjects_filter": ">"})
            assert info["state"]["subjects"] == {dead.subject: 1}

        await eventually(one_is_left)


@pytest.mark.parametrize("delay", [9.5, 60])
async def test_a_retry_that_waits_is_run_now(queue: Queue, run_worker: RunWorker, tmp_path: Path, delay: float) -> None:
    path = tmp_path / "there"
    async with run_worker():
        job = await queue.options(max_retries=1, retry_delay=delay).enqueue(work.fail_unless, str(path))

        async def is_retrying() -> None:
            assert await job.status() == JobState.RETRYING

        await eventually(is_retrying)
        path.touch()
        await queue.retry(job.job_id)
        assert await job.result(8) == "there"
        record = await job.record()
        assert record is not None
        assert record.attempt == 2
        await eventually(lambda: is_removed(queue, job.job_id))


async def test_what_cannot_be_put_back_says_why(queue: Queue, run_worker: RunWorker, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    connection = await queue.connection()
    work.started.clear()
    waiting = await queue.enqueue(work.hold, gate)
    with pytest.raises(JobStateError, match="waiting for a worker"):
        await queue.retry(waiting.job_id)
    async with run_worker():
        await work.has_started()
        with pytest.raises(JobStateError, match="running"):
            await queue.retry(waiting.job_id)
        gate.touch()
        await waiting.result(10)
        await eventually(lambda: is_removed(queue, waiting.job_id))
        with pytest.raises(JobStateError, match="succeeded"):
            await queue.retry(waiting.job_id)
    names = connection.names
    held: Job[int] = queue.call(work.add, 1)
    headers = schedule_headers(names.ready("default", held.job_id), None)
    await connection.publish(names.held("default", held.job_id), held.serialize(), headers)
    with pytest.raises(JobStateError, match="other jobs"):
        await retry_job(connection, held.job_id)
    with pytest.raises(JobNotFoundError):
        await retry_job(connection, "nobody")


async def test_a_deleted_job_leaves_nothing(queue: Queue, run_worker: RunWorker, tmp_path: Path) -> None:
    connection = await queue.connection()
    (dead,) = await kill(queue, run_worker, tmp_path / "there")
    async with run_worker():
        good = await queue.enqueue(work.add, 1)
        await good.result(10)
    for job_id in (dead.job_id, good.job_id):
        await delete_job(connection, job_id)
        with pytest.raises(JobNotFoundError):
            await get_job(connection, job_id)
        with pytest.raises(JobNotFoundError):
            await delete_job(connection, job_id)


async def test_a_deleted_job_id_can_be_used_again(queue: Queue, run_worker: RunWorker) -> None:
    async with run_worker():
        first = await queue.options(job_id="mine").enqueue(work.add, 1)
        await first.result(10)
        await eventually(lambda: is_removed(queue, "mine"))
        await queue.delete("mine")
        second = await queue.options(job_id="mine").enqueue(work.add, 2)
        assert await second.result(10) == 2


async def test_a_waiting_job_is_deleted_and_never_runs_a_running_one_is_not(
    queue: Queue, run_worker: RunWorker, tmp_path: Path
) -> None:
    work.started.clear()
    gate = tmp_path / "gate"
    waiting = await queue.enqueue(work.sleep, 0)
    await queue.delete(waiting.job_id)
    await is_removed(queue, waiting.job_id)
    async with run_worker():
        assert await (await queue.enqueue(work.add, 1)).result(10) == 1
        assert not work.started.is_set()
        running = await queue.enqueue(work.hold, gate)
        await eventually(lambda: _is_running(running))
        with pytest.raises(JobStateError, match="cancel it first"):
            await queue.delete(running.job_id)
        gate.touch()
        assert await running.result(10) == "held"


async def _is_running(job: Job[str]) -> None:
    assert await job.status() is JobState.RUNNING


async def test_bulk_puts_back_what_the_filter_matches(queue: Queue, run_worker: RunWorker, tmp_path: Path) -> None:
    connection = await queue.connection()
    path = tmp_path / "there"
    jobs = await kill(queue, run_worker, path, 30)
    async with run_worker():
        other = await queue.enqueue(work.fail)
        await eventually(lambda: all_dead(queue, 31))
    path.touch()
    seen: list[int] = []
    assert await bulk(connection, "retry", JobFilter(function="fail_unless"), on_progress=seen.append) == 30
    assert seen[-1] == 30
    async with run_worker():
        for job in jobs:
            assert await job.result(10) == "there"
    assert await other.status() == JobState.DEAD
    assert await bulk(connection, "retry", JobFilter(function="fail_unless")) == 0


async def test_bulk_cancels_what_has_not_ended_and_deletes_what_has(queue: Queue, run_worker: RunWorker) -> None:
    connection = await queue.connection()
    async with run_worker():
        await (await queue.enqueue(work.add, 1)).result(10)
    await queue.enqueue_many(queue.call(work.add, n) for n in range(450))
    assert await bulk(connection, "cancel", JobFilter(queue="default")) == 450
    assert await queue.purge() == 0
    assert await bulk(connection, "delete", JobFilter(queue="default")) == 451
    assert (await list_jobs(connection)).jobs == []
    with pytest.raises(ConfigurationError, match="action"):
        await bulk(connection, "explode", JobFilter())  # type: ignore[arg-type]


async def test_a_job_purged_while_it_backs_off_is_not_there_any_more(queue: Queue, run_worker: RunWorker) -> None:
    async with run_worker():
        job = await queue.options(max_retries=1, retry_delay=60).enqueue(work.fail)

        async def is_retrying() -> None:
            assert await job.status() == JobState.RETRYING

        await eventually(is_retrying)
        assert await queue.purge() == 1
        with pytest.raises(JobNotFoundError):
            await job.status()
