"""Jobs in child processes: what they start, what they share, and how they wait for a free one."""

import asyncio
import contextlib
import dataclasses
import functools
import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from naq_client import Queue, gather
from naq_core import JobCancelledError, JobExpiredError, JobFailedError, JobState, Settings, inspect
from naq_core.testing import WorkerRunner
from tests.conftest import RunWorker
from tests.support import child_jobs
from tests.support.eventually import eventually
from tests.support.history import History
from tests.support.processes import Fleet

SLOW = 60.0
"""Seconds for a result, on a busy machine."""


@pytest.fixture
def naq_settings(naq_settings: Settings) -> Settings:
    """Have one child process."""
    return dataclasses.replace(naq_settings, processes=1)


def pid_in(path: Path) -> int:
    text = path.read_text() if path.exists() else ""
    assert text.endswith("\n")
    return int(text)


def is_gone(pid: int) -> None:
    """Assert that a process has ended; one that nobody has waited for yet has."""
    with contextlib.suppress(OSError):
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        assert state in "ZX"


@pytest.mark.parametrize("how", ["popen", "fork", "pool"])
async def test_what_a_job_starts_can_be_terminated(how: str, queue: Queue, naq_worker: WorkerRunner) -> None:
    """`Popen.terminate()` had no effect, and a `Pool` was never joined: they ignored SIGTERM like their parent."""
    job = await queue.options(process=True, timeout=SLOW).enqueue(child_jobs.terminate, how)
    await naq_worker.run_until_idle(timeout=2 * SLOW)
    assert await job.result(SLOW) == ([0, 1, 4] if how == "pool" else -signal.SIGTERM)


@pytest.mark.parametrize("how", ["fork", "pool"])
async def test_what_a_job_in_a_thread_forks_can_be_terminated(how: str, queue: Queue, tmp_path: Path) -> None:
    """It had the worker's handler of SIGTERM, which did nothing there: `with Pool()` never ended."""
    with Fleet(queue.settings, History(tmp_path / "history"), tmp_path) as fleet:
        worker = fleet.start()
        job = await queue.options(max_retries=0).enqueue(child_jobs.terminate, how)
        assert await job.result(SLOW) == ([0, 1, 4] if how == "pool" else -signal.SIGTERM)
        worker.terminate()
        assert await worker.ended(SLOW) == 0


async def test_the_signals_that_stop_the_worker_do_not_end_a_child(queue: Queue, run_worker: RunWorker) -> None:
    async with run_worker():
        child = await (await queue.options(process=True).enqueue(os.getpid)).result(SLOW)
        os.kill(child, signal.SIGTERM)
        os.kill(child, signal.SIGINT)
        assert await (await queue.options(process=True).enqueue(os.getpid)).result(SLOW) == child


@pytest.mark.skipif(sys.platform != "linux", reason="what has left the group is only found on Linux")
@pytest.mark.parametrize("how", ["group", "session", "orphan"])
@pytest.mark.parametrize("end", ["timed out", "cancelled", "killed"])
async def test_what_a_job_has_started_ends_with_it(
    end: str, how: str, queue: Queue, run_worker: RunWorker, tmp_path: Path
) -> None:
    path = tmp_path / "pid"
    function = child_jobs.die if end == "killed" else child_jobs.fork_and_wait
    limit: Any = {"timeout": 5.0} if end == "timed out" else {}
    async with run_worker():
        job = await queue.options(process=True, max_retries=0, **limit).enqueue(function, str(path), how)
        pid = await eventually(lambda: pid_in(path), SLOW)
        if end == "cancelled":
            await job.cancel()
        if end != "killed":
            with pytest.raises((JobFailedError, JobCancelledError)):
                await job.result(SLOW)
        await eventually(lambda: is_gone(pid), SLOW)


@pytest.mark.skipif(sys.platform != "linux", reason="what has left the group is only found on Linux")
@pytest.mark.parametrize("how", ["group", "orphan"])
async def test_what_a_job_has_started_ends_with_the_worker(how: str, queue: Queue, tmp_path: Path) -> None:
    path = tmp_path / "pid"
    with Fleet(queue.settings, History(tmp_path / "history"), tmp_path) as fleet:
        worker = fleet.start()
        await queue.options(process=True).enqueue(child_jobs.fork_and_wait, str(path), how)
        pid = await eventually(lambda: pid_in(path), SLOW)
        worker.kill()
        await eventually(lambda: is_gone(pid), SLOW)


async def test_async_jobs_of_a_child_share_one_event_loop(queue: Queue, run_worker: RunWorker) -> None:
    """A client in a module failed in the second job: "is bound to a different event loop"."""
    async with run_worker():
        loops = [await (await queue.options(process=True).enqueue(child_jobs.use_the_client)).result(SLOW) for _ in range(3)]
        loops += [await (await queue.options(process=True).enqueue(child_jobs.return_a_coroutine)).result(SLOW)]
        assert len(set(loops)) == 1
        first = await (await queue.options(process=True).enqueue(child_jobs.count_beats)).result(SLOW)

        async def has_gone_on() -> None:
            assert await (await queue.options(process=True).enqueue(child_jobs.count_beats)).result(SLOW) > first

        await eventually(has_gone_on)  # while the child has no job


async def test_an_event_loop_that_a_job_stops_is_replaced(queue: Queue, naq_worker: WorkerRunner) -> None:
    before, stopped, after = [
        await queue.options(process=True, max_retries=0).enqueue(function)
        for function in (child_jobs.nothing, child_jobs.stop_the_loop, child_jobs.nothing)
    ]
    await naq_worker.run_until_idle()
    with pytest.raises(JobFailedError, match="Event loop stopped"):
        await stopped.result(SLOW)
    assert await gather(before, after, timeout=SLOW) == ["done", "done"]


