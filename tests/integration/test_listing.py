"""Jobs, queues and the broker as the CLI and the dashboard see them."""

import asyncio
import random
from datetime import UTC, datetime, timedelta

import pytest

from naq_client import Queue
from naq_core import (
    AmbiguousJobError,
    ConfigurationError,
    InvalidNameError,
    JobNotFoundError,
    JobState,
    Settings,
    inspect,
    manage,
)
from naq_core.errors import QueueNotFoundError
from naq_core.record import JobRecord, encode_record
from naq_core.storage.connection import Connection
from naq_core.storage.topology import ensure_streams
from naq_core.transport.headers import EXPECTED_SEQUENCE
from naq_core.transport.newest_first import ReverseScan
from naq_core.views import JobCount, JobFilter, JobPage, encode_view
from tests.conftest import RunWorker
from tests.integration import work
from tests.support.eventually import eventually


def states(*wanted: JobState) -> JobFilter:
    return JobFilter(states=frozenset(wanted))


async def all_pages(connection: Connection, wanted: JobFilter, limit: int, max_scan: int = 20_000) -> list[str]:
    ids: list[str] = []
    cursor = None
    while True:
        page = await inspect.list_jobs(connection, wanted, limit, cursor, max_scan)
        assert len(page.jobs) <= limit
        ids += [job.job_id for job in page.jobs]
        cursor = page.cursor
        if cursor is None:
            return ids


async def test_every_job_is_listed_once_the_newest_first(queue: Queue, run_worker: RunWorker) -> None:
    connection = await queue.connection()
    done = await queue.enqueue_many(queue.call(work.add, n, 0) for n in range(7))
    failed = await queue.enqueue(work.fail, "bad thing")
    async with run_worker():
        await asyncio.gather(*(job.result(10) for job in done))
        with pytest.raises(Exception, match="bad thing"):
            await failed.result(10)

        async def kept() -> None:
            assert await inspect.count_jobs(connection, states(JobState.DEAD)) == JobCount(count=1)

        await eventually(kept)
    waiting = [await queue.enqueue(work.add, n, 1) for n in range(5)]

    for limit in (1, 3, 50):
        ids = await all_pages(connection, JobFilter(), limit)
        assert ids[:5] == [job.job_id for job in reversed(waiting)]
        assert sorted(ids) == sorted(job.job_id for job in [*done, failed, *waiting])
    assert set(await all_pages(connection, states(JobState.SUCCEEDED), 3)) == {job.job_id for job in done}
    assert await all_pages(connection, states(JobState.DEAD), 3) == [failed.job_id]
    assert await all_pages(connection, states(JobState.QUEUED), 2) == [job.job_id for job in reversed(waiting)]
    assert len(await all_pages(connection, states(JobState.QUEUED, JobState.SUCCEEDED), 4)) == 12


async def test_running_and_retrying_jobs_are_found_behind_a_long_queue(queue: Queue, run_worker: RunWorker) -> None:
    connection = await queue.connection()
    running = await queue.enqueue(work.sleep, 30)
    backing_off = await queue.options(max_retries=1, retry_delay=3600).enqueue(work.fail)
    async with run_worker(concurrency=2) as worker:

        async def begun() -> None:
            assert await all_pages(connection, states(JobState.RUNNING), 5) == [running.job_id]
            assert await all_pages(connection, states(JobState.RETRYING), 5) == [backing_off.job_id]

        await eventually(begun)
        page = await inspect.list_jobs(connection, states(JobState.RUNNING))
        assert page.jobs[0].worker == worker.worker_id
        [view] = (await inspect.list_jobs(connection, states(JobState.RETRYING))).jobs
        assert view.due_at is not None
        assert view.due_at > datetime.now(UTC) + timedelta(minutes=50)
        assert (view.attempt, view.max_attempts, view.errors[0].type) == (1, 2, "ValueError")
        assert len(await all_pages(connection, JobFilter(), 5)) == 2
        worker.stop_now()


async def test_jobs_that_start_while_one_pages_are_not_left_out(queue: Queue, run_worker: RunWorker) -> None:
    connection = await queue.connection()
    jobs = [await queue.enqueue(work.sleep, 30) for _ in range(6)]
    first = await inspect.list_jobs(connection, limit=2)
    async with run_worker() as worker:

        async def running() -> None:
            assert len((await inspect.list_jobs(connection, states(JobState.RUNNING))).jobs) == 6

        await eventually(running)
        rest = await inspect.list_jobs(connection, limit=10, cursor=first.cursor)
        worker.stop_now()
    assert [job.job_id for job in first.jobs + rest.jobs] == [job.job_id for job in reversed(jobs)]
    assert [job.state for job in rest.jobs] == [JobState.RUNNING] * 4


