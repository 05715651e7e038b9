"""A worker that runs out of file descriptors, threads or memory: no job pays for what the worker itself cannot do."""

from __future__ import annotations

import dataclasses
import resource
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from naq_core import JobState, Settings
from naq_core.record import JobRecord
from tests.support import jobs
from tests.support.eventually import eventually
from tests.support.load import Load
from tests.support.observer import Observer
from tests.support.processes import Fleet

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets one process change the limits of another")

STANDARD = 3
"""File descriptors that every process has open."""
LESS_THAN_A_STACK = 1 << 20
"""Bytes that are left for what a worker does beside starting threads."""


@contextmanager
def limited(pid: int, limit: int, value: int) -> Iterator[None]:
    """Lower a limit of a process for a while."""
    before = resource.prlimit(pid, limit)
    resource.prlimit(pid, limit, (value, before[1]))
    try:
        yield
    finally:
        with suppress(ProcessLookupError):
            resource.prlimit(pid, limit, before)


def without_files(pid: int) -> Any:
    """Let a process open no more files."""
    return limited(pid, resource.RLIMIT_NOFILE, STANDARD)


def as_if_leaked(pid: int) -> Any:
    """Let a process open no more files than it has open, as one whose jobs never close theirs."""
    taken = {int(each.name) for each in Path(f"/proc/{pid}/fd").iterdir()}
    return limited(pid, resource.RLIMIT_NOFILE, min(set(range(len(taken) + 1)) - taken))


def without_stacks(pid: int) -> Any:
    """Let a process have no memory for another thread."""
    status = Path(f"/proc/{pid}/status").read_text()
    size = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmSize:"))
    return limited(pid, resource.RLIMIT_AS, 1024 * size + LESS_THAN_A_STACK)


class Lack(NamedTuple):
    """What is missing, for which job, and what the log says."""

    of: Callable[[int], Any]
    call: tuple[Any, ...]
    options: dict[str, Any]
    said: str


LACKS = {
    "no file for a child process": Lack(
        without_files, (jobs.work_in_a_process,), {"process": True}, "no child process can start: [Errno 24] Too many open files"
    ),
    "no thread": Lack(without_stacks, (jobs.block_a_thread, 0.0), {}, "no thread can start: can't start new thread"),
    "no file for an import": Lack(without_files, ("tests.support.imported_late:answer",), {}, "the job cannot be read: "),
}


@pytest.mark.parametrize("kind", LACKS)
async def test_a_job_is_handed_back_until_the_worker_can_run_it(kind: str, fleet: Fleet, load: Load, observer: Observer) -> None:
    lack = LACKS[kind]
    worker = fleet.start()
    first = await load.enqueue(jobs.work)
    await eventually(lambda: ended(observer, first), 15)
    with lack.of(worker.pid):
        job_id = await load.enqueue(*lack.call, max_retries=0, timeout=20, **lack.options)
        await eventually(lambda: logged(worker.output, f"is returned to its queue: {lack.said}"), 15)
        other = await load.enqueue(jobs.work)
        await eventually(lambda: ended(observer, other), 15)  # which needs nothing of it
    records = await load.finish(20)
    found = records[job_id]
    assert (found.state, found.attempt, found.crashes, found.errors) == (JobState.SUCCEEDED, 1, 0, []), worker.output()
    assert worker.is_alive


async def test_a_worker_stops_at_once_while_a_job_waits_for_what_is_missing(fleet: Fleet, load: Load, observer: Observer) -> None:
    worker = fleet.start()
    first = await load.enqueue(jobs.work)
    await eventually(lambda: ended(observer, first), 15)
    with as_if_leaked(worker.pid):
        job_id = await load.enqueue(jobs.work_in_a_process, process=True)
        await eventually(lambda: logged(worker.output, "is returned to its queue", times=3), 20)
        worker.terminate()
        assert await worker.ended(8) == 0, worker.output()
    fleet.start()
    found = (await load.finish(20))[job_id]
    assert (found.attempt, found.crashes, found.errors) == (1, 0, [])


async def test_what_a_child_process_lacks_is_not_the_jobs_failure_either(fleet: Fleet, load: Load, settings: Settings) -> None:
    """A job has used up the files of its child process, so that there can be no event loop for the next one."""
    worker = fleet.start(settings=dataclasses.replace(settings, processes=1))
    await load.enqueue(jobs.limit_files, STANDARD, process=True)
    job_id = await load.enqueue(jobs.work, process=True, max_retries=0)
    await eventually(lambda: logged(worker.output, "is returned to its queue: no event loop can be made: "), 20)
    await load.enqueue(jobs.limit_files, 200, process=True, priority="high")
    found = (await load.finish(20))[job_id]
    assert (found.state, found.attempt, found.errors) == (JobState.SUCCEEDED, 1, []), worker.output()


@pytest.mark.parametrize("process", [False, True])
@pytest.mark.parametrize("name", ["OSError", "MemoryError"])
async def test_what_a_jobs_own_code_lacks_is_its_failure(name: str, *, process: bool, fleet: Fleet, load: Load) -> None:
    fleet.start()
    job_id = await load.enqueue(jobs.lack, name, process=process, max_retries=1, retry_delay=0)
    found = (await load.finish(30))[job_id]
    assert (found.state, found.attempt, found.errors[-1].type) == (JobState.DEAD, 2, name)


async def ended(observer: Observer, job_id: str) -> JobRecord:
    record = await observer.record("default", job_id)
    assert record is not None
    assert record.state is JobState.SUCCEEDED
    return record


def logged(output: Callable[[], str], text: str, times: int = 1) -> None:
    """Assert that a worker has printed something."""
    assert output().count(text) >= times, output()
