"""F24: arguments, results and errors around and above the server's `max_payload`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from naq_client import Queue
from naq_core import JobState, PayloadTooLargeError, Settings
from naq_core.record import JobRecord
from naq_core.server import EmbeddedServer
from tests.faults.conftest import SHORT_LEASES
from tests.support import jobs
from tests.support.eventually import eventually
from tests.support.observer import Observer
from tests.support.processes import Fleet

MAX_PAYLOAD = 64 * 1024


@pytest.fixture
def own_server() -> Iterator[EmbeddedServer]:
    """Run a server that accepts small messages only."""
    with EmbeddedServer(config=f"max_payload: {MAX_PAYLOAD}") as server:
        yield server


@pytest.fixture
def own_settings(own_server: EmbeddedServer, namespace: str) -> Settings:
    """Give short leases on that server, and no object store that would take what is too large."""
    return Settings.load(nats_url=own_server.url, namespace=namespace, large_threshold=0, **SHORT_LEASES)


async def is_accepted(queue: Queue, size: int) -> bool:
    """Enqueue an argument of that size."""
    try:
        await queue.enqueue(jobs.measure, b"x" * size)
    except PayloadTooLargeError:
        return False
    return True


async def largest_accepted(queue: Queue) -> int:
    """Find the largest argument that is accepted, to the byte."""
    low, high = 1, MAX_PAYLOAD + 1
    assert await is_accepted(queue, low)
    assert not await is_accepted(queue, high)
    while high - low > 1:
        middle = (low + high) // 2
        if await is_accepted(queue, middle):
            low = middle
        else:
            high = middle
    return low


async def ended(observer: Observer, job_id: str) -> JobRecord:
    """Return the record of a job that has ended."""
    record = await observer.record("default", job_id)
    assert record is not None, "no record"
    assert record.state.is_final, record
    return record


async def test_the_largest_accepted_job_runs_and_one_byte_more_is_a_typed_error(
    own_server: EmbeddedServer, own_settings: Settings, own_fleet: Fleet
) -> None:
    async with Queue("default", settings=own_settings) as queue:
        size = await largest_accepted(queue)
        assert size > MAX_PAYLOAD * 0.9
        own_fleet.start()
        for fitting in (size - 1, size):
            job = await queue.enqueue(jobs.measure, b"x" * fitting)
            assert await job.result(timeout=15) == fitting
        with pytest.raises(PayloadTooLargeError) as refused:
            await queue.enqueue(jobs.measure, b"x" * (size + 1))
        assert refused.value.size == refused.value.limit + 1
        assert refused.value.limit <= MAX_PAYLOAD
        job = await queue.enqueue(jobs.measure, b"still here")
        assert await job.result(timeout=15) == 10
    log = own_server.log_file.read_text()
    assert "aximum payload" not in log.lower().replace("maximum_payload", "")


@pytest.mark.parametrize("retry_delay", [0.1, 11])
async def test_the_largest_accepted_job_can_also_fail(
    retry_delay: float, own_server: EmbeddedServer, own_settings: Settings, own_fleet: Fleet
) -> None:
    async with Queue("default", settings=own_settings) as queue, Observer(own_settings) as observer:
        size = await largest_accepted(queue)
        failing = queue.options(max_retries=1, retry_delay=retry_delay, jitter=False)
        job = await failing.enqueue(jobs.fail_with, b"x" * (size - 300))
        worker = own_fleet.start()
        record = await eventually(lambda: ended(observer, job.job_id), 30)
        assert (record.state, record.attempt) == (JobState.DEAD, 2), worker.output()
        await eventually(lambda: is_kept_as_dead(observer), 5)


async def is_kept_as_dead(observer: Observer) -> None:
    """Assert that the whole job is kept under the dead state."""
    live = await observer.live("default")
    assert live["dead"] == 1, live


async def test_a_result_or_an_error_that_is_too_large_ends_the_job(
    own_server: EmbeddedServer, own_settings: Settings, own_fleet: Fleet
) -> None:
    async with Queue("default", settings=own_settings) as queue, Observer(own_settings) as observer:
        worker = own_fleet.start()
        once = queue.options(max_retries=0)
        large_result = await once.enqueue(jobs.return_bytes, 2 * MAX_PAYLOAD)
        large_error = await once.enqueue(jobs.fail_loudly, 2 * MAX_PAYLOAD)
        for job in (large_result, large_error):
            record = await eventually(lambda: ended(observer, job.job_id), 15)  # noqa: B023
            assert record.state is JobState.DEAD, record
            assert record.errors, "it does not say why"
        small = await queue.enqueue(jobs.return_bytes, 10)
        assert await small.result(timeout=15) == b"r" * 10
        assert worker.is_alive, worker.output()


async def test_a_long_history_of_errors_does_not_outgrow_the_record(
    own_server: EmbeddedServer, own_settings: Settings, own_fleet: Fleet
) -> None:
    async with Queue("default", settings=own_settings) as queue, Observer(own_settings) as observer:
        worker = own_fleet.start()
        job = await queue.options(max_retries=8).enqueue(jobs.fail_loudly, MAX_PAYLOAD)
        record = await eventually(lambda: ended(observer, job.job_id), 20)
        assert (record.state, record.attempt) == (JobState.DEAD, 9), worker.output()


@pytest.mark.parametrize("process", [False, True])
async def test_an_error_that_is_not_valid_unicode_ends_the_job(
    process: bool, own_server: EmbeddedServer, own_settings: Settings, own_fleet: Fleet
) -> None:
    async with Queue("default", settings=own_settings) as queue, Observer(own_settings) as observer:
        worker = own_fleet.start()
        job = await queue.options(process=process).enqueue(jobs.fail_with_a_file_name)
        record = await eventually(lambda: ended(observer, job.job_id), 15)
        assert (record.state, record.crashes) == (JobState.DEAD, 0), worker.output()
        assert "no such file" in record.errors[-1].message
