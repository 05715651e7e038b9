"""Cancelling jobs that wait, are held, back off or run."""

import asyncio
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from naq_client import Queue
from naq_core import CancelOutcome, InvalidNameError, JobCancelledError, JobNotFoundError, JobState, Settings
from naq_core.inspect import get_queue
from naq_core.job import Job
from naq_core.manage import cancel_job
from naq_core.manage.cancel import find, store_end
from naq_core.record import encode_record
from naq_core.storage.messages import schedule_headers
from naq_core.storage.records import find_job
from naq_worker import Worker
from tests.conftest import RunWorker
from tests.integration import work
from tests.support.eventually import eventually


async def is_removed(queue: Queue, job_id: str) -> None:
    """Nothing will deliver it; a cancelled job is kept, laid aside."""
    connection = await queue.connection()
    info = await connection.api(
        f"STREAM.INFO.{connection.names.jobs_stream}", {"subjects_filter": connection.names.any_state("*", job_id)}
    )
    assert set(info["state"].get("subjects") or ()) <= {connection.names.archive("default", job_id, "cancelled")}


def is_idle(worker: Worker) -> None:
    assert not worker.presence()["running"]


async def test_a_job_cancelled_before_its_start_never_runs(queue: Queue, run_worker: RunWorker) -> None:
    work.started.clear()
    job = await queue.enqueue(work.sleep, 0)
    assert await job.cancel("not needed") == CancelOutcome.BEFORE_START
    await is_removed(queue, job.job_id)
    async with run_worker():
        with pytest.raises(JobCancelledError, match="not needed"):
            await job.result(10)
        assert await (await queue.enqueue(work.add, 1)).result(10) == 1
    assert not work.started.is_set()
    record = await job.record()
    assert record is not None
    assert (record.state, record.function, record.reason) == (JobState.CANCELLED, "tests.integration.work:sleep", "not needed")


