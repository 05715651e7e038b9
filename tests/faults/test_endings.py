"""How workers end: with the program that runs them, on an error of their own, and although jobs do not let them."""

from __future__ import annotations

import asyncio
import dataclasses
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from naq_client import Queue
from naq_core import AttemptTimeoutError, BrokerUnavailableError, Job, JobState, Settings
from naq_core.record import JobRecord
from naq_core.storage.connection import Connection
from naq_worker import Worker, _running
from naq_worker._commands import Commands
from naq_worker._fetch import Fetch
from naq_worker._finisher import Finisher
from naq_worker._keepalive import KeepAlive
from naq_worker._metrics import Metrics
from tests.conftest import RunWorker
from tests.support import jobs
from tests.support.eventually import eventually
from tests.support.history import History
from tests.support.load import Load
from tests.support.processes import Fleet, WorkerProcess, environment

GRACE = 1.0
FORCE = 30.0
"""Seconds within which a process has to be gone; generous, for busy machines, and far less than the jobs take."""
LONG = 300.0

PROGRAM = """
import asyncio, os, signal, sys
from naq_worker import Worker

async def fail():
    raise ValueError("of another task")

async def main():
    how = sys.argv[1]
    running = Worker(["default"]).run()
    if how == "beside":
        async with asyncio.TaskGroup() as group:
            group.create_task(running)
            await asyncio.to_thread(sys.stdin.readline)
            group.create_task(fail())
    task = asyncio.create_task(running)
    await asyncio.to_thread(sys.stdin.readline)
    match how:
        case "cancelled":
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()
        case "timed out":
            await asyncio.wait_for(task, 0.01)
        case "raised":
            raise RuntimeError("the program fails")
        case "exited":
            raise SystemExit(7)
        case "interrupted":
            raise KeyboardInterrupt

asyncio.run(main())
"""


@pytest.fixture
def settings(settings: Settings) -> Settings:
    """Give leases so long that nothing that waits for one to pass could succeed, and a short grace."""
    return dataclasses.replace(settings, ack_wait=timedelta(seconds=60), shutdown_grace=timedelta(seconds=GRACE))


async def started(history: History, *job_ids: str, times: int = 1) -> None:
    def check() -> None:
        assert [len(history.events("start", job_id)) for job_id in job_ids] == [times] * len(job_ids)

    await eventually(check, FORCE)


async def handed_back(load: Load, *job_ids: str) -> None:
    """Assert that jobs lie in their queue again, as if they had not begun."""
    records = await load.observer.records("default", job_ids)
    found = {job_id: (record.state, record.crashes, record.errors) for job_id, record in records.items()}
    assert found == dict.fromkeys(job_ids, (JobState.QUEUED, 0, [])), found


