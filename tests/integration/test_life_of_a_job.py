"""A job from enqueue to end, on the real server with a real worker."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from naq_client import Queue
from naq_core import (
    BrokerUnavailableError,
    DuplicateJobError,
    EncodeError,
    Job,
    JobCancelledError,
    JobFailedError,
    JobNotFoundError,
    JobRecord,
    JobState,
    JobTimeoutError,
    NaqError,
    PayloadTooLargeError,
    Settings,
    ensure_stream,
    get_jetstream_context,
    get_nats_connection,
)
from naq_core.errors import HookError, InvalidOptionError
from naq_core.storage.records import find_job
from naq_core.transport.streams import read_last
from naq_worker import Worker
from tests.conftest import RunWorker
from tests.integration import work
from tests.support.eventually import eventually


async def record_of_end(job: Job[Any]) -> JobRecord:
    """Wait until the job has ended, well or badly, and return its record."""
    with suppress(JobFailedError):
        await job.result(30)
    record = await job.record()
    assert record is not None
    return record


async def test_a_result_comes_back(queue: Queue, run_worker: RunWorker) -> None:
    job = await queue.enqueue(work.add, 1, b=2)
    assert await job.status() == JobState.QUEUED

    async with run_worker():
        assert await job.result(10) == 3

    assert await job.status() == JobState.SUCCEEDED
    assert await Job.fetch_result(job.job_id, settings=queue.settings) == 3
    record = await Job.fetch_record(job.job_id, settings=queue.settings)
    assert (record.function, record.attempt, record.arguments) == ("tests.integration.work:add", 1, "1, b=2")


async def test_functions_run_on_the_loop_in_a_thread_or_in_a_process(queue: Queue, run_worker: RunWorker) -> None:
    async with run_worker():
        in_thread = await (await queue.enqueue(work.where)).result(10)
        in_process = await (await queue.options(process=True).enqueue(work.where)).result(20)

    assert os.getpid() == in_thread[0]
    assert in_thread[1] != "MainThread"
    assert os.getpid() != in_process[0]


async def test_a_failed_job_is_dead_kept_whole_and_says_why(queue: Queue, run_worker: RunWorker) -> None:
    job = await queue.enqueue(work.fail, "bad thing")
    async with run_worker():
        with pytest.raises(JobFailedError, match="ValueError: bad thing") as caught:
            await job.result(10)
        first, second, *_ = caught.value.error_traceback.splitlines()
        assert first == "Traceback (most recent call last):"
        assert "in fail" in second, "it does not begin with the worker's own frames"
        connection = await queue.connection()
        names = connection.names

        async def kept() -> None:
            assert await read_last(connection, names.jobs_stream, names.dead("default", job.job_id))

        await eventually(kept)
    assert await job.status() == JobState.DEAD


@pytest.mark.parametrize("process", [False, True])
async def test_retries_count_and_end_in_success(queue: Queue, run_worker: RunWorker, process: bool) -> None:
    job = await queue.options(max_retries=3, retry_delay=0.01, process=process).enqueue(work.fail_until, 3)
    async with run_worker():
        assert await job.result(20) == 3
    record = await job.record()
    assert record is not None
    assert [error.attempt for error in record.errors] == [1, 2]


async def test_a_long_back_off_leaves_the_ready_subject(queue: Queue, run_worker: RunWorker) -> None:
    job = await queue.enqueue(work.fail, max_retries=1, retry_delay=3600)
    async with run_worker():

        async def is_held() -> None:
            connection = await queue.connection()
            names = connection.names
            assert await read_last(connection, names.jobs_stream, names.held("default", job.job_id))
            info = await connection.api(f"CONSUMER.INFO.{names.jobs_stream}.{names.consumer('default')}")
            assert (info["num_pending"], info["num_ack_pending"]) == (0, 0)

        await eventually(is_held)
    assert await job.status() == JobState.RETRYING


async def test_ignored_errors_are_not_retried(queue: Queue, run_worker: RunWorker) -> None:
    job = await queue.options(max_retries=5, ignore_on=(ValueError,)).enqueue(work.fail)
    async with run_worker():
        with pytest.raises(JobFailedError):
            await job.result(10)
    record = await job.record()
    assert record is not None
    assert record.attempt == 1


async def test_snooze_retry_and_cancel(queue: Queue, run_worker: RunWorker) -> None:
    async with run_worker():
        assert await (await queue.enqueue(work.control, "snooze")).result(10) == 1
        assert await (await queue.enqueue(work.control, "retry", max_retries=1)).result(10) == 2
        with pytest.raises(JobCancelledError, match="no need"):
            await (await queue.enqueue(work.control, "cancel")).result(10)


@pytest.mark.parametrize(("function", "process"), [(work.sleep, False), (work.block, False), (work.block, True)])
async def test_a_timeout_ends_the_attempt(queue: Queue, run_worker: RunWorker, function: object, process: bool) -> None:
    async with run_worker():
        job = await queue.options(timeout=1.5 if process else 0.1, process=process).enqueue(function, 5)  # type: ignore[call-overload]
        with pytest.raises(JobFailedError, match="AttemptTimeoutError"):
            await job.result(15)


async def test_a_job_that_kills_its_process_dies_after_its_crashes_and_hurts_nobody(queue: Queue, run_worker: RunWorker) -> None:
    async with run_worker():
        poison = await queue.options(process=True).enqueue(work.kill_process)
        others = [await queue.options(process=True).enqueue(work.where) for _ in range(3)]
        for other in others:
            await other.result(30)
        with pytest.raises(JobFailedError, match="exited with code 7"):
            await poison.result(30)
    record = await poison.record()
    assert record is not None
    assert queue.settings.max_crashes == record.crashes


@pytest.mark.parametrize(
    ("plan", "state"),
    [(("crash", "fail", "return"), JobState.SUCCEEDED), (("crash", "fail", "fail"), JobState.DEAD)],
)
async def test_a_crash_uses_up_no_retry(queue: Queue, run_worker: RunWorker, plan: tuple[str, ...], state: JobState) -> None:
    job = await queue.options(process=True, max_retries=1).enqueue(work.follow_plan, *plan)
    async with run_worker():
        record = await record_of_end(job)
    assert (record.state, record.attempt, record.crashes) == (state, 3, 1)


async def test_the_history_of_errors_is_bounded(queue: Queue, run_worker: RunWorker) -> None:
    """The first error and the newest 19 are kept, with the tracebacks of the last 3."""
    job = await queue.options(max_retries=24).enqueue(work.follow_plan, *["fail"] * 25)
    async with run_worker():
        errors = (await record_of_end(job)).errors
    assert [error.attempt for error in errors] == [1, *range(7, 26)]
    assert [bool(error.traceback) for error in errors] == [False] * 17 + [True] * 3


async def test_the_context_tells_id_attempt_and_fence(queue: Queue, run_worker: RunWorker) -> None:
    async with run_worker():
        for process in (False, True):
            job = await queue.options(process=process).enqueue(work.report)
            job_id, attempt, fence = await job.result(20)
            assert (job.job_id, 1) == (job_id, attempt)
            assert fence > 0
            record = await job.record()
            assert record is not None
            assert record.progress is not None
            assert (record.progress.done, record.progress.total, record.progress.note) == (1.0, 4.0, "first")


async def test_a_chosen_id_is_enqueued_and_run_once(queue: Queue, run_worker: RunWorker) -> None:
    first = await queue.options(job_id="welcome-7").enqueue(work.add, 1)
    again = await queue.enqueue(work.add, 2, job_id="welcome-7")
    async with run_worker() as worker:
        assert [await first.result(10), await again.result(10)] == [1, 1]
        connection = await queue.connection()

        async def is_acknowledged() -> None:  # which follows the end, once those that wait for the job have been seen to
            assert await find_job(connection, "welcome-7") is None

        await eventually(is_acknowledged)
        third = await queue.options(job_id="welcome-7").enqueue(work.add, 3)
        assert await third.result(10) == 1

        async def skipped() -> None:
            assert worker.counters.skipped == 1

        await eventually(skipped)


async def test_many_are_atomic_up_to_a_thousand_and_pipelined_above(queue: Queue, run_worker: RunWorker) -> None:
    few = await queue.enqueue_many(queue.call(work.add, n) for n in range(1000))
    many = await queue.enqueue_many(queue.call(work.add, n) for n in range(1001))
    assert (few.atomic, many.atomic) == (True, False)
    async with run_worker(concurrency=100):
        assert list(range(1000)) == await asyncio.gather(*(job.result(30) for job in few))
        assert await many[-1].result(30) == 1000


async def test_an_atomic_batch_with_a_known_id_stores_nothing(queue: Queue) -> None:
    await queue.enqueue(work.add, 1, job_id="there")
    with pytest.raises(DuplicateJobError):
        await queue.enqueue_many([queue.call(work.add, 1), queue.call(work.add, 2, job_id="there")])
    assert await queue.purge() == 1


async def test_purge_counts_what_it_deletes(queue: Queue) -> None:
    jobs = await queue.enqueue_many(queue.call(work.add, n) for n in range(25))
    assert await queue.purge() == 25
    assert await queue.purge() == 0
    with pytest.raises(JobNotFoundError):
        await jobs[0].status()


async def test_fast_jobs_leave_no_record(queue: Queue) -> None:
    job = await queue.options(fast=True).enqueue(work.add, 1)
    worker = Worker(["default"], settings=queue.settings, burst=True)
    await worker.run()
    assert worker.counters.succeeded == 1
    assert await job.record() is None
    with pytest.raises(NaqError, match="stores no result"):
        await job.result(10)


@pytest.mark.naq(large_threshold=0)
async def test_a_result_that_is_too_large_fails_the_job_by_name(queue: Queue, run_worker: RunWorker) -> None:
    async with run_worker():
        job = await queue.enqueue(work.large, 2_000_000)
        with pytest.raises(JobFailedError, match="PayloadTooLargeError"):
            await job.result(10)


@pytest.mark.naq(large_threshold=0)
async def test_bad_calls_are_refused_before_anything_is_sent(queue: Queue) -> None:
    with pytest.raises(PayloadTooLargeError):
        await queue.enqueue(work.add, b"x" * 2_000_000)
    with pytest.raises(EncodeError):
        await queue.enqueue(42)  # type: ignore[call-overload]
    with pytest.raises(EncodeError):
        await queue.enqueue(work.add, (n for n in range(3)))
    with pytest.raises(EncodeError):
        await queue.enqueue_many([work.add])  # type: ignore[list-item]
    assert await queue.purge() == 0


async def test_waiting_gives_up_in_time_and_the_job_goes_on(queue: Queue, run_worker: RunWorker, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    job = await queue.enqueue(work.hold, gate)
    async with run_worker():
        with pytest.raises(JobTimeoutError):
            await job.result(0.05)
        gate.touch()
        assert await job.result(10) == "held"


async def test_a_stopping_worker_hands_its_jobs_back_at_once(queue: Queue, settings: Settings, run_worker: RunWorker) -> None:
    work.started.clear()
    job = await queue.enqueue(work.sleep, 30)
    impatient = Settings.load(
        nats_url=settings.nats_url,
        namespace=settings.namespace,
        shutdown_grace=timedelta(seconds=0.05),
    )
    async with run_worker(settings=impatient):
        await asyncio.to_thread(work.started.wait, 10)
    record = await job.record()
    assert record is not None
    assert (record.state, record.crashes) == (JobState.QUEUED, 0)
    work.started.clear()
    async with run_worker(settings=impatient):  # the lease of the queue is 15 s: only a job handed back starts at once
        assert await asyncio.to_thread(work.started.wait, 5)


async def test_hooks_run_around_the_jobs_and_a_failing_one_stops_the_worker(settings: Settings, queue: Queue) -> None:
    seen: list[str] = []

    async def first() -> None:
        seen.append("first")

    async def up_and_down() -> AsyncIterator[None]:
        seen.append("up")
        async with asyncio.timeout(60):  # to be left in the task that has entered it
            yield
        seen.append("down")

    await queue.enqueue(work.add, 1)
    await Worker(["default"], settings=settings, burst=True, hooks=[first, up_and_down]).run()
    assert seen == ["first", "up", "down"]

    def broken() -> None:
        raise RuntimeError("no database")

    with pytest.raises(HookError, match=rf"^hook {__name__}:\S+broken failed at the start: RuntimeError: no database$") as caught:
        await Worker(["default"], settings=settings, burst=True, hooks=[up_and_down, broken]).run()
    assert seen == ["first", "up", "down", "up", "down"]
    assert isinstance(caught.value.__cause__, RuntimeError)


async def test_workers_are_listed_while_they_live(settings: Settings, run_worker: RunWorker) -> None:
    async with run_worker("default", "other") as worker:

        async def is_listed() -> None:
            listed = await Worker.list_workers(settings=settings)
            assert [(worker.worker_id, ["default", "other"])] == [(each["worker_id"], each["queues"]) for each in listed]

        await eventually(is_listed)

    async def is_gone() -> None:
        assert await Worker.list_workers(settings=settings) == []

    await eventually(is_gone)


async def test_the_traceback_of_a_wrong_call_is_the_call_and_nothing_around_it(queue: Queue, run_worker: RunWorker) -> None:
    job = await queue.enqueue("math:sqrt", -1)
    async with run_worker():
        with pytest.raises(JobFailedError, match=r"math domain error|expected a nonnegative") as caught:
            await job.result(10)
    assert caught.value.error_traceback.count("File ") == 1


async def test_no_server_is_its_own_error() -> None:
    with pytest.raises(BrokerUnavailableError, match=r"127\.0\.0\.1:1\b.*naq server") as caught:
        async with Queue("default", "nats://127.0.0.1:1"):
            pass
    assert caught.value.__suppress_context__, "one traceback, not one for each layer below"


async def test_the_promised_doors_to_plain_nats(settings: Settings, namespace: str) -> None:
    client = await get_nats_connection(settings.nats_url)
    try:
        context = await get_jetstream_context(client)
        info = await ensure_stream(context, f"{namespace}_mine", [f"{namespace}.mine.*"])
        assert info.config.retention == "workqueue"
        assert f"{namespace}_mine" == (await ensure_stream(context, f"{namespace}_mine", [f"{namespace}.mine.*"])).config.name
    finally:
        await client.close()


async def test_the_old_names_of_hooks_still_work_for_a_release(settings: Settings) -> None:
    seen: list[str] = []
    with pytest.warns(DeprecationWarning, match="now hooks"):
        worker = Worker(
            ["default"],
            settings=settings,
            burst=True,
            on_startup=[lambda: seen.append("up"), lambda: seen.append("up too")],
            on_shutdown=[lambda: seen.append("down"), lambda: seen.append("down too")],
        )
    await worker.run()
    assert seen == ["up", "up too", "down", "down too"]
    with pytest.warns(DeprecationWarning, match="now hooks"), pytest.raises(InvalidOptionError):
        Worker(["default"], settings=settings, on_startup=["no name"])  # type: ignore[list-item]
