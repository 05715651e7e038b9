"""F23: many tasks enqueue without a limit while the server hangs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from pathlib import Path
from typing import NamedTuple

import pytest

from naq_client import Queue
from naq_core import DuplicateJobError, EnqueueUnknownError, Settings
from naq_core.server import EmbeddedServer
from tests.support import jobs
from tests.support.checker import Limits, verify
from tests.support.eventually import eventually
from tests.support.forms import short_and_long
from tests.support.history import History
from tests.support.load import Load
from tests.support.observer import Observer
from tests.support.processes import Fleet

PAYLOAD = b"x" * 1024
MEMORY_LIMIT = 200 * 1024 * 1024


class Flood(NamedTuple):
    """How many tasks enqueue how many jobs each, and how long the server hangs."""

    tasks: int
    jobs: int
    frozen: float


def resident_bytes() -> int:
    """Return this process's memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@short_and_long(Flood(200, 15, 5.0), Flood(200, 500, 10.0))
async def test_a_flood_at_a_hanging_server_stays_bounded_and_loses_nothing(
    form: Flood, own_server: EmbeddedServer, own_load: Load, own_fleet: Fleet, history: History
) -> None:
    assert own_server.pid is not None
    before = resident_bytes()
    peak = before

    async def flood() -> None:
        for _ in range(form.jobs):
            await own_load.enqueue(jobs.work_on, PAYLOAD)

    async def watch() -> None:
        nonlocal peak
        while True:
            peak = max(peak, resident_bytes())
            await asyncio.sleep(0.05)

    watching = asyncio.create_task(watch())
    async with asyncio.TaskGroup() as group:
        for _ in range(form.tasks):
            group.create_task(flood())
        await eventually(lambda: _accepted(own_load, 100), 10, interval=0.001)
        os.kill(own_server.pid, signal.SIGSTOP)
        try:
            await asyncio.sleep(form.frozen)
        finally:
            os.kill(own_server.pid, signal.SIGCONT)
    watching.cancel()
    print(f"unknown={own_load.unknown} slowest enqueue={own_load.slowest:.1f}s memory grew by {(peak - before) / 2**20:.0f} MiB")
    assert peak - before < MEMORY_LIMIT
    assert len(own_load.accepted) == form.tasks * form.jobs
    assert own_load.false_duplicates == []
    own_fleet.start()
    within = 60 + form.tasks * form.jobs / 200  # on a busy machine a worker does some hundred a second
    await own_load.finish(within)
    report = verify(history.events(), Limits(drain=within))
    assert report.extra_runs == 0, report


def _accepted(load: Load, least: int) -> None:
    assert len(load.accepted) >= least


@pytest.mark.parametrize("count", [1000, 5000], ids=["atomic", "pipelined"])
@pytest.mark.parametrize("fault", ["hangs", "restarts"])
async def test_a_large_batch_while_the_server_fails_is_stored_once_or_its_error_says_so(
    count: int, fault: str, own_server: EmbeddedServer, own_settings: Settings
) -> None:
    async with Queue("default", settings=own_settings) as queue, Observer(own_settings) as observer:
        await queue.enqueue(jobs.work_on, b"")  # makes the queue
        calls = [queue.call(jobs.work_on, PAYLOAD, job_id=f"batch-{n:05d}") for n in range(count)]
        enqueueing = asyncio.create_task(queue.enqueue_many(calls))
        await asyncio.to_thread(disturb, own_server, fault)
        try:
            await enqueueing
        except EnqueueUnknownError:
            with contextlib.suppress(DuplicateJobError):  # it had been stored after all
                await queue.enqueue_many(calls)
        assert (await observer.live("default"))["normal"] == count + 1


def disturb(server: EmbeddedServer, fault: str) -> None:
    """Let the server hang for a while, or die and come back."""
    assert server.pid is not None
    if fault == "restarts":
        server.kill()
        server.restart()
        return
    os.kill(server.pid, signal.SIGSTOP)
    try:
        time.sleep(3)
    finally:
        os.kill(server.pid, signal.SIGCONT)
