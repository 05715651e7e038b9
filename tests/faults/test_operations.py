"""F22 and F26: many jobs in a long back-off, and an operator who deletes things."""

from __future__ import annotations

import asyncio
import time

import pytest

from naq_core import JobState
from tests.support import jobs
from tests.support.eventually import eventually
from tests.support.forms import short_and_long
from tests.support.load import Load
from tests.support.observer import Observer
from tests.support.processes import Fleet


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
