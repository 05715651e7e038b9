"""Events as the server tells them."""

import asyncio
from contextlib import aclosing
from typing import Any, Self

import pytest

from naq_client import Queue
from naq_core import ConfigurationError, InvalidNameError, JobState, Settings
from naq_core.events import events
from naq_core.record import JobRecord, Progress
from naq_core.storage.connection import Connection
from naq_core.storage.events import event_of, is_end, record_headers
from naq_core.storage.topology import ensure_streams
from naq_core.views import Event
from tests.conftest import RunWorker
from tests.integration import work
from tests.support.eventually import eventually


class Listener:
    """Collects events from the moment the server knows of it."""

    def __init__(self, connection: Connection, queue: str = "*", **options: Any) -> None:
        self.found: list[Event] = []
        self._connection = connection
        self._queue = queue
        self._options = options

    async def __aenter__(self) -> Self:
        before = len(self._connection.client._subs)
        self._task = asyncio.create_task(self._collect())

        async def listens() -> None:
            assert len(self._connection.client._subs) == before + 2

        await eventually(listens)
        await self._connection.client.flush()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _collect(self) -> None:
        async with aclosing(events(self._connection, self._queue, **self._options)) as feed:
            async for event in feed:
                self.found.append(event)

    async def until(self, *kinds: str) -> list[Event]:
        async def seen() -> None:
            assert [event.kind for event in self.found][-len(kinds) :] == list(kinds)

        await eventually(seen)
        return self.found


async def test_a_jobs_life_is_told(queue: Queue, run_worker: RunWorker) -> None:
    connection = await queue.connection()
    async with Listener(connection, "default") as listener, run_worker() as worker:
        job = await queue.options(max_retries=1, retry_delay=0.01).enqueue(work.fail_until, 2)
        assert await job.result(10) == 2
        found = await listener.until("started", "retrying", "started", "succeeded")
        first, _, _, last = found
        assert (first.job_id, first.queue, first.function) == (job.job_id, "default", "tests.integration.work:fail_until")
        assert (first.attempt, first.worker, first.state) == (1, worker.worker_id, JobState.RUNNING)
        assert (last.attempt, last.state) == (2, JobState.SUCCEEDED)
        assert last.at >= first.at
        assert [event.sequence for event in found] == sorted({event.sequence for event in found})

        with pytest.raises(Exception, match="boom"):
            await (await queue.enqueue(work.fail)).result(10)
        await listener.until("failed")
        with pytest.raises(Exception, match="no need"):
            await (await queue.enqueue(work.control, "cancel")).result(10)
        await listener.until("cancelled")


async def test_progress_is_told(queue: Queue, run_worker: RunWorker) -> None:
    async with Listener(await queue.connection()) as listener, run_worker():
        await (await queue.enqueue(work.report)).result(10)
        found = await listener.until("started", "progress", "succeeded")
        assert found[1].progress == Progress(1, 4, "first")


async def test_a_queue_tells_of_itself_alone(queue: Queue, run_worker: RunWorker) -> None:
    async with Queue("other", settings=queue.settings) as other, run_worker("default", "other"):
        seen: list[Event] = []

        async def collect() -> None:
            async for event in other.events():
                seen.append(event)
                if event.kind == "succeeded":
                    return

        task = asyncio.create_task(collect())
        while not task.done():
            await (await queue.enqueue(work.add, 1, 1)).result(10)
            await (await other.enqueue(work.add, 1, 1)).result(10)
        await task
        assert {event.queue for event in seen} == {"other"}


async def test_enqueued_held_and_dead_jobs_are_told_of_where_that_is_set(
    queue: Queue, settings: Settings, run_worker: RunWorker
) -> None:
    connection = await queue.connection()
    await ensure_streams(connection)  # made without; an existing stream is changed
    told = Settings.load(nats_url=settings.nats_url, namespace=settings.namespace, job_events="on")
    async with Connection(told) as loud, Listener(loud) as listener, Queue("default", connection=loud) as announced:
        await announced.enqueue(work.fail)
        await listener.until("enqueued")
        await announced.enqueue(work.fail, job_id="j")
        assert (await listener.until("enqueued", "enqueued"))[1].job_id == "j"
        async with run_worker(concurrency=1, settings=told):

            async def all_seen() -> None:
                assert sorted(event.kind for event in listener.found) == sorted(["enqueued", "started", "failed", "dead"] * 2)

            await eventually(all_seen)
    quiet = Settings.load(nats_url=settings.nats_url, namespace=settings.namespace, job_events="off")
    async with Connection(quiet) as connection:
        await ensure_streams(connection)
        info = await connection.api(f"STREAM.INFO.{connection.names.jobs_stream}")
        assert "republish" not in info["config"]


async def test_a_reconnect_is_a_gap(queue: Queue) -> None:
    connection = await queue.connection()
    async with Listener(connection) as listener:
        await connection.client.force_reconnect()
        await listener.until("gap")


async def test_a_slow_reader_is_told_that_it_missed_some(queue: Queue, run_worker: RunWorker) -> None:
    connection = await queue.connection()
    feed = events(connection, most_waiting=2)
    first = asyncio.create_task(anext(feed))
    async with run_worker():
        while not first.done():
            await (await queue.enqueue(work.add, 1, 1)).result(10)
        jobs = await queue.enqueue_many(queue.call(work.add, n, 1) for n in range(5))
        await asyncio.gather(*(job.result(10) for job in jobs))
    assert (await anext(feed)).kind == "gap"
    assert (await anext(feed)).kind != "gap"
    await feed.aclose()


async def test_wrong_names_are_refused(queue: Queue) -> None:
    with pytest.raises(InvalidNameError):
        await anext(events(await queue.connection(), "a.*"))
    with pytest.raises(ConfigurationError, match="job_events"):
        Settings(job_events="maybe")  # type: ignore[arg-type]


def test_a_hostile_function_name_adds_no_header() -> None:
    record = JobRecord(state=JobState.RUNNING, job_id="j", queue="q", function="a\r\nNats-TTL: 1s\r\n" + "ü" * 4000, worker="w")
    headers = record_headers(record, 3, progress=True)
    assert all(value.isprintable() and len(value.encode()) < 600 for value in headers.values())


def test_headers_come_back_as_an_event() -> None:
    record = JobRecord(
        state=JobState.RUNNING, job_id="j", queue="q", function="m:f g", attempt=2, progress=Progress(1.5, None, "half\nway")
    )
    lines = "".join(f"{name}: {value}\r\n" for name, value in record_headers(record, 3, progress=True).items())
    block = f"NATS/1.0\r\n{lines}Nats-Sequence: 17\r\nNats-Time-Stamp: 2026-11-24T12:11:19.4Z\r\n\r\n".encode()
    event = event_of("ns.event.results.q.j", block)
    assert event is not None
    assert (event.kind, event.function, event.attempt, event.sequence) == ("progress", "m:f g", 2, 17)
    assert event.progress == Progress(1.5, None, "half?way")
    assert event.at.microsecond == 400_000
    assert not is_end(block)
    assert is_end(b"NATS/1.0\r\nNaq-State: succeeded\r\n\r\n")
    assert event_of("x", b"") is None
