"""F21 and F27: workers are asked to stop, under load, idle, and while the server is away."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import random
import signal
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, NamedTuple

import pytest

from naq_core import Settings
from naq_core.server import EmbeddedServer
from naq_core.storage.connection import Connection
from naq_core.storage.topology import ensure_streams
from naq_scheduler import Scheduler
from naq_scheduler import scheduler as scheduler_module
from naq_worker import Worker
from naq_worker._signals import ECHO
from tests.support import jobs
from tests.support.checker import Limits, verify
from tests.support.eventually import eventually
from tests.support.history import History, boottime
from tests.support.load import Load
from tests.support.observer import Observer
from tests.support.processes import Fleet, WorkerProcess

GRACE = 1.0
LATE = 10.0
"""Seconds that only a busy machine takes, and that are far from the time of a lease."""
PATIENT: dict[str, Any] = {
    # So long that nothing that waits for the lease to pass could succeed in time.
    "ack_wait": timedelta(seconds=180),
    "shutdown_grace": timedelta(seconds=GRACE),
}


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Give long leases and a short grace."""
    return dataclasses.replace(settings, **PATIENT)


@pytest.fixture
def own_settings(own_settings: Settings) -> Settings:
    """Give the same on the test's own server."""
    return dataclasses.replace(own_settings, **PATIENT)


async def stop(worker: WorkerProcess, history: History | None = None) -> float:
    """Ask a worker to stop; return the moment it had ended, without an error."""
    since = boottime()
    worker.terminate()
    code = await worker.ended(GRACE + 10)  # on a busy machine too: what counts is that it ends
    if history is not None:
        history.record("fault", name="sigterm", worker=worker.pid, t0=since, t1=boottime())
    assert code == 0, worker.output()
    return boottime()


class Deploys(NamedTuple):
    """How many rolling restarts of two workers, under how many clients with how long jobs."""

    rounds: int
    clients: int = 2
    longest: float = 0.3


@pytest.mark.parametrize(
    "form",
    [
        pytest.param(Deploys(2), id="short"),
        pytest.param(Deploys(3, clients=40, longest=0.02), id="quick-jobs"),
        pytest.param(Deploys(30), id="long", marks=pytest.mark.slow),
    ],
)
async def test_a_rolling_deploy_under_load_repeats_and_delays_nothing(
    form: Deploys, fleet: Fleet, load: Load, history: History
) -> None:
    rng = random.Random(3)
    fleet.start()
    fleet.start()
    await load.enqueue(jobs.work)
    await load.finish(15)  # the base line
    async with load.steady(lambda: (jobs.work, rng.uniform(0.001, form.longest)), pause=0.01, clients=form.clients):
        for _ in range(form.rounds):
            await eventually(lambda: all_busy(history, fleet), 15)
            oldest = fleet.alive()[0]
            await stop(oldest, history)
            fleet.start()
    records = await load.finish(20)
    report = verify(history.events(), Limits(drain=15))
    assert report.extra_runs == 0, report
    assert {record.crashes for record in records.values()} == {0}


def all_busy(history: History, fleet: Fleet) -> None:
    """Assert that every living worker has started a job."""
    started = {event.fields["worker"] for event in history.events("start")}
    idle = [worker.pid for worker in fleet.alive() if worker.pid not in started]
    assert not idle, f"{idle} have not started anything\n{fleet.outputs()}"


async def test_jobs_longer_than_the_grace_are_handed_back_at_once(fleet: Fleet, load: Load, history: History) -> None:
    leaving = fleet.start()
    long_jobs = [await load.enqueue(jobs.work, 10.0) for _ in range(3)]
    await eventually(lambda: started_times(history, long_jobs, 1), 15)
    staying = fleet.start()
    await eventually(lambda: is_present(load.observer, 2), 15)
    left_at = await stop(leaving, history)
    await eventually(lambda: started_times(history, long_jobs, 2), 5)
    for job_id in long_jobs:
        first, second = history.events("start", job_id)
        assert (first.fields["worker"], second.fields["worker"]) == (leaving.pid, staying.pid)
        assert second.at - left_at < LATE, "handing back took too long"
        assert second.fields["fence"] > first.fields["fence"]
    records = await load.finish(30)
    assert {record.crashes for record in records.values()} == {0}, "a hand-back is not a crash"
    verify(history.events())


def started_times(history: History, job_ids: list[str], times: int) -> None:
    """Assert that each of the jobs has started that many times."""
    counts = [len(history.events("start", job_id)) for job_id in job_ids]
    assert counts == [times] * len(job_ids), counts


async def is_present(observer: Observer, workers: int) -> None:
    """Assert that so many workers have announced themselves."""
    assert await observer.workers() >= workers


