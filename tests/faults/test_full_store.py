"""F7: a full store, and what makes room in it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from naq_client import Queue
from naq_core import Job, JobCancelledError, JobNotFoundError, JobState, QueueFullError, Settings
from naq_core.audit import Actor, read_trail, recorded
from naq_core.inspect import list_queues
from naq_core.manage import delete_job, delete_queue, purge_queue, set_queue_limit
from naq_core.schedules import delete_schedule, list_schedules
from naq_core.server import EmbeddedServer
from naq_core.unreadable import find_unreadable, remove_unreadable
from tests.support import jobs
from tests.support.checker import verify
from tests.support.history import History
from tests.support.load import Load
from tests.support.observer import Observer
from tests.support.processes import Fleet


@contextmanager
def server_with(store: Path, megabytes: int, port: int = 0) -> Iterator[EmbeddedServer]:
    """Run a server whose JetStream may use so much disk."""
    limit = f'jetstream {{ store_dir: "{store}", max_file: {megabytes}MB }}'
    with EmbeddedServer(store_dir=store, config=limit, port=port) as server:
        yield server


async def test_a_full_store_is_a_typed_error_and_everything_accepted_runs_once_there_is_room(
    own_settings: Settings, own_server: EmbeddedServer, history: History, tmp_path: Path
) -> None:
    own_server.kill()
    store = tmp_path / "store"
    with server_with(store, 8, own_server.port):
        async with Queue("default", settings=own_settings) as queue, Observer(own_settings) as observer:
            load = Load(queue, history, observer)
            with pytest.raises(QueueFullError):
                await fill(queue, load)
    with server_with(store, 64, own_server.port), Fleet(own_settings, history, tmp_path) as fleet:
        async with Queue("default", settings=own_settings) as queue, Observer(own_settings) as observer:
            load.observer = observer
            fleet.start()
            await load.finish(20)
    assert len(load.accepted) > 50
    report = verify(history.events())
    assert report.extra_runs == 0, report


async def fill(queue: Queue, load: Load) -> None:
    """Enqueue large jobs until the server takes no more."""
    for number in range(1000):
        job_id = f"large-{number:04d}"
        load.history.record("enq_invoke", job=job_id)
        await queue.options(job_id=job_id).enqueue(jobs.work_on, b"x" * 50_000)
        load.history.record("enq_ok", job=job_id)
        load.accepted.append(job_id)


async def overfill(queue: Queue) -> None:
    """Enqueue large jobs until the server takes no more."""
    for _ in range(1000):
        await queue.enqueue(jobs.work_on, b"x" * 50_000)


async def test_what_makes_room_works_in_a_full_store_and_is_noted_after_it(namespace: str, tmp_path: Path) -> None:
    with server_with(tmp_path / "store", 8) as server:
        settings = Settings(nats_url=server.url, namespace=namespace, publish_budget=timedelta(seconds=2))
        async with Queue("default", settings=settings) as queue:
            with pytest.raises(QueueFullError, match=r"is full: nothing was stored.*naq queue purge"):
                await overfill(queue)
            connection, me = await queue.connection(), Actor("ada", "test")
            with pytest.raises(QueueFullError):
                async with recorded(connection, me, "pause-queue", "default"):
                    pytest.fail("it was not noted, so it must not be done")
            async with recorded(connection, me, "purge-queue", "default"):
                assert await purge_queue(connection, "default") > 50
            await queue.enqueue(jobs.work_on, b"x" * 50_000)
            (entry,) = (await read_trail(connection)).entries
            assert (entry.action, entry.by, entry.outcome) == ("purge-queue", "ada", "done")


LIMIT = 2
"""Megabytes that fill up soon."""


@asynccontextmanager
async def nearly_full(store: Path, namespace: str) -> AsyncIterator[Queue]:
    """Open a queue on a server whose store can be filled soon."""
    with server_with(store, LIMIT) as server:
        settings = Settings(nats_url=server.url, namespace=namespace, publish_budget=timedelta(seconds=5))
        async with Queue("default", settings=settings) as queue:
            yield queue


async def fill_to_the_brim(queue: Queue) -> None:
    """Enqueue jobs until there is no room for the smallest one; the server takes one message beyond its limit."""
    connection = await queue.connection()
    while (await connection.api("INFO"))["storage"] < LIMIT * 2**20 - 20_000:
        await queue.enqueue(jobs.work_on, b"x" * 10_000)
    with contextlib.suppress(QueueFullError):
        while True:
            await queue.enqueue(jobs.work_on, b"")


async def ending(job: Job[Any]) -> str:
    """Wait for a job's cancellation and return its reason."""
    with pytest.raises(JobCancelledError) as raised:
        await job.result(30)
    return str(raised.value)


