"""One id is one job: found by its id alone in any queue, and never mistaken for its namesake on another."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from naq_client import Queue, Workflow
from naq_core import AmbiguousJobError, Connection, InvalidNameError, Job, JobNotFoundError, JobState, Settings
from naq_core.inspect import get_job, list_jobs, read_json_result, wait_for_job
from naq_core.manage import cancel_job, delete_job
from naq_core.storage import records
from naq_core.storage.shared import shared_connections
from naq_core.views import JobFilter
from tests.conftest import RunWorker
from tests.integration import work

NAMES = "the queues 'mail', 'reports' have a job with this id: specify one, as in order-1@mail"


@pytest.fixture
async def mail(settings: Settings) -> AsyncIterator[Queue]:
    """Open the queue `mail`."""
    async with Queue("mail", settings=settings) as queue:
        yield queue


@pytest.fixture
async def reports(settings: Settings) -> AsyncIterator[Queue]:
    """Open the queue `reports`."""
    async with Queue("reports", settings=settings) as queue:
        yield queue


async def test_an_id_alone_finds_the_job_in_any_queue(mail: Queue, reports: Queue, run_worker: RunWorker) -> None:
    job = await mail.options(job_id="order-1").enqueue(work.add, 1, 2)
    found = await reports.job("order-1")
    assert (found.queue, await found.status()) == ("mail", JobState.QUEUED)
    async with run_worker("mail"):
        assert await found.result(30) == 3
        assert await Job.fetch_result("order-1", settings=mail.settings) == 3
        assert (await Job.fetch_record("order-1", settings=mail.settings)).queue == "mail"
    with pytest.raises(JobNotFoundError, match="no such job in queue 'reports'; there is one in queue 'mail'") as caught:
        await reports.cancel("order-1")
    assert caught.value.elsewhere == ("mail",)
    assert await job.status() is JobState.SUCCEEDED


async def test_two_jobs_of_one_id_are_an_error_that_names_both(mail: Queue, reports: Queue, queue: Queue) -> None:
    for each in (mail, reports):
        await each.options(job_id="order-1").enqueue(work.add, 1)
    connection = await queue.connection()
    for asking in (
        Job.fetch_result("order-1", settings=queue.settings),
        Job.fetch_record("order-1", settings=queue.settings),
        queue.job("order-1"),
        get_job(connection, "order-1"),
        wait_for_job(connection, "order-1"),
        read_json_result(connection, "order-1"),
        cancel_job(connection, "order-1"),
        delete_job(connection, "order-1"),
        queue.options(depends_on="order-1").enqueue(work.add, 2),
        queue.enqueue_many([queue.options(depends_on="order-1").call(work.add, 3)]),
    ):
        with pytest.raises(AmbiguousJobError, match=NAMES) as caught:
            await asking
        assert caught.value.queues == ("mail", "reports")
    flow = Workflow()
    flow.add(queue.s(work.add, 1), depends_on="order-1")
    with pytest.raises(AmbiguousJobError):
        await flow.enqueue(queue)
    page = await list_jobs(connection, JobFilter(text="order-1"))
    assert sorted(job.queue for job in page.jobs) == ["mail", "reports"]


async def test_the_queue_can_be_said_with_the_id(mail: Queue, reports: Queue, queue: Queue, run_worker: RunWorker) -> None:
    for number, each in enumerate((mail, reports)):
        await each.options(job_id="order-1").enqueue(work.add, number)
    settings, connection = queue.settings, await queue.connection()
    async with run_worker("reports", "default"):
        assert (await wait_for_job(connection, "order-1@reports", 30)).result == "1"
        assert await Job.fetch_result("order-1@reports", settings=settings) == 1
        assert await Job.fetch_result("order-1", settings=settings, queue="reports") == 1
        assert (await Job.fetch_record("order-1", settings=settings, queue="reports")).queue == "reports"
        assert (await queue.job("order-1@reports")).queue == "reports"
        assert (await mail.job("order-1")).queue == "mail"  # its own before others
        child = await queue.options(depends_on="order-1@reports").enqueue(work.add, 5)
        assert await child.result(30) == 5
    assert (await get_job(connection, "order-1@mail")).state is JobState.QUEUED
    assert (await cancel_job(connection, "order-1@mail")).value == "before_start"
    with pytest.raises(InvalidNameError, match="names a different queue"):
        await get_job(connection, "order-1@mail", "reports")


async def test_a_dependency_by_id_means_the_job_of_its_own_queue_first(
    mail: Queue, reports: Queue, run_worker: RunWorker
) -> None:
    for each in (mail, reports):
        await each.options(job_id="order-1").enqueue(work.add, 1)
    child = await reports.options(depends_on="order-1").enqueue(work.add, 7)
    async with run_worker("mail"):
        assert await Job.fetch_result("order-1@mail", settings=mail.settings, timeout=30) == 1
    assert await child.status() is JobState.HELD
    async with run_worker("reports"):
        assert await child.result(30) == 7


async def test_a_job_waits_for_both_namesakes_and_starts_at_once_after_the_last(
    mail: Queue, reports: Queue, queue: Queue, run_worker: RunWorker
) -> None:
    parents = [await each.options(job_id="order-1").enqueue(work.add, 1) for each in (mail, reports)]
    last = await queue.enqueue(work.add, 1)
    child = await queue.options(depends_on=[*parents, last]).enqueue(work.add, 7)
    async with run_worker("mail", "default"):
        assert await last.result(30) == await parents[0].result(30) == 1
        assert await child.status() is JobState.HELD
        async with run_worker("reports"):
            assert await child.result(30) == 7  # the server's timer would need a minute


async def test_look_ups_share_the_connection_of_their_event_loop(queue: Queue, run_worker: RunWorker) -> None:
    job = await queue.enqueue(work.add, 1)
    async with run_worker():
        assert await job.result(30) == 1
    settings = queue.settings
    before = await shared_connections(settings).get()
    results = await asyncio.gather(*(Job.fetch_result(job.job_id, settings=settings) for _ in range(10)))
    assert results == [1] * 10
    assert await shared_connections(settings).get() is before
    assert not before.is_over


@pytest.mark.parametrize("queue_name", ["*", "default"])
async def test_a_job_that_ends_between_the_two_reads_of_a_look_up_is_found(
    queue_name: str, queue: Queue, run_worker: RunWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As while the jobs stream changes its leader: its answer comes late, and the one about the record is old by then."""
    job = await queue.enqueue(work.add, 1)
    async with Connection(queue.settings) as connection:
        request = connection.api

        async def late(subject: str, *args: Any, **options: Any) -> Any:
            if subject.endswith(connection.names.jobs_stream):
                async with run_worker():
                    await job.result(30)
            return await request(subject, *args, **options)

        monkeypatch.setattr(connection, "api", late)
        stored, _ = await records.look_up(connection, job.job_id, queue_name)
    assert stored is not None
    assert stored.record.state is JobState.SUCCEEDED
