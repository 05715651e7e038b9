"""F3 and F13: the server dies and comes back under load, and duplicates arrive around it."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NamedTuple

import pytest

from naq_client import Queue
from naq_core import DuplicateJobError, JobState, Settings
from naq_core.server import EmbeddedServer
from tests.support import jobs
from tests.support.checker import Limits, verify
from tests.support.eventually import PATIENCE, eventually
from tests.support.history import History
from tests.support.load import Load
from tests.support.observer import Observer
from tests.support.processes import Fleet

LONG = [pytest.mark.slow, pytest.mark.timeout(600)]


class Crashes(NamedTuple):
    """How often the server dies, and whether it syncs every write."""

    kills: int
    always_syncs: bool


@pytest.fixture
def own_server(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[EmbeddedServer]:
    """Run a server that syncs as the form says."""
    form = request.node.callspec.params.get("form")
    store, config = tmp_path / "store", None
    if isinstance(form, Crashes) and form.always_syncs:
        config = f'jetstream {{ store_dir: "{store}", sync_interval: always }}'
    with EmbeddedServer(store_dir=store, config=config) as server:
        yield server


def crash(server: EmbeddedServer) -> None:
    """Kill the server and start it again."""
    server.kill()
    server.restart()


@pytest.mark.parametrize(
    "form",
    [
        pytest.param(Crashes(3, always_syncs=False), id="short"),
        pytest.param(Crashes(50, always_syncs=False), id="long", marks=LONG),
        pytest.param(Crashes(50, always_syncs=True), id="long-always", marks=LONG),
    ],
)
async def test_a_server_killed_every_two_seconds_loses_and_repeats_nothing(
    form: Crashes,
    own_server: EmbeddedServer,
    own_fleet: Fleet,
    own_load: Load,
    history: History,
) -> None:
    rng = random.Random(2)
    own_fleet.start()
    own_fleet.start()
    await own_load.enqueue(jobs.work)
    await own_load.finish(15)  # the base line
    async with own_load.steady(lambda: (jobs.work, rng.uniform(0.001, 0.1)), pause=0.02, clients=4):
        await eventually(lambda: _some_started(history), 15)
        for _ in range(form.kills):
            await asyncio.sleep(2)
            with history.fault("server kill"):
                await asyncio.to_thread(crash, own_server)
        await asyncio.sleep(1)
    await own_load.finish(30)
    report = verify(history.events(), Limits(lease=4, drain=15))
    assert report.extra_runs == 0, report
    assert own_load.false_duplicates == []
    assert own_load.slowest < PATIENCE * 4, "enqueueing did not resume soon after the port opened"
    assert len(own_fleet.alive()) == 2, own_fleet.outputs()


def _some_started(history: History) -> None:
    assert history.events("start"), "nothing has started"


@pytest.mark.parametrize("crashes", [False, True], ids=["hangs", "hangs-and-dies"])
async def test_a_hanging_server_under_a_backlog_loses_and_confuses_nothing(
    crashes: bool, own_server: EmbeddedServer, own_load: Load, own_fleet: Fleet, history: History
) -> None:
    """Meanwhile leases pass and pull requests pile up; afterwards more jobs arrive than there are slots."""
    worker = own_fleet.start()
    for _ in range(300):
        await own_load.enqueue(jobs.work, 0.1)
    await eventually(lambda: _some_started(history), 15)
    with history.fault("server hangs"):
        await asyncio.to_thread(hang, own_server, 6.0)
        if crashes:
            await asyncio.to_thread(crash, own_server)
    await own_load.finish(40)
    report = verify(history.events(), Limits(lease=5, drain=30))
    assert report.extra_runs <= 3 * 8, report
    assert worker.is_alive, worker.output()


def hang(server: EmbeddedServer, seconds: float) -> None:
    """Freeze the server for a while."""
    assert server.pid is not None
    os.kill(server.pid, signal.SIGSTOP)
    try:
        time.sleep(seconds)
    finally:
        os.kill(server.pid, signal.SIGCONT)


@pytest.mark.parametrize("restart", ["before the run", "after the run"])
async def test_one_id_from_ten_clients_is_one_job_and_one_run_across_a_restart(
    restart: str,
    own_server: EmbeddedServer,
    own_settings: Settings,
    own_fleet: Fleet,
    history: History,
    tmp_path: Path,
) -> None:
    async with AsyncExitStack() as stack:
        queues = [await stack.enter_async_context(Queue("default", settings=own_settings)) for _ in range(10)]
        observer = await stack.enter_async_context(Observer(own_settings))
        assert await enqueue_at_once(queues) >= 1
        assert (await observer.live("default"))["normal"] == 1
        if restart == "after the run":
            own_fleet.start()
            await eventually(lambda: is_done(observer), 15)
        await asyncio.to_thread(crash, own_server)
        await enqueue_at_once(queues)
        if restart == "before the run":
            assert (await eventually(lambda: observer.live("default"), 5))["normal"] == 1
            own_fleet.start()
        await eventually(lambda: is_done(observer), 15)
        await enqueue_at_once(queues)
        await eventually(lambda: is_done(observer), 15)
        record = await observer.record("default", "only-one")
        assert record is not None
        assert (record.state, record.attempt) == (JobState.SUCCEEDED, 1)
        assert len(history.events("start", "only-one")) == 1


async def enqueue_at_once(queues: list[Queue]) -> int:
    """Enqueue one job id from every queue together; return how many were accepted."""
    outcomes = await asyncio.gather(
        *(queue.options(job_id="only-one").enqueue(jobs.work, 0.1) for queue in queues),
        return_exceptions=True,
    )
    refused = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    assert all(isinstance(error, DuplicateJobError) for error in refused), refused
    return len(outcomes) - len(refused)


async def is_done(observer: Observer) -> None:
    """Assert that the job has ended and that no copy of it is stored."""
    record = await observer.record("default", "only-one")
    assert record is not None, "no record"
    assert record.state.is_final, record.state
    live = await observer.live("default")
    assert not live.total(), live