async def test_a_cancelled_job_can_be_put_back_to_work(queue: Queue, run_worker: RunWorker, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    waiting = await queue.enqueue(work.add, 1)
    await waiting.cancel()
    assert (await get_queue(await queue.connection(), "default")).dead == 0
    await queue.retry(waiting.job_id)
    work.started.clear()
    async with run_worker():
        assert await waiting.result(10) == 1
        running = await queue.enqueue(work.hold, gate)
        await work.has_started()
        await running.cancel()
        await queue.retry(running.job_id)  # at once: its worker may still be about to give the cancelled run up
        gate.touch()
        assert await running.result(20) == "held"


async def test_a_message_left_behind_by_a_cancel_is_cleared_away_by_its_delivery(queue: Queue, run_worker: RunWorker) -> None:
    work.started.clear()
    connection = await queue.connection()
    job = await queue.options(job_id="late").enqueue(work.sleep, 0)
    message = await find_job(connection, "late")
    assert message is not None
    await cancel_behind_its_back(queue, job)
    async with run_worker() as worker:
        await eventually(lambda: is_removed(queue, "late"))
        assert worker.counters.processed == 0
    assert not work.started.is_set()


async def test_cancelling_again_clears_away_what_the_first_call_left(queue: Queue) -> None:
    connection = await queue.connection()
    job = await queue.options(job_id="late").enqueue(work.add, 1)
    message = await find_job(connection, "late")
    assert message is not None
    await cancel_behind_its_back(queue, job)
    assert await job.cancel() == CancelOutcome.ALREADY_ENDED
    await is_removed(queue, "late")


async def test_a_held_job_is_cancelled_with_its_schedule(queue: Queue, settings: Settings, run_worker: RunWorker) -> None:
    connection = await queue.connection()
    await queue.enqueue(work.add, 1)
    job: Job[int] = queue.call(work.add, 2)
    names = connection.names
    ready = names.ready("default", job.job_id)
    await connection.publish(names.held("default", job.job_id), job.serialize(), schedule_headers(ready, None))
    assert await cancel_job(connection, job.job_id) == CancelOutcome.BEFORE_START
    await is_removed(queue, job.job_id)


async def test_a_job_that_backs_off_is_cancelled(queue: Queue, run_worker: RunWorker) -> None:
    async with run_worker():
        for delay in (5, 60):  # handed back with a delay, and held
            job = await queue.options(max_retries=1, retry_delay=delay).enqueue(work.fail)

            async def is_retrying(job: Job[None] = job) -> None:
                assert await job.status() == JobState.RETRYING

            await eventually(is_retrying)
            assert await job.cancel() == CancelOutcome.BEFORE_START
            assert await job.status() == JobState.CANCELLED
            await is_removed(queue, job.job_id)


async def test_a_running_async_job_is_cancelled_at_once(queue: Queue, run_worker: RunWorker) -> None:
    work.started.clear()
    async with run_worker(concurrency=1) as worker:
        job = await queue.enqueue(work.sleep, 60)
        await work.has_started()
        assert await queue.cancel(job.job_id, "enough") == CancelOutcome.WHILE_RUNNING
        with pytest.raises(JobCancelledError, match="enough"):
            await job.result(10)
        assert await (await queue.enqueue(work.add, 1)).result(20) == 1  # its only slot is free again
        await eventually(lambda: is_removed(queue, job.job_id))  # by its worker, which was told
        assert worker.counters.failed == 0


async def test_a_running_process_is_killed(queue: Queue, run_worker: RunWorker, tmp_path: Path) -> None:
    path = tmp_path / "pid"

    def has_begun() -> int:
        assert path.exists()
        assert path.read_text(encoding="utf-8")
        return int(path.read_text(encoding="utf-8"))

    async with run_worker():
        job = await queue.options(process=True).enqueue(work.write_pid_and_sleep, str(path), 60)
        pid = await eventually(has_begun)
        assert await job.cancel() == CancelOutcome.WHILE_RUNNING

        def is_dead() -> None:
            assert not Path(f"/proc/{pid}").exists()

        await eventually(is_dead, timeout=10)
        assert await (await queue.options(process=True).enqueue(work.add, 1)).result(20) == 1


@pytest.mark.parametrize("function", [work.ask_whether_cancelled, work.report_until_cancelled])
async def test_a_running_thread_is_told_and_its_result_refused(queue: Queue, run_worker: RunWorker, function: object) -> None:
    work.started.clear()
    async with run_worker():
        job = await queue.enqueue(function, 60)  # type: ignore[call-overload]
        await work.has_started()
        assert await job.cancel() == CancelOutcome.WHILE_RUNNING

        def was_told() -> None:
            assert job.job_id in work.told

        await eventually(was_told)
    assert await job.status() == JobState.CANCELLED


async def test_a_job_that_loses_its_request_finds_out_when_it_reports(queue: Queue, run_worker: RunWorker) -> None:
    work.started.clear()
    async with run_worker():
        job = await queue.enqueue(work.report_until_cancelled, 20)
        await work.has_started()
        await cancel_behind_its_back(queue, job)

        def was_told() -> None:
            assert job.job_id in work.told

        await eventually(was_told)


async def cancel_behind_its_back(queue: Queue, job: Job[Any]) -> None:
    """Write the record of the end as a canceller does, and die then."""
    connection = await queue.connection()
    while True:
        record, revision = (await find(connection, job.job_id, "default")).to_end()
        assert record is not None
        record.state = JobState.CANCELLED
        if await store_end(connection, record, revision):
            return


@pytest.mark.naq(ack_wait="300s")
async def test_a_running_job_whose_canceller_died_is_cleared_away_by_its_worker(
    queue: Queue, run_worker: RunWorker, tmp_path: Path
) -> None:
    work.started.clear()
    gate = tmp_path / "gate"
    async with run_worker():
        job = await queue.enqueue(work.hold, gate)
        await work.has_started()
        await cancel_behind_its_back(queue, job)
        gate.touch()
        await eventually(lambda: is_removed(queue, job.job_id), timeout=20)  # long before the lease ends
    assert await job.status() == JobState.CANCELLED


async def test_cancelling_what_has_ended_changes_nothing(queue: Queue, run_worker: RunWorker) -> None:
    async with run_worker():
        good, bad = await queue.enqueue(work.add, 1), await queue.enqueue(work.fail)
        await good.result(10)

        async def is_dead() -> None:
            assert await bad.status() == JobState.DEAD

        await eventually(is_dead)
    for job in (good, bad):
        before = await job.record()
        assert await job.cancel() == CancelOutcome.ALREADY_ENDED
        assert await job.record() == before
    assert await find_job(await queue.connection(), bad.job_id) is not None


async def test_unknown_and_impossible_ids_are_refused(queue: Queue) -> None:
    with pytest.raises(JobNotFoundError):
        await queue.cancel("nobody")
    with pytest.raises(InvalidNameError):
        await queue.cancel("a.b")


async def test_an_id_used_in_two_queues_is_cancelled_in_the_one_named(queue: Queue, settings: Settings) -> None:
    async with Queue("other", settings=settings) as other:
        here = await queue.options(job_id="same").enqueue(work.add, 1)
        there = await other.options(job_id="same").enqueue(work.add, 1)
        assert await other.cancel("same") == CancelOutcome.BEFORE_START
        assert (await here.status(), await there.status()) == (JobState.QUEUED, JobState.CANCELLED)


async def test_a_fast_job_can_be_cancelled_while_it_waits_and_while_it_runs(queue: Queue, run_worker: RunWorker) -> None:
    work.started.clear()
    await queue.pause()
    waiting = await queue.options(fast=True).enqueue(work.sleep, 0)
    await waiting.cancel()
    await queue.resume()
    async with run_worker() as worker:
        assert await (await queue.enqueue(work.add, 1)).result(10) == 1
        assert not work.started.is_set()
        running = await queue.options(fast=True).enqueue(work.sleep, 60)
        await work.has_started()

        assert await running.cancel() == CancelOutcome.WHILE_RUNNING
        assert await running.status() == JobState.CANCELLED
        await eventually(lambda: is_idle(worker))


async def test_of_a_hundred_cancels_racing_with_a_worker_each_is_right(
    queue: Queue, settings: Settings, run_worker: RunWorker
) -> None:
    """Cancel against claim, cancel against the end, cancel against cancel."""
    work.runs.clear()
    async with run_worker(concurrency=8):
        jobs = [await queue.enqueue(work.count_run) for _ in range(5)]
        outcomes: dict[str, set[CancelOutcome]] = {}

        async def race(number: int) -> None:
            job = await queue.enqueue(work.count_run)
            await asyncio.sleep(number % 10 * 0.0005)
            outcomes[job.job_id] = set(await asyncio.gather(job.cancel(), job.cancel()))
            jobs.append(job)

        for start in range(0, 100, 10):
            await asyncio.gather(*(race(start + each) for each in range(10)))

        async def all_ended() -> None:
            for job in jobs:
                assert (await job.status()).is_final

        await eventually(all_ended)
    for job in jobs:
        state, runs = await job.status(), work.runs.get(job.job_id, 0)
        said = outcomes.get(job.job_id, set())
        if CancelOutcome.BEFORE_START in said:
            assert (state, runs) == (JobState.CANCELLED, 0)
        elif CancelOutcome.WHILE_RUNNING in said:
            assert (state, runs) == (JobState.CANCELLED, runs)
        else:
            assert (state, runs) == (JobState.SUCCEEDED, 1)
        await eventually(partial(is_removed, queue, job.job_id))


async def test_a_cancel_finds_its_way_when_the_worker_is_gone(queue: Queue, settings: Settings, run_worker: RunWorker) -> None:
    """A worker that died under the job: its record says running, nobody answers."""
    work.started.clear()
    impatient = Settings.load(nats_url=settings.nats_url, namespace=settings.namespace, shutdown_grace=timedelta(seconds=0.05))
    async with run_worker(settings=impatient):
        job = await queue.enqueue(work.sleep, 60)
        await work.has_started()
    connection = await queue.connection()
    stored = await job.record()
    assert stored is not None
    stored.state, stored.worker = JobState.RUNNING, "gone-1-2"
    await connection.publish(connection.names.result("default", job.job_id), encode_record(stored))
    assert await job.cancel() == CancelOutcome.WHILE_RUNNING
    await is_removed(queue, job.job_id)


async def test_a_unique_key_is_free_again_after_a_cancel(queue: Queue, run_worker: RunWorker) -> None:
    work.started.clear()
    first = await queue.options(unique="key").enqueue(work.add, 1)
    await first.cancel()
    second = await queue.options(unique="key").enqueue(work.sleep, 60)
    async with run_worker():
        await work.has_started()
        await second.cancel()
        third = await queue.options(unique="key").enqueue(work.add, 3)
        assert await third.result(10) == 3
