"""F9 and F11: jobs that take their process down, and jobs that block it."""

from __future__ import annotations

import dataclasses
import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

from naq_core import JobState, Settings
from naq_core.record import JobRecord
from tests.support import jobs
from tests.support.checker import verify
from tests.support.eventually import eventually
from tests.support.forms import short_and_long
from tests.support.history import Event, History
from tests.support.load import Load
from tests.support.observer import Observer
from tests.support.processes import Fleet


@short_and_long(12, 400)
@pytest.mark.parametrize("poison", [jobs.exit_at_once, jobs.segfault, jobs.be_killed])
async def test_a_job_that_crashes_its_process_ends_dead_and_harms_no_other(
    poison: Callable[[], None], form: int, fleet: Fleet, load: Load, history: History, settings: Settings
) -> None:
    worker = fleet.start(settings=dataclasses.replace(settings, processes=2))
    bad = await load.enqueue(poison, process=True)
    for _ in range(form):
        await load.enqueue(jobs.work_in_a_process, 0.05, process=True)
    records = await load.finish(45)
    dead = records.pop(bad)
    assert dead.state is JobState.DEAD, dead
    assert dead.crashes == settings.max_crashes
    assert len(history.events("start", bad)) == settings.max_crashes
    assert {record.state for record in records.values()} == {JobState.SUCCEEDED}
    assert worker.is_alive, worker.output()
    report = verify(event for event in history.events() if event.fields.get("job") != bad)
    assert report.extra_runs == 0, report


@pytest.mark.parametrize("forks", [jobs.fork_and_return, jobs.fork_and_return_in_the_loop])
@pytest.mark.parametrize("process", [False, True])
async def test_a_copy_that_a_job_forks_ends_where_the_job_does(
    forks: Callable[[], Any], process: bool, fleet: Fleet, load: Load
) -> None:
    worker = fleet.start()
    forked = await load.enqueue(forks, process=process)
    after = [await load.enqueue(jobs.work_in_a_process, process=process) for _ in range(4)]
    records = await load.finish(20)
    assert records[forked].result_text == "1", "the exit code of the copy"
    assert {records[each].state for each in (forked, *after)} == {JobState.SUCCEEDED}
    assert "returned from the job's function" in worker.output()


async def test_a_child_that_died_while_idle_costs_no_job_a_crash(
    fleet: Fleet, load: Load, history: History, settings: Settings
) -> None:
    fleet.start(settings=dataclasses.replace(settings, processes=1))
    first = await load.enqueue(jobs.work_in_a_process, process=True)
    child = (await eventually(lambda: ended(history, first), 15)).fields["worker"]
    os.kill(child, signal.SIGKILL)
    second = await load.enqueue(jobs.work_in_a_process, process=True)
    records = await load.finish(20)
    assert (records[second].state, records[second].crashes) == (JobState.SUCCEEDED, 0)


async def test_a_stop_signal_to_the_whole_group_lets_process_jobs_finish(fleet: Fleet, load: Load, history: History) -> None:
    worker = fleet.start()
    job_id = await load.enqueue(jobs.work_in_a_process, 1.5, process=True)
    await eventually(lambda: _has_started(history, job_id), 15)
    worker.terminate_group()
    assert await worker.ended(10) == 0, worker.output()
    fleet.start()
    record = (await load.finish(20))[job_id]
    assert (record.state, record.crashes) == (JobState.SUCCEEDED, 0)
    assert len(history.events("start", job_id)) == 1


def ended(history: History, job_id: str) -> Event:
    """Return the end of a job's first run."""
    ends = history.events("end", job_id)
    assert ends, f"{job_id} has not ended"
    return ends[0]


@pytest.mark.parametrize("process", [False, True])
async def test_a_module_that_fails_to_import_fails_the_job_and_not_the_worker(
    process: bool, fleet: Fleet, load: Load, observer: Observer
) -> None:
    worker = fleet.start()
    broken = await load.queue.options(process=process).enqueue("tests.support.broken_import:f")

    async def is_dead() -> None:
        record = await observer.record("default", broken.job_id)
        assert record is not None, worker.output()
        assert record.state is JobState.DEAD, worker.output()
        assert "A_VARIABLE_NOBODY_SET" in record.errors[-1].message + record.errors[-1].traceback

    await eventually(is_dead, 10)
    assert worker.is_alive, worker.output()


async def test_a_job_that_crashes_whole_workers_ends_dead_and_the_queue_goes_on(
    fleet: Fleet, load: Load, history: History, settings: Settings, observer: Observer
) -> None:
    alone = dataclasses.replace(settings, concurrency=1)
    bad = await load.enqueue(jobs.exit_the_worker)
    good = [await load.enqueue(jobs.work) for _ in range(3)]

    async def all_ended() -> dict[str, JobRecord]:
        if not fleet.alive():
            fleet.start(settings=alone)
        records = await observer.records("default", [bad, *good])
        left = {job for job in [bad, *good] if job not in records or not records[job].state.is_final}
        assert not left, (left, records, fleet.outputs())
        return records

    records = await eventually(all_ended, 40, interval=0.1)
    assert records.pop(bad).state is JobState.DEAD
    assert len(history.events("start", bad)) == settings.max_crashes
    assert {record.state for record in records.values()} == {JobState.SUCCEEDED}


@short_and_long(5.0, 60.0)
@pytest.mark.parametrize("block", [jobs.block_the_loop, jobs.spin_the_loop])
async def test_a_job_that_blocks_the_event_loop_keeps_its_lease(
    block: Callable[..., Any], form: float, fleet: Fleet, load: Load, history: History
) -> None:
    fleet.start()
    fleet.start()
    blocking = await load.enqueue(block, form)
    await eventually(lambda: _has_started(history, blocking), 15)
    for _ in range(10):
        await load.enqueue(jobs.work)
    await load.finish(form + 20)
    assert len(history.events("start", blocking)) == 1
    verify(history.events())


def _has_started(history: History, job_id: str) -> None:
    assert history.events("start", job_id)