async def test_jobs_put_back_or_cancelled_are_listed_once_as_what_they_are(queue: Queue, run_worker: RunWorker) -> None:
    connection = await queue.connection()
    failed, cancelled = await queue.enqueue(work.fail), await queue.enqueue(work.add, 1)
    await cancelled.cancel("not needed")
    async with run_worker():
        with pytest.raises(Exception, match="boom"):
            await failed.result(10)

        async def kept() -> None:
            assert await all_pages(connection, states(JobState.DEAD), 5) == [failed.job_id]

        await eventually(kept)
    assert await all_pages(connection, states(JobState.CANCELLED), 5) == [cancelled.job_id]
    await manage.retry_job(connection, failed.job_id)

    page = await inspect.list_jobs(connection)

    found = {view.job_id: view.state for view in page.jobs}
    assert len(page.jobs) == 2
    assert found == {failed.job_id: JobState.QUEUED, cancelled.job_id: JobState.CANCELLED}
    assert await all_pages(connection, states(JobState.DEAD), 5) == []
    assert await all_pages(connection, states(JobState.QUEUED), 5) == [failed.job_id]
    assert (await inspect.count_jobs(connection, states(JobState.DEAD))).count == 0
    assert (await inspect.get_job(connection, failed.job_id)).state is JobState.QUEUED


async def test_the_same_id_in_two_queues_is_two_jobs(queue: Queue, run_worker: RunWorker) -> None:
    connection = await queue.connection()
    async with Queue("other", connection=connection) as other:
        done = await other.enqueue(work.add, 1, 2, job_id="twin")
        async with run_worker("other"):
            await done.result(10)
        waiting = await queue.enqueue(work.add, 3, 4, job_id="twin")
    assert ((await done.view()).queue, (await done.view()).state) == ("other", JobState.SUCCEEDED)
    assert ((await waiting.view()).queue, (await waiting.view()).state) == ("default", JobState.QUEUED)
    assert (await inspect.get_job(connection, "twin@default")).state is JobState.QUEUED
    with pytest.raises(AmbiguousJobError, match="'default', 'other'"):
        await inspect.get_job(connection, "twin")
    for wanted in (JobFilter(), JobFilter(text="twin")):
        found = {(view.queue, view.state) for view in (await inspect.list_jobs(connection, wanted)).jobs}
        assert found == {("other", JobState.SUCCEEDED), ("default", JobState.QUEUED)}
    [view] = (await inspect.list_jobs(connection, JobFilter(text="twin", queue="other"))).jobs
    assert view.state is JobState.SUCCEEDED


async def test_filters(queue: Queue, run_worker: RunWorker, settings: Settings) -> None:
    connection = await queue.connection()
    failed = await queue.enqueue(work.fail, "Needle")
    added = await queue.enqueue(work.add, 1, 2, job_id="sum-1")
    async with run_worker() as worker:
        await added.result(10)
        with pytest.raises(Exception, match="Needle"):
            await failed.result(10)
    async with Queue("other", connection=connection) as other:
        elsewhere = await other.enqueue(work.add, 5, 6)

    async def found(**wanted: object) -> set[str]:
        return set(await all_pages(connection, JobFilter(**wanted), 10))  # type: ignore[arg-type]

    everything = {failed.job_id, added.job_id, elsewhere.job_id}
    assert await found(queue="other") == {elsewhere.job_id}
    assert await found(queue="default", function="work:add") == {added.job_id}
    assert await found(error="ValueError") == {failed.job_id}
    assert await found(worker=worker.worker_id) == {failed.job_id, added.job_id}
    assert await found(text="needle") == {failed.job_id}
    assert await found(text="sum-1") == {added.job_id}
    assert await found(text="5, 6") == {elsewhere.job_id}
    assert await found(queue="nothing-here") == set()
    assert await found(since=datetime.now(UTC) - timedelta(hours=1)) == everything
    assert await found(since=datetime.now(UTC) + timedelta(hours=1)) == set()
    assert await found(until=datetime.now(UTC) - timedelta(hours=1)) == set()
    assert await found(schedule="none", workflow="none") == set()
    page = await inspect.list_jobs(connection, JobFilter(text="needle"), max_scan=1)
    assert page.scanned == 1


@pytest.mark.parametrize("bad", [{"cursor": "x"}, {"cursor": "1-2-3-4"}, {"limit": 0}, {"limit": 5000}, {"max_scan": 0}], ids=str)
async def test_nonsense_is_refused(queue: Queue, bad: dict[str, object]) -> None:
    with pytest.raises(ConfigurationError):
        await inspect.list_jobs(await queue.connection(), **bad)  # type: ignore[arg-type]