@pytest.mark.parametrize("others", [True, False])
async def test_a_purge_makes_the_room_to_end_those_that_wait_for_the_purged(
    *, others: bool, namespace: str, tmp_path: Path
) -> None:
    """It failed, as it cancelled the jobs that others wait for before it deleted anything."""
    async with nearly_full(tmp_path / "store", namespace) as queue, Queue("later", settings=queue.settings) as other:

        async def later(parent: Job[Any], **options: Any) -> Job[Any]:
            return await other.options(depends_on=parent, **options).enqueue(jobs.work)

        parents = [await queue.enqueue(jobs.work_on, b"") for _ in range(20)]
        children = [await later(parent) for parent in parents]
        grandchild = await later(children[0])
        lenient = await later(parents[1], allow_failure=True)
        await fill_to_the_brim(queue if others else other)
        connection = await queue.connection()
        assert await purge_queue(connection, "default") >= 20
        for parent, child in zip(parents, children, strict=True):
            assert f"parent {parent.job_id} was cancelled (its queue was purged)" in await ending(child)
        assert f"parent {children[0].job_id} was cancelled" in await ending(grandchild)
        assert await lenient.status() == JobState.QUEUED
        if others:
            assert "its queue was purged" in await ending(parents[0])


async def test_a_purge_that_was_interrupted_is_completed_by_the_next(load: Load) -> None:
    """The messages of the parents are gone, and nobody has told their children."""
    queue = load.queue
    parent = await queue.enqueue(jobs.work)
    connection = await queue.connection()
    names = connection.names
    async with Queue("later", settings=queue.settings) as other:
        child = await other.options(depends_on=parent).enqueue(jobs.work)
        await connection.api(f"STREAM.PURGE.{names.jobs_stream}", {"filter": names.any_state("default", "*")})
        assert await purge_queue(connection, "other") == 0
        assert await child.status() == JobState.HELD
        assert await purge_queue(connection, "default") == 0
        assert "its queue was purged" in await ending(child)


async def test_waiting_jobs_can_be_deleted_in_a_full_store(namespace: str, tmp_path: Path) -> None:
    async with nearly_full(tmp_path / "store", namespace) as queue, Queue("later", settings=queue.settings) as other:
        first = await queue.enqueue(jobs.work_on, b"")
        parent = await queue.enqueue(jobs.work_on, b"x" * 5_000)
        child = await other.options(depends_on=parent).enqueue(jobs.work)
        await fill_to_the_brim(queue)
        connection = await queue.connection()
        await delete_job(connection, first.job_id)
        with pytest.raises((JobNotFoundError, JobCancelledError)):
            await first.result(30)
        await delete_job(connection, parent.job_id)
        assert "(deleted)" in await ending(child)


async def test_schedules_queues_and_unreadable_documents_can_be_deleted_in_a_full_store(namespace: str, tmp_path: Path) -> None:
    async with nearly_full(tmp_path / "store", namespace) as queue:
        await queue.schedule(jobs.work, schedule_id="nightly", cron="0 3 * * *")
        connection = await queue.connection()
        await connection.publish(connection.names.result("default", "odd"), b"{", {})
        await set_queue_limit(connection, "defautl", 3)
        await fill_to_the_brim(queue)
        await delete_schedule(connection, "nightly")
        assert await list_schedules(connection) == []
        await delete_queue(connection, "defautl")
        assert {each.queue for each in await list_queues(connection)} == {"default"}
        assert await remove_unreadable(connection, await find_unreadable(connection)) == 1