async def test_a_second_signal_hands_running_jobs_back_at_once(
    fleet: Fleet, load: Load, history: History, settings: Settings
) -> None:
    patient = dataclasses.replace(settings, shutdown_grace=timedelta(seconds=30))
    worker = fleet.start(settings=patient)
    job_id = await load.enqueue(jobs.work, 6.0)
    await eventually(lambda: started_times(history, [job_id], 1), 15)
    worker.terminate()
    await eventually(lambda: _says(worker, "SIGTERM"), 5)
    await asyncio.sleep(2 * ECHO)  # two signals that come closer to each other than that count as one
    worker.terminate()
    assert await worker.ended(3) == 0, worker.output()
    fleet.start()
    record = (await load.finish(20))[job_id]
    assert (record.attempt, record.crashes) == (1, 0)
    started_times(history, [job_id], 2)


def _says(worker: WorkerProcess, text: str) -> None:
    assert text in worker.output()


@pytest.mark.parametrize("stubborn", [jobs.block_a_thread, jobs.refuse_to_be_cancelled])
async def test_a_job_that_cannot_be_stopped_does_not_keep_the_worker(
    stubborn: Callable[..., Any], fleet: Fleet, load: Load, history: History
) -> None:
    worker = fleet.start()
    job_id = await load.enqueue(stubborn, 100.0)
    await eventually(lambda: started_times(history, [job_id], 1), 15)
    worker.terminate()
    await worker.ended(GRACE + 8)
    if stubborn is jobs.block_a_thread:
        fleet.start()
        await eventually(lambda: started_times(history, [job_id], 2), 5)


async def test_an_idle_worker_stops_within_its_grace(fleet: Fleet, observer: Observer, settings: Settings) -> None:
    worker = fleet.start(settings=dataclasses.replace(settings, shutdown_grace=timedelta(seconds=100)))
    await eventually(lambda: is_present(observer, 1), 15)
    await stop(worker)  # far sooner than a grace that is used up


async def test_a_worker_stops_in_the_middle_of_pulling_and_what_it_held_is_run_at_once(
    fleet: Fleet, load: Load, history: History
) -> None:
    worker = fleet.start()
    for _ in range(200):
        await load.enqueue(jobs.work, 0.05)
    await eventually(lambda: all_busy(history, fleet), 15)
    await stop(worker, history)
    fleet.start()
    await load.finish(20)
    report = verify(history.events(), Limits(drain=20))
    assert report.extra_runs == 0, report


@pytest.mark.parametrize("after", [0.0, 1.5])
async def test_a_worker_stops_while_the_server_is_away(
    after: float, own_server: EmbeddedServer, own_settings: Settings, own_fleet: Fleet
) -> None:
    worker = own_fleet.start()
    async with Observer(own_settings) as observer:
        await eventually(lambda: is_present(observer, 1), 15)
    own_server.kill()
    await asyncio.sleep(after)
    await stop(worker)


@pytest.fixture
def freeze(own_server: EmbeddedServer) -> Iterator[Callable[[], None]]:
    """Give a function after which the server keeps its connections and answers nothing."""
    pid = own_server.pid
    assert pid is not None
    yield lambda: os.kill(pid, signal.SIGSTOP)
    os.kill(pid, signal.SIGCONT)


async def test_a_worker_stops_while_a_step_of_its_start_gets_no_answer(
    own_settings: Settings, freeze: Callable[[], None]
) -> None:
    worker = Worker(["default"], settings=own_settings, hooks=[freeze])
    async with asyncio.timeout(GRACE + 10), asyncio.TaskGroup() as group:  # a call to the server is given up after 30 s
        group.create_task(worker.run())
        await eventually(lambda: worker.is_serving, 15)
        worker.stop()


async def test_a_scheduler_stops_while_a_step_of_its_start_gets_no_answer(
    own_settings: Settings, freeze: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def ensure(connection: Connection) -> None:
        await ensure_streams(connection)
        freeze()
        scheduler.stop()

    monkeypatch.setattr(scheduler_module, "ensure_streams", ensure)
    scheduler = Scheduler(settings=own_settings)
    async with asyncio.timeout(GRACE + 10):
        await scheduler.run()


async def test_a_worker_with_running_jobs_stops_while_the_server_is_away(
    own_server: EmbeddedServer, own_load: Load, own_fleet: Fleet, history: History
) -> None:
    worker = own_fleet.start()
    running = [await own_load.enqueue(jobs.work, 30.0) for _ in range(3)]
    await eventually(lambda: started_times(history, running, 1), 15)
    own_server.kill()
    worker.terminate()
    assert await worker.ended(GRACE + 5) in {0, 1}, worker.output()


async def test_a_worker_that_never_found_a_server_stops_when_asked(own_server: EmbeddedServer, own_fleet: Fleet) -> None:
    own_server.kill()
    worker = own_fleet.start()
    await asyncio.sleep(1.5)
    if worker.is_alive:
        worker.terminate()
    await worker.ended(GRACE + 5)
    assert "Traceback" not in worker.output()