async def test_naive_times_and_wrong_names_are_refused(queue: Queue) -> None:
    connection = await queue.connection()
    with pytest.raises(ConfigurationError, match="no time zone"):
        await inspect.list_jobs(connection, JobFilter(since=datetime(2026, 1, 1)))  # noqa: DTZ001
    with pytest.raises(InvalidNameError):
        await inspect.list_jobs(connection, JobFilter(queue="a.b"))
    with pytest.raises(JobNotFoundError):
        await inspect.get_job(connection, "no-such-job")
    with pytest.raises(QueueNotFoundError):
        await inspect.get_queue(connection, "no-such-queue")


async def test_an_empty_server_has_empty_lists(settings: Settings) -> None:
    async with Connection(settings) as connection:
        assert await inspect.list_jobs(connection) == JobPage(jobs=[])
        assert await inspect.list_queues(connection) == []
        assert (await inspect.count_jobs(connection)).count == 0


async def test_a_message_that_is_no_job_is_listed_not_stumbled_over(queue: Queue) -> None:
    connection = await queue.connection()
    await ensure_streams(connection)
    await connection.publish(connection.names.ready("default", "garbage"), b"\xff\x00", {EXPECTED_SEQUENCE: "0"})
    await connection.publish(connection.names.result("default", "broken"), b"{", {EXPECTED_SEQUENCE: "0"})

    record, message = (await inspect.list_jobs(connection)).jobs

    assert (message.job_id, message.state, message.function) == ("garbage", JobState.QUEUED, "?")
    assert (record.job_id, record.state, record.errors[0].type) == ("broken", JobState.DEAD, "Unreadable")


async def test_a_job_comes_whole(queue: Queue, run_worker: RunWorker) -> None:
    connection = await queue.connection()
    job = await queue.options(max_retries=2).enqueue(work.add, 1, b=2)
    waiting = await inspect.get_job(connection, job.job_id)
    assert (waiting.state, waiting.max_attempts, waiting.arguments, waiting.priority) == (JobState.QUEUED, 3, "1, b=2", "normal")
    assert b'"state":"queued"' in encode_view(waiting)

    async with run_worker():
        await job.result(10)

    view = await inspect.get_job(connection, job.job_id)
    assert (view.state, view.attempt, view.queue) == (JobState.SUCCEEDED, 1, "default")
    assert view.enqueued_at is not None
    assert view.started_at is not None
    assert view.ended_at is not None


async def test_queues_say_how_full_they_are(queue: Queue, run_worker: RunWorker) -> None:
    connection = await queue.connection()
    before = datetime.now(UTC) - timedelta(seconds=5)
    await queue.enqueue(work.sleep, 30)
    await queue.options(max_retries=1, retry_delay=3600).enqueue(work.fail)
    async with run_worker(concurrency=1) as worker:
        dead = await queue.enqueue(work.fail)

        async def seen() -> None:
            view = await inspect.get_queue(connection, "default")
            assert (view.running, view.workers) == (1, 1)

        await eventually(seen)
        worker.stop_now()
    async with run_worker(concurrency=3) as worker:

        async def settled() -> None:
            view = await inspect.get_queue(connection, "default")
            assert (view.queued, view.running, view.held, view.dead) == (0, 1, 1, 1)

        await eventually(settled)
        worker.stop_now()
    await queue.enqueue(work.add, 1, 1)
    [view] = await inspect.list_queues(connection)
    assert view.queue == "default"
    assert view.by_priority["normal"] == view.queued
    assert view.oldest_at is not None
    assert view.oldest_at > before
    assert dead.job_id


async def test_a_pause_is_seen(queue: Queue) -> None:
    connection = await queue.connection()
    await queue.pause()
    view = await inspect.get_queue(connection, "default")
    assert (view.paused, view.paused_until) == (True, None)
    until = datetime.now(UTC) + timedelta(hours=1)
    await queue.pause(until)
    assert (await inspect.get_queue(connection, "default")).paused_until == until


async def test_the_broker_shows_itself(queue: Queue) -> None:
    connection = await queue.connection()
    await queue.enqueue(work.add, 1, 1)
    view = await inspect.broker_info(connection)
    assert view.version.startswith("2.")
    assert view.rtt > 0
    assert {stream["name"] for stream in view.streams} >= {connection.names.jobs_stream, connection.names.results_stream}
    assert all(stream["name"].startswith((view.namespace, f"KV_{view.namespace}")) for stream in view.streams)