def start_program(how: str, variables: dict[str, str], log: Path) -> WorkerProcess:
    """Start a program that ends over its worker in some way once its standard input is closed."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, how], env=variables, stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT
        )
    return WorkerProcess(process, log)


@pytest.mark.parametrize("how", ["returned", "cancelled", "timed out", "raised", "exited", "interrupted", "beside"])
async def test_a_program_that_ends_over_a_worker_hands_its_jobs_back(
    how: str, load: Load, history: History, settings: Settings, tmp_path: Path
) -> None:
    running = [await load.enqueue(jobs.work, LONG), await load.enqueue(jobs.block_a_thread, LONG)]
    running += [await load.enqueue(jobs.wait_for_a_task_of_its_own, LONG)]
    program = start_program(how, environment(settings, history), tmp_path / "program.log")
    process = program.process
    try:
        await started(history, *running)
        assert process.stdin is not None
        process.stdin.close()
        await program.ended(FORCE)
    finally:
        process.kill()
        process.wait()
    await handed_back(load, *running)


NAMES = ["KeyboardInterrupt", "SystemExit", "GeneratorExit", "CancelledError", "Unusual"]


@pytest.mark.parametrize(
    "function",
    [jobs.raise_in_a_thread, jobs.raise_on_the_loop, jobs.raise_in_a_future, jobs.raise_in_a_task, jobs.raise_in_a_callback],
)
async def test_whatever_a_job_raises_is_its_failure_and_nobody_elses(
    function: Callable[..., Any], fleet: Fleet, load: Load, history: History
) -> None:
    worker = fleet.start()
    neighbours = [await load.enqueue(jobs.work, 1.0) for _ in range(3)]
    await started(history, *neighbours)
    raising = {name: await load.enqueue(function, name, timeout=3) for name in NAMES}
    records = await load.finish(FORCE)
    for name, job_id in raising.items():
        last = records[job_id].errors[-1]
        assert records[job_id].state is JobState.DEAD
        assert name in last.type or name in last.message or last.type.endswith("AttemptTimeoutError"), last
    assert [(records[each].state, records[each].attempt) for each in neighbours] == [(JobState.SUCCEEDED, 1)] * 3
    assert worker.is_alive, worker.output()
    worker.terminate()
    assert await worker.ended(FORCE) == 0, worker.output()


@pytest.mark.parametrize("name", ["KeyboardInterrupt", "SystemExit", "GeneratorExit", "Unusual"])
async def test_whatever_a_job_raises_in_a_process_of_its_own_is_its_failure(
    name: str, queue: Queue, run_worker: RunWorker
) -> None:
    async with run_worker():
        job = await queue.options(process=True).enqueue(jobs.raise_in_a_thread, name)
        record = await ended(job)
    assert record.state is JobState.DEAD
    assert name in record.errors[-1].type, record.errors


async def ended(job: Job[Any]) -> JobRecord:
    """Wait for the end of a job and return its record."""

    async def check() -> JobRecord:
        record = await job.record()
        assert record is not None
        assert record.state.is_final, record
        return record

    return await eventually(check, FORCE)


class BoomError(Exception):
    """An error that no part of the worker expects."""


@pytest.mark.parametrize(
    ("part", "method"),
    [
        (Finisher, "flush"),
        (Commands, "run"),
        (Metrics, "run"),
        (KeepAlive, "_watch_main_loop"),
        (KeepAlive, "_renew"),
        (Fetch, "ask"),
        (Fetch, "return_overdue"),
        (Connection, "_watch"),
    ],
)
async def test_a_service_that_fails_ends_the_worker_loudly_after_handing_back(
    part: type, method: str, load: Load, settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    settings = dataclasses.replace(settings, ack_wait=timedelta(seconds=3))
    is_broken = asyncio.Event()
    original = getattr(part, method)

    async def fails_from_now_on(*arguments: Any, **options: Any) -> Any:
        if is_broken.is_set():
            raise BoomError
        if method not in {"run", "_watch", "_watch_main_loop"}:
            return await original(*arguments, **options)
        while not is_broken.is_set():  # noqa: ASYNC110 - some of them run in another thread
            await asyncio.sleep(0.01)
        raise BoomError

    monkeypatch.setattr(part, method, fails_from_now_on)
    worker = Worker("default", settings=settings)
    running = asyncio.create_task(worker.run())
    job_id = await load.enqueue(jobs.work, LONG)
    await started(load.history, job_id)
    is_broken.set()
    await load.enqueue(jobs.work)  # something to order, to run and to finish
    with pytest.raises((BoomError, BrokerUnavailableError)) as raised:
        await asyncio.wait_for(running, FORCE)
    assert "BoomError" in repr(raised.value), raised.value
    assert "BoomError" in caplog.text
    await handed_back(load, job_id)


@pytest.mark.usefixtures("history")
async def test_a_job_that_swallows_its_cancellation_is_cancelled_again_and_loses_its_slot(
    queue: Queue, run_worker: RunWorker, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(_running, "PAUSE", 0.1)
    async with run_worker(concurrency=1) as worker:
        stubborn = await queue.options(timeout=0.1).enqueue(jobs.refuse_to_be_cancelled, 5.0)
        after = await queue.enqueue(jobs.work)
        assert await after.result(FORCE)
        assert "refuse_to_be_cancelled" in caplog.text
        assert "cancelling it again" in caplog.text
        record = await ended(stubborn)
        assert record.state is JobState.DEAD
        assert record.errors[-1].type.endswith(AttemptTimeoutError.__name__)
        await eventually(lambda: says(caplog, "has ended; its result is dropped"), FORCE)
        assert worker.counters.succeeded == 1


def says(caplog: pytest.LogCaptureFixture, text: str) -> None:
    assert text in caplog.text


async def test_what_a_job_returns_after_it_was_stopped_is_refused(queue: Queue, run_worker: RunWorker) -> None:
    async with run_worker():
        job = await queue.options(timeout=0.1).enqueue(jobs.return_after_cancellation)
        record = await ended(job)
    assert (record.state, record.result) == (JobState.DEAD, b"")
    assert record.errors[-1].type.endswith(AttemptTimeoutError.__name__)


@pytest.mark.parametrize("command", [["naq_worker", "default"], ["naq_cli", "worker", "default"]])
@pytest.mark.parametrize(
    "stubborn",
    [
        jobs.refuse_to_be_cancelled,
        jobs.block_a_thread,
        jobs.wait_for_the_default_executor,
        jobs.leave_a_thread_behind,
        jobs.ignore_signals,
    ],
)
async def test_a_worker_leaves_in_time_and_hands_back_whatever_a_job_does(
    stubborn: Callable[..., Any], command: list[str], fleet: Fleet, load: Load, history: History
) -> None:
    worker = fleet._spawn(*command)
    job_id = await load.enqueue(stubborn, LONG)
    await started(history, job_id)
    if stubborn is jobs.ignore_signals:
        await eventually(lambda: _takes_back(worker), FORCE)
    worker.terminate()
    assert await worker.ended(FORCE) == 0, worker.output()
    await handed_back(load, job_id)


def _takes_back(worker: WorkerProcess) -> None:
    assert "restores it" in worker.output()


async def test_a_worker_runs_once(settings: Settings) -> None:
    worker = Worker("default", settings=settings, burst=True)
    await worker.run()
    with pytest.raises(RuntimeError, match="has already run"):
        await worker.run()
