"""Jobs for later, and jobs that come too late, on the real server."""

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from naq_client import Queue, SyncQueue, Task, task
from naq_core import Connection, JobExpiredError, JobState, Settings
from naq_core.errors import ConfigurationError, JobCancelledError, JobNotFoundError, JobStateError
from naq_core.inspect import get_job, list_jobs
from naq_core.manage import cancel_job, expire_job, reschedule, retry_job, run_now
from naq_core.storage.messages import due_of
from naq_core.storage.records import find_job
from naq_core.views import JobFilter
from naq_worker import Worker
from tests.conftest import RunWorker
from tests.integration import work
from tests.support.eventually import eventually

HOUR = 3600.0


def in_an_hour() -> datetime:
    return datetime.now(UTC) + timedelta(hours=1)


async def burst(settings: Settings) -> Worker:
    worker = Worker(["default"], settings=settings, burst=True)
    await worker.run()
    return worker


async def test_a_delayed_job_starts_after_its_time_and_not_before(queue: Queue, run_worker: RunWorker) -> None:
    async with run_worker():
        begun = time.time()
        job = await queue.enqueue_in(0.5, work.now)
        assert await job.result(10) >= begun + 0.4  # the server's time is known to within a round trip


async def test_a_delayed_job_is_shown_held_with_its_time(queue: Queue) -> None:
    when = in_an_hour()
    job = await queue.options(priority="high").enqueue_at(when, work.add, 1)
    view = await get_job(await queue.connection(), job.job_id)
    assert (view.state, view.priority) == (JobState.HELD, "high")
    assert view.due_at is not None
    assert abs(view.due_at - when) < timedelta(milliseconds=1)


async def test_delayed_jobs_are_listed_by_their_state(queue: Queue) -> None:
    delayed = [await queue.enqueue_in(HOUR + number, work.add, number) for number in range(3)]
    await queue.enqueue(work.add, 9)
    page = await list_jobs(await queue.connection(), JobFilter(states=frozenset({JobState.HELD})))
    assert [job.job_id for job in page.jobs] == [job.job_id for job in reversed(delayed)]
    dues = [job.due_at for job in page.jobs if job.due_at is not None]
    assert sorted(dues, reverse=True) == dues
    assert len(dues) == 3


async def test_a_delay_needs_no_process_of_ours(queue: Queue, settings: Settings) -> None:
    job = await queue.enqueue_in(timedelta(seconds=0.2), work.add, 1)

    async def is_ready() -> None:
        assert await job.status() == JobState.QUEUED

    await eventually(is_ready)
    await burst(settings)
    assert await job.result(10) == 1


@pytest.mark.parametrize("ago", [0.0, 1.0, 10 * 365 * 86400.0])
async def test_a_time_that_has_passed_means_now(queue: Queue, settings: Settings, ago: float) -> None:
    job = await queue.enqueue_at(datetime.now(UTC) - timedelta(seconds=ago), work.add, 1)
    assert await job.status() == JobState.QUEUED
    await burst(settings)
    assert await job.result(10) == 1


async def test_a_naive_time_is_refused(queue: Queue) -> None:
    with pytest.raises(ConfigurationError, match="no time zone"):
        await queue.enqueue_at(datetime.now(), work.add, 1)  # noqa: DTZ005 - the point
    assert await queue.purge() == 0


async def test_a_chosen_id_stays_one_job_when_it_is_delayed(queue: Queue, settings: Settings) -> None:
    first = await queue.options(job_id="once").enqueue_in(HOUR, work.add, 1)
    second = await queue.options(job_id="once").enqueue_in(1, work.add, 2)
    third = await queue.options(job_id="once").enqueue(work.add, 3)
    assert [job.is_new for job in (first, second, third)] == [True, False, False]
    await run_now(await queue.connection(), "once")
    await burst(settings)
    assert await third.result(10) == 1


