"""A job that takes its worker down: its neighbours end well, and it ends dead after few workers."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

import pytest

from naq_client import Queue
from naq_core import JobFailedError, JobRecord, JobState, Settings
from naq_core.manage import set_queue_limit
from tests.support import jobs
from tests.support.eventually import eventually
from tests.support.forms import short_and_long
from tests.support.history import History
from tests.support.load import Load
from tests.support.observer import Observer
from tests.support.processes import Fleet


class Crowd(NamedTuple):
    """How many poison jobs among how many healthy ones, and who runs them."""

    poison: int
    good: int
    workers: int
    slots: int
    seconds: float


@asynccontextmanager
async def kept_up(fleet: Fleet, workers: int, settings: Settings, *queues: str) -> AsyncIterator[None]:
    """Start each worker that dies again, as a service manager does."""

    async def supervise() -> None:
        while True:
            for _ in range(workers - len(fleet.alive())):
                fleet.start(*queues, settings=settings)
            await asyncio.sleep(0.1)

    supervisor = asyncio.ensure_future(supervise())
    try:
        yield
    finally:
        supervisor.cancel()


def deaths(fleet: Fleet) -> int:
    """Count the workers that have died."""
    return len(fleet.workers) - len(fleet.alive())


def most_deaths(settings: Settings) -> int:
    """Return how many workers a poison job takes down at most: a death before the job is claimed is not on record (ADR 46)."""
    return settings.max_crashes + 1


@short_and_long(Crowd(1, 8, 1, 10, 0.5), Crowd(6, 120, 3, 10, 2.0))
async def test_no_neighbour_of_a_poison_job_pays_for_it(
    form: Crowd, fleet: Fleet, load: Load, history: History, settings: Settings
) -> None:
    bad = []
    for number in range(form.good):
        if number % (form.good // form.poison) == 3:
            bad.append(await load.enqueue(jobs.exit_the_worker))
        await load.enqueue(jobs.work, form.seconds)
    async with kept_up(fleet, form.workers, dataclasses.replace(settings, concurrency=form.slots)):
        records = await load.finish(60 + 30 * form.poison + form.good * form.seconds)
    poison = [records.pop(each) for each in bad]
    assert {record.state for record in poison} == {JobState.DEAD}
    assert {record.state for record in records.values()} == {JobState.SUCCEEDED}
    assert {record.crashes - record.excused for record in records.values()} <= {0}, "no death is counted against them"
    assert deaths(fleet) <= form.poison * most_deaths(settings)
    assert len(history.events("start", bad[0])) <= most_deaths(settings)
    again = sum(len(history.events("start", each)) > 1 for each in records)
    print(f"{form.poison} poison jobs beside {form.good}: {deaths(fleet)} workers died, {again} healthy jobs ran again")


@pytest.mark.parametrize("slots", [1, 4])
async def test_poison_jobs_of_two_queues_one_of_them_limited_harm_neither(
    slots: int, fleet: Fleet, load: Load, settings: Settings, observer: Observer, history: History
) -> None:
    async with Queue("narrow", settings=settings) as queue:
        await set_queue_limit(await queue.connection(), "narrow", 2)
        narrow = Load(queue, history, observer, "narrow", "narrow")
        bad = [await load.enqueue(jobs.exit_the_worker, priority="low"), await narrow.enqueue(jobs.exit_the_worker)]
        for _ in range(4):
            await load.enqueue(jobs.work, 0.2, priority="high")
            await narrow.enqueue(jobs.work, 0.2)
        async with kept_up(fleet, 2, dataclasses.replace(settings, concurrency=slots), "default", "narrow"):
            records = await load.finish(90) | await narrow.finish(90)
    assert {records.pop(each).state for each in bad} == {JobState.DEAD}
    assert {record.state for record in records.values()} == {JobState.SUCCEEDED}
    assert deaths(fleet) <= 2 * most_deaths(settings)


async def test_a_long_suspect_holds_up_the_others_for_a_moment_only(
    fleet: Fleet, load: Load, observer: Observer, history: History
) -> None:
    """After its time alone other jobs run beside it, and a death from then on counts against nobody."""
    first = fleet.start()
    long = [await load.enqueue(jobs.work, 300.0) for _ in range(2)]
    await eventually(lambda: started(history, *long), 15)
    first.kill(history)
    second = fleet.start()
    await eventually(lambda: started(history, *long, times=3), 30)
    assert any(record.alone for record in (await observer.records("default", long)).values())
    short = await load.enqueue(jobs.work)
    await eventually(lambda: succeeded(observer, short), 40, interval=0.1)
    assert not any(record.alone for record in (await observer.records("default", long)).values())
    second.kill(history)
    fleet.start()
    await eventually(lambda: excused_twice(observer, long), 40, interval=0.1)


def started(history: History, *job_ids: str, times: int | None = None) -> None:
    """Assert that these jobs have started, so many times in all."""
    starts = [len(history.events("start", job_id)) for job_id in job_ids]
    assert all(starts) if times is None else sum(starts) >= times, starts


async def excused_twice(observer: Observer, job_ids: list[str]) -> None:
    """Assert that two deaths of workers are on record for one of these jobs, and none counted."""
    records = await observer.records("default", job_ids)
    assert max(record.crashes for record in records.values()) == 2, records
    assert {record.crashes - record.excused for record in records.values()} == {0}, records


async def test_a_suspect_is_handed_back_when_its_worker_stops(
    fleet: Fleet, load: Load, observer: Observer, history: History
) -> None:
    """It waits for a long neighbour; the stop ends that wait, and the next worker runs it. No death is counted."""
    first = fleet.start()
    job_id = await load.enqueue(jobs.work, 1.0)
    await eventually(lambda: started(history, job_id), 15)
    first.kill(history)
    second = fleet.start()
    neighbour = await load.enqueue(jobs.work, 8.0)
    await eventually(lambda: started(history, neighbour), 15)
    await eventually(lambda: suspected(observer, job_id), 30)
    second.terminate()
    await second.ended(20)
    fleet.start()
    record = await eventually(lambda: succeeded(observer, job_id), 30, interval=0.1)
    assert (record.crashes, record.excused) == (1, 1)


async def asks_no_more(observer: Observer) -> bool:
    return await observer.asking("default") == 0


async def suspected(observer: Observer, job_id: str) -> None:
    record = await observer.record("default", job_id)
    assert record is not None
    assert record.suspect, record


async def succeeded(observer: Observer, job_id: str) -> JobRecord:
    record = await observer.record("default", job_id)
    assert record is not None
    assert record.state is JobState.SUCCEEDED, record
    return record


async def test_a_burst_worker_runs_its_suspects_before_it_leaves(fleet: Fleet, load: Load, history: History) -> None:
    first = fleet.start()
    held = [await load.enqueue(jobs.work, 1.0) for _ in range(4)]
    await eventually(lambda: started(history, *held), 15)
    first.kill(history)
    await eventually(lambda: asks_no_more(load.observer))  # else the server gives it the next job, too
    await load.enqueue(jobs.work, 6.0)  # long enough for it to be given the others
    burst = fleet.start("default", "--burst")
    assert await burst.ended(60) == 0, burst.output()
    records = await load.finish(5)
    assert {record.state for record in records.values()} == {JobState.SUCCEEDED}
    assert {record.crashes - record.excused for record in records.values()} == {0}


async def test_a_module_whose_import_ends_the_worker_is_found_by_the_claim(fleet: Fleet, settings: Settings) -> None:
    """The task of a job that was enqueued by name is also loaded once before the claim, and once when the job has ended."""
    few = dataclasses.replace(settings, max_crashes=2)
    async with Queue(settings=few) as queue, kept_up(fleet, 1, few):
        job = await queue.enqueue("tests.support.deadly:pay", 7)
        with pytest.raises(JobFailedError, match="WorkerLost"):
            await job.result(90)
    assert deaths(fleet) <= few.max_crashes + 2
