"""F7, F22 and F26: a full disk, many jobs in a long back-off, and an operator who deletes things."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest

from naq_client import Queue
from naq_core import JobState, QueueFullError, Settings
from naq_core.audit import Actor, read_trail, recorded
from naq_core.manage import purge_queue
from naq_core.server import EmbeddedServer
from tests.support import jobs
from tests.support.checker import verify
from tests.support.eventually import eventually
from tests.support.forms import short_and_long
from tests.support.history import History
from tests.support.load import Load
from tests.support.observer import Observer
from tests.support.processes import Fleet

MEGABYTE = 1024 * 1024


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


@short_and_long(300, 5000)
async def test_jobs_in_a_long_back_off_do_not_block_fresh_ones(form: int, fleet: Fleet, load: Load, observer: Observer) -> None:
    fleet.start()
    failing = load.queue.options(max_retries=3, retry_delay=600)
    await asyncio.gather(*(failing.enqueue(jobs.fail_with, b"") for _ in range(form)))

    async def all_wait() -> None:
        live = await observer.live("default")
        assert (live["held"], live["normal"]) == (form, 0), live

    await eventually(all_wait, 10 + form / 100, interval=0.1)
    assert await observer.ack_pending("default") == 0
    took = []
    for _ in range(max(5, form // 50)):
        since = time.monotonic()
        job = await load.queue.enqueue(jobs.measure, b"fresh")
        assert await job.result(timeout=30) == 5
        took.append(time.monotonic() - since)
    took.sort()
    print(f"waiting={form} fresh={len(took)} median={took[len(took) // 2]:.3f}s p99={took[int(len(took) * 0.99)]:.3f}s")


@pytest.mark.parametrize("what", ["consumer", "stream", "purge", "results", "purge-results", "workers", "queues"])
async def test_work_goes_on_after_an_operator_deleted_something(what: str, fleet: Fleet, load: Load, observer: Observer) -> None:
    names = observer.names
    worker = fleet.start()
    job = await load.queue.enqueue(jobs.measure, b"before")
    assert await job.result(timeout=15) == 6
    requests = {
        "consumer": f"CONSUMER.DELETE.{names.jobs_stream}.{names.consumer('default')}",
        "stream": f"STREAM.DELETE.{names.jobs_stream}",
        "results": f"STREAM.DELETE.{names.results_stream}",
        "purge-results": f"STREAM.PURGE.{names.results_stream}",
        "workers": f"STREAM.DELETE.{names.workers_stream}",
        "queues": f"STREAM.DELETE.{names.queues_stream}",
        "purge": f"STREAM.PURGE.{names.jobs_stream}",
    }
    # What runs meanwhile must end too: its record is gone, its message is not, unless that was deleted.
    under_way = await load.queue.enqueue(jobs.work, 1.0)
    await eventually_running(observer, under_way.job_id)
    await observer.client.request(f"$JS.API.{requests[what]}", b"", 5)
    if what not in {"stream", "purge"}:
        await under_way.result(timeout=30)
    again = await load.queue.enqueue(jobs.measure, b"after")
    assert await again.result(timeout=30) == 5, worker.output()
    assert worker.is_alive, worker.output()


async def eventually_running(observer: Observer, job_id: str) -> None:
    async def runs() -> None:
        record = await observer.record("default", job_id)
        assert record is not None
        assert record.state is JobState.RUNNING

    await eventually(runs, 30)


async def test_the_state_of_a_job_in_back_off_is_retrying(fleet: Fleet, load: Load, observer: Observer) -> None:
    fleet.start()
    job = await load.queue.options(max_retries=1, retry_delay=600).enqueue(jobs.fail_with, b"")

    async def is_retrying() -> None:
        record = await observer.record("default", job.job_id)
        assert record is not None
        assert record.state is JobState.RETRYING, record

    await eventually(is_retrying, 15)