async def test_options_tasks_and_the_synchronous_queue_delay_too(queue: Queue, settings: Settings) -> None:
    connection = await queue.connection()

    async def due_in(job_id: str) -> float:
        message = await find_job(connection, job_id)
        assert message is not None
        due = due_of(message)
        assert due is not None
        return due - time.time()

    by_option = await queue.options(delay=HOUR).enqueue(work.add, 1)
    assert await due_in(by_option.job_id) == pytest.approx(HOUR, abs=10)
    many = await queue.enqueue_many([queue.options(at=in_an_hour()).call(work.add, 1), queue.call(work.add, 2)])
    assert [await job.status() for job in many] == [JobState.HELD, JobState.QUEUED]
    with SyncQueue("default", settings=settings) as sync:
        jobs = [sync.enqueue_in(HOUR, work.add, 1), sync.enqueue_at(in_an_hour(), work.add, 1)]
        jobs += [sync.options(priority="low").enqueue_in(HOUR, work.add, 1)]
        for job in jobs:
            assert await due_in(job.job_id) == pytest.approx(HOUR, abs=10)


async def test_a_task_starts_later(queue: Queue, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAQ_NATS_URL", settings.nats_url)
    monkeypatch.setenv("NAQ_NAMESPACE", settings.namespace)
    from naq_client import disconnect  # noqa: PLC0415 - only here

    add: Task[..., int, object] = task(queue="default", expires=2 * HOUR)(work.add)
    try:
        jobs = [await add.enqueue_in(HOUR, 1), await add.enqueue_at(in_an_hour(), 1), await add.options(delay=HOUR).enqueue(1)]
    finally:
        await disconnect()
    for job in jobs:
        view = await get_job(await queue.connection(), job.job_id)
        assert view.due_at is not None
        assert view.expires_at is not None
        assert view.state == JobState.HELD
    with pytest.raises(ConfigurationError, match="cannot be combined with delay"):
        await add.options(delay=HOUR).enqueue_at(in_an_hour(), 1)


async def test_a_delayed_job_runs_now_when_told(queue: Queue, settings: Settings) -> None:
    job = await queue.enqueue_in(HOUR, work.add, 1)
    connection = await queue.connection()
    await run_now(connection, job.job_id)
    await run_now(connection, job.job_id)
    await burst(settings)
    assert await job.result(10) == 1
    with pytest.raises(JobStateError, match="it has ended"):
        await run_now(connection, job.job_id)
    with pytest.raises(JobNotFoundError):
        await run_now(connection, "never-heard-of")


async def test_a_delayed_job_gets_another_time(queue: Queue, settings: Settings, run_worker: RunWorker) -> None:
    job = await queue.enqueue_in(HOUR, work.add, 1)
    connection = await queue.connection()
    later = in_an_hour() + timedelta(hours=5)
    await reschedule(connection, job.job_id, later)
    view = await get_job(connection, job.job_id)
    assert view.due_at is not None
    assert abs(view.due_at - later) < timedelta(milliseconds=1)
    await reschedule(connection, job.job_id, datetime.now(UTC) + timedelta(seconds=0.2))
    async with run_worker():
        assert await job.result(10) == 1
    ready = await queue.enqueue(work.add, 1)
    with pytest.raises(JobStateError, match="no longer delayed"):
        await reschedule(connection, ready.job_id, later)
    with pytest.raises(ConfigurationError, match="no time zone"):
        await reschedule(connection, ready.job_id, datetime.now())  # noqa: DTZ005 - the point


async def test_a_retry_in_a_long_back_off_runs_now_when_told(queue: Queue, settings: Settings) -> None:
    job = await queue.options(max_retries=1, retry_delay=HOUR).enqueue(work.fail_until, 2)
    await burst(settings)
    assert await job.status() == JobState.RETRYING
    await run_now(await queue.connection(), job.job_id)
    await burst(settings)
    assert await job.result(10) == 2


async def test_a_delayed_job_is_cancelled_before_it_starts(queue: Queue, settings: Settings) -> None:
    job = await queue.enqueue_in(0.3, work.add, 1)
    await cancel_job(await queue.connection(), job.job_id, "not needed")
    with pytest.raises(JobCancelledError, match="not needed"):
        await job.result(10)
    after = await queue.enqueue_in(0.6, work.add, 2)

    async def is_ready() -> None:
        assert await after.status() == JobState.QUEUED

    await eventually(is_ready)
    worker = await burst(settings)
    assert worker.counters.processed == 1


async def test_a_job_that_comes_too_late_ends_as_expired(queue: Queue, settings: Settings) -> None:
    late = await queue.options(expires=datetime.now(UTC) - timedelta(seconds=1)).enqueue(work.add, 1)
    in_time = await queue.options(expires=HOUR).enqueue(work.add, 2)
    worker = await burst(settings)
    assert worker.counters.processed == 1
    with pytest.raises(JobExpiredError):
        await late.result(10)
    assert await in_time.result(10) == 2
    record = await late.record()
    assert record is not None
    assert (record.state, record.attempt, record.arguments) == (JobState.EXPIRED, 0, "1")
    assert await queue.purge() == 0


async def test_an_expired_job_wakes_those_who_wait_for_it(queue: Queue, settings: Settings) -> None:
    late = await queue.options(expires=datetime.now(UTC) - timedelta(seconds=1)).enqueue(work.add, 1)
    child = await queue.options(depends_on=late).enqueue(work.add, 1)
    lenient = await queue.options(depends_on=late, allow_failure=True).enqueue(work.add, 5)
    await burst(settings)
    with pytest.raises(JobExpiredError):
        await late.result(10)
    with pytest.raises(JobCancelledError, match=late.job_id):
        await child.result(10)
    await burst(settings)
    assert await lenient.result(10) == 5


async def test_a_fast_job_expires_on_record_as_well(queue: Queue, settings: Settings) -> None:
    job = await queue.options(fast=True, expires=datetime.now(UTC) - timedelta(seconds=1)).enqueue(work.add, 1)
    assert (await burst(settings)).counters.processed == 0
    record = await job.record()
    assert record is not None
    assert record.state == JobState.EXPIRED


async def test_a_retry_is_not_started_after_the_expiry_and_its_errors_are_kept(queue: Queue, settings: Settings) -> None:
    job = await queue.options(max_retries=5, retry_delay=4, jitter=False, expires=3).enqueue(work.fail, "first")
    await burst(settings)
    with pytest.raises(JobExpiredError):
        await job.result(10)
    record = await job.record()
    assert record is not None
    assert [(error.attempt, error.message) for error in record.errors] == [(1, "first")]
    assert record.attempt == 1


async def test_a_job_that_has_been_started_in_time_may_take_longer(queue: Queue, run_worker: RunWorker) -> None:
    async with run_worker():
        job = await queue.options(expires=3).enqueue(work.sleep, 3.5)
        assert await job.result(20) == "slept"


async def test_a_sweep_ends_what_has_expired_while_it_waited(queue: Queue, settings: Settings) -> None:
    connection = await queue.connection()
    now = time.time()
    queued = await queue.options(expires=HOUR).enqueue(work.add, 1)
    held = await queue.options(expires=HOUR, delay=HOUR / 2).enqueue(work.add, 1)
    child = await queue.options(depends_on=held).enqueue(work.add, 1)
    forever = await queue.enqueue(work.add, 2)
    assert not await expire_job(connection, queued.job_id)
    for job in (queued, held):
        assert await expire_job(connection, job.job_id, now=now + 2 * HOUR)
        assert await expire_job(connection, job.job_id, now=now + 2 * HOUR)
        with pytest.raises(JobExpiredError):
            await job.result(10)
    assert not await expire_job(connection, forever.job_id, now=now + 2 * HOUR)
    assert not await expire_job(connection, "never-heard-of")
    with pytest.raises(JobCancelledError):
        await child.result(10)
    assert (await burst(settings)).counters.processed == 1


async def test_a_sweep_leaves_a_running_job_alone(queue: Queue, run_worker: RunWorker, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    async with run_worker():
        job = await queue.options(expires=HOUR / 2).enqueue(work.hold, gate)

        async def runs() -> None:
            assert await job.status() == JobState.RUNNING

        await eventually(runs)
        assert not await expire_job(await queue.connection(), job.job_id, now=time.time() + HOUR)
        gate.touch()
        assert await job.result(10) == "held"


async def test_a_retried_job_waits_out_its_delay_again_after_a_reschedule(settings: Settings, queue: Queue) -> None:
    job = await queue.options(max_retries=1, retry_delay=HOUR).enqueue(work.fail_until, 2)
    await burst(settings)
    async with Connection(settings, name="test") as connection:
        await reschedule(connection, job.job_id, in_an_hour() + timedelta(hours=1))
        record = await job.record()
        assert record is not None
        assert record.next_at == pytest.approx(time.time() + 2 * HOUR, abs=10)
        await retry_job(connection, job.job_id)
    await burst(settings)
    assert await job.result(10) == 2