@pytest.mark.parametrize("density", [1.0, 0.5, 0.1, 0.004])
async def test_a_descent_meets_every_message_in_order(settings: Settings, density: float) -> None:
    dice = random.Random(7)
    async with Connection(settings) as connection:
        await ensure_streams(connection)
        names = connection.names
        record = encode_record(JobRecord(state=JobState.RUNNING, job_id="x", queue="q"))
        sending = []
        expected = []
        for number in range(3000):
            # A quiet patch in the middle, and rewritten keys that leave holes.
            wanted = dice.random() < density and not 1000 < number < 2000
            subject = names.result("q", str(number)) if wanted else names.result("other", str(number % 50))
            sending.append(await connection.publisher.send(subject, record))
            if wanted:
                expected.append(number + 1)
        await asyncio.gather(*sending)
        for step in (0, 0, 50, 3000):  # the second time it is known how far apart they lie
            descent = ReverseScan(connection, names.results_stream, names.result("q", "*"), below=3001, first=1, step=step)
            found: list[int] = []
            while entries := await descent.more(dice.randrange(1, 200)):
                found += [entry.sequence for entry in entries]
            assert descent.is_done
            assert found == expected[::-1]


async def test_a_list_cut_short_by_time_goes_on_where_it_ended(queue: Queue) -> None:
    connection = await queue.connection()
    jobs = await queue.enqueue_many(queue.call(work.add, n) for n in range(300))
    ids: list[str] = []
    cursor = None
    pages = 0
    while True:
        page = await inspect.list_jobs(connection, JobFilter(), 50, cursor, max_seconds=0.001 if pages % 2 == 0 else None)
        ids += [job.job_id for job in page.jobs]
        pages += 1
        cursor = page.cursor
        if cursor is None:
            break
    assert ids == [job.job_id for job in reversed(jobs)]
    count = await inspect.count_jobs(connection, JobFilter(function="add"), max_seconds=0.0)
    assert count.is_exact is False
    assert 0 < count.count == count.scanned < 300


async def test_counts_that_the_server_knows_need_no_search(queue: Queue, run_worker: RunWorker) -> None:
    connection = await queue.connection()
    async with run_worker():
        await (await queue.enqueue(work.add, 1, 1)).result(10)
    await queue.enqueue_many(queue.call(work.add, n) for n in range(30))
    await queue.options(delay=3600).enqueue(work.add, 1)
    for wanted in (JobFilter(), states(JobState.QUEUED), JobFilter(queue=queue.name)):
        assert await inspect.count_jobs(connection, wanted, max_scan=2) == JobCount(count=30, is_exact=False, scanned=0)
    delayed = await inspect.count_jobs(connection, states(JobState.HELD, JobState.RETRYING), max_scan=1)
    assert delayed.count == 1
    assert await inspect.count_jobs(connection, JobFilter()) == JobCount(count=32, is_exact=True, scanned=32)


@pytest.mark.parametrize("text", ["GRÜN", "grün", 'say "hi"', "a\\b", "Straße", "k9"])
async def test_a_search_finds_texts_of_every_kind_in_records(queue: Queue, run_worker: RunWorker, text: str) -> None:
    connection = await queue.connection()
    async with run_worker():
        jobs = [await queue.enqueue(work.fail, each) for each in ("grün, Straße", 'say "hi"', "a\\b", "K9", "none")]
        for job in jobs:
            with pytest.raises(Exception, match=r"."):
                await job.result(10)
    found = await inspect.list_jobs(connection, JobFilter(text=text))
    assert len(found.jobs) == 1


async def test_jobs_in_hand_are_found_however_far_ahead_another_queue_is(queue: Queue, run_worker: RunWorker) -> None:
    connection = await queue.connection()
    running = await queue.enqueue(work.sleep, 30)
    async with run_worker(concurrency=1) as worker:

        async def begun() -> None:
            assert (await inspect.list_jobs(connection, states(JobState.RUNNING))).jobs

        await eventually(begun)
        await queue.enqueue_many(queue.call(work.add, n) for n in range(200))
        ahead = Queue("ahead", settings=queue.settings)
        await ahead.enqueue(work.add, 1, 1)
        async with run_worker("ahead"):

            async def done() -> None:
                assert [each.queued for each in await inspect.list_queues(connection) if each.queue == "ahead"] == [0]

            await eventually(done)
            page = await inspect.list_jobs(connection, states(JobState.RUNNING))
        worker.stop_now()
        await ahead.close()
    assert [job.job_id for job in page.jobs] == [running.job_id]
    assert page.scanned < 20


async def test_lists_come_whole_over_lost_connections(queue: Queue) -> None:
    connection = await queue.connection()
    jobs = await queue.enqueue_many(queue.call(work.add, n) for n in range(500))
    listing = asyncio.create_task(all_pages(connection, JobFilter(), 20))
    for _ in range(3):
        await connection.client.force_reconnect()
        await asyncio.sleep(0)
    assert await listing == [job.job_id for job in reversed(jobs)]