@pytest.mark.parametrize("hook", [child_jobs.move_in, child_jobs.move_in_later, functools.partial(child_jobs.move_in)])
async def test_children_call_the_hooks(hook: Callable[[], Any], queue: Queue, naq_worker: WorkerRunner) -> None:
    job = await queue.options(process=True).enqueue(child_jobs.where)
    await naq_worker.run_until_idle(hooks=[hook])
    assert await job.result(SLOW) == "moved in"


async def test_a_hook_that_fails_in_a_child_fails_the_job_and_says_so(queue: Queue, naq_worker: WorkerRunner) -> None:
    job = await queue.options(process=True, max_retries=0).enqueue(child_jobs.where)
    await naq_worker.run_until_idle(hooks=[child_jobs.break_down_in_a_child])
    with pytest.raises(JobFailedError, match=r"(?s)a hook failed at the start: .*no room for a child"):
        await job.result(SLOW)


async def test_a_hook_that_cannot_be_pickled_is_named(
    queue: Queue, naq_worker: WorkerRunner, caplog: pytest.LogCaptureFixture
) -> None:
    lock = asyncio.Lock()
    generator = (number for number in range(3))
    job = await queue.options(process=True).enqueue(child_jobs.where)
    await naq_worker.run_until_idle(hooks=[lambda: next(generator) and lock])
    assert await job.result(SLOW) == "not moved in"
    assert "not called in child processes; make it a module-level function" in caplog.text


async def test_an_idle_child_runs_its_exit_functions_when_the_worker_stops(
    queue: Queue, naq_worker: WorkerRunner, tmp_path: Path
) -> None:
    """Exporters of telemetry send the last of what they have there."""
    job = await queue.options(process=True).enqueue(child_jobs.note_its_exit, str(tmp_path / "note"))
    await naq_worker.run_until_idle(timeout=2 * SLOW)
    await job.result(SLOW)
    assert (tmp_path / "note").read_text() == "left"


async def test_children_log_through_the_worker(queue: Queue, naq_worker: WorkerRunner, caplog: pytest.LogCaptureFixture) -> None:
    job = await queue.options(process=True).enqueue(child_jobs.speak, "hello")
    with caplog.at_level(logging.INFO):
        await naq_worker.run_until_idle()
    records = [record for record in caplog.records if record.name == "shop"]
    assert [(record.levelname, record.getMessage(), vars(record)["order"]) for record in records] == [("ERROR", "said hello", 7)]
    assert "ValueError: invalid literal" in caplog.text
    assert [line.level for line in (await inspect.get_job(await queue.connection(), job.job_id)).logs] == ["ERROR"]


async def test_what_an_earlier_job_has_left_running_reports_nothing_of_a_later_one(
    queue: Queue, run_worker: RunWorker, tmp_path: Path
) -> None:
    async with run_worker():
        child = await (await queue.options(process=True).enqueue(child_jobs.leave_a_reporter)).result(SLOW)
        later = await queue.options(process=True).enqueue(child_jobs.speak, "alone")
        await later.result(SLOW)
        assert await (await queue.options(process=True).enqueue(os.getpid)).result(SLOW) == child
    found = await inspect.get_job(await queue.connection(), later.job_id)
    assert [line.message.splitlines()[0] for line in found.logs] == ["said alone"]
    assert found.progress is None


@pytest.fixture
async def occupied(queue: Queue, run_worker: RunWorker, tmp_path: Path) -> Any:
    """Run a worker of 4 slots whose only child has a job, and give what ends that."""
    begun, release = tmp_path / "begun", tmp_path / "release"
    async with run_worker("default", "other", concurrency=4):
        first = await queue.options(process=True).enqueue(child_jobs.wait_for, str(release), str(begun))

        def has_begun() -> None:
            assert begun.exists()

        await eventually(has_begun, SLOW)
        try:
            yield release.touch
        finally:
            release.touch()
            await first.result(SLOW)


async def test_a_job_that_waits_for_a_child_has_not_begun(queue: Queue, occupied: Callable[[], None], tmp_path: Path) -> None:
    """It was running, as anybody could see, took a slot, and its `expires` did not count any more."""
    expiring = await queue.options(process=True, expires=0.2).enqueue(child_jobs.where)
    cancelled = await queue.options(process=True).enqueue(child_jobs.where)
    fast = await queue.options(process=True, fast=True).enqueue(
        child_jobs.wait_for, str(tmp_path / "release"), str(tmp_path / "ran")
    )
    waiting = await queue.options(process=True, timeout=SLOW).enqueue(child_jobs.where)
    beside = await queue.enqueue(child_jobs.nothing)
    assert await beside.result(SLOW) == "done"
    assert [await job.status() for job in (expiring, cancelled, waiting)] == [JobState.QUEUED] * 3
    await cancelled.cancel()
    await fast.cancel()
    with pytest.raises(JobCancelledError):
        await cancelled.result(SLOW)
    await asyncio.sleep(0.2)  # what `expires` says
    occupied()
    assert await waiting.result(SLOW) == "not moved in"
    with pytest.raises(JobExpiredError):
        await expiring.result(SLOW)
    assert await fast.status() is JobState.CANCELLED
    assert not (tmp_path / "ran").exists()


async def test_jobs_that_wait_for_a_child_take_no_slots(queue: Queue, settings: Settings, occupied: Callable[[], None]) -> None:
    waiting = [await queue.options(process=True).enqueue(child_jobs.where) for _ in range(12)]
    async with Queue("other", settings=settings) as other:
        assert await (await other.enqueue(child_jobs.nothing)).result(SLOW) == "done"
    occupied()
    assert set(await gather(*waiting, timeout=SLOW)) == {"not moved in"}
