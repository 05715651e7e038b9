"""F1 and F2: worker processes are killed and frozen under load."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import NamedTuple

from naq_core import JobRecord, JobState, Settings
from tests.support import jobs
from tests.support.checker import Limits, verify
from tests.support.eventually import PATIENCE, eventually
from tests.support.forms import short_and_long
from tests.support.history import Event, History
from tests.support.load import Load
from tests.support.observer import Observer
from tests.support.processes import Fleet, WorkerProcess


class Kills(NamedTuple):
    """How many workers, and how many of them die at which pace."""

    workers: int
    kills: int
    pause: float


def busy_workers(history: History, fleet: Fleet) -> list[WorkerProcess]:
    """Return the living workers that have started something and not ended it."""
    running = history.running()
    busy = [worker for worker in fleet.alive() if running[worker.pid] > 0]
    assert busy, f"no worker is busy\n{fleet.outputs()}"
    return busy


@short_and_long(Kills(3, 4, 0.4), Kills(8, 60, 1.0))
async def test_killed_workers_lose_nothing_and_repeat_only_what_was_in_flight(
    form: Kills, fleet: Fleet, load: Load, history: History, settings: Settings
) -> None:
    rng = random.Random(1)
    for _ in range(form.workers):
        fleet.start()
    await load.enqueue(jobs.work)
    await load.finish(15)  # the base line
    make = lambda: (jobs.work, rng.uniform(0.005, 0.2))  # noqa: E731
    async with load.steady(make, pause=0.02, clients=2):
        for _ in range(form.kills):
            victims = await eventually(lambda: busy_workers(history, fleet), 15)
            rng.choice(victims).kill(history)
            fleet.start()
            await asyncio.sleep(form.pause)
    await load.finish(30)
    lease = settings.ack_wait.total_seconds()
    limits = Limits(lease=lease, drain=lease + settings.worker_ttl.total_seconds() + 10)
    report = verify(history.events(), limits)
    assert report.extra_runs <= form.kills * settings.concurrency
    assert max(report.recovery, default=0) <= lease + PATIENCE * 2.5, report


async def first_start(history: History, job_id: str, index: int = 0) -> Event:
    """Wait for the start of a job's run number `index`."""

    def started() -> Event:
        starts = history.events("start", job_id)
        assert len(starts) > index, f"{len(starts)} starts of {job_id}"
        return starts[index]

    return await eventually(started, 15)


@short_and_long(1, 15)
async def test_a_frozen_worker_that_comes_back_cannot_write_its_old_result(
    form: int, fleet: Fleet, load: Load, history: History, observer: Observer, tmp_path: Path
) -> None:
    fleet.start()
    fleet.start()
    for _ in range(form):
        await freeze_one(fleet, load, history, observer, tmp_path / "sink.db")
    await load.finish(20)
    verify(history.events(), Limits(lease=4))


async def freeze_one(fleet: Fleet, load: Load, history: History, observer: Observer, sink: Path) -> None:
    """Freeze the worker of a job until another has ended the job, then let it come back."""
    job_id = await load.enqueue(jobs.work_with_effect, 1.0, str(sink))
    frozen = fleet.by_pid((await first_start(history, job_id)).fields["worker"])
    await eventually(lambda: claimed(observer, job_id))  # before its late claim, the next attempt would be the first
    frozen.freeze()
    second = await first_start(history, job_id, 1)
    assert second.fields["worker"] != frozen.pid
    ended = await eventually(lambda: succeeded(observer, job_id), 15)
    frozen.thaw(history)
    await eventually(lambda: ran_since(load, history, frozen.pid), 20, interval=0.2)
    assert await observer.record("default", job_id) == ended
    assert ended.attempt == 2
    assert len(history.events("start", job_id)) == 2


async def claimed(observer: Observer, job_id: str) -> None:
    record = await observer.record("default", job_id)
    assert record is not None
    assert record.state is JobState.RUNNING, record


async def succeeded(observer: Observer, job_id: str) -> JobRecord:
    """Return the job's record once the job has succeeded."""
    record = await observer.record("default", job_id)
    assert record is not None
    assert record.state is JobState.SUCCEEDED, record
    return record


async def ran_since(load: Load, history: History, pid: int) -> None:
    """Enqueue quick jobs until the worker `pid` has run one after its latest fault."""
    thawed = history.events("fault")[-1].at
    for _ in range(4):
        await load.enqueue(jobs.work)
    later = [event for event in history.events("end") if event.at > thawed + 0.2]
    assert any(event.fields["worker"] == pid for event in later), f"{pid} takes no jobs"
