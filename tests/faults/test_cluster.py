"""F4: a cluster of three loses one server after the other under load."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from naq_client import Queue, gather
from naq_core import Connection, Settings
from tests.faults.conftest import SHORT_LEASES
from tests.support import jobs
from tests.support.checker import Limits, verify
from tests.support.cluster import Cluster
from tests.support.eventually import eventually
from tests.support.history import History
from tests.support.load import Load
from tests.support.observer import Observer
from tests.support.processes import Fleet

LONG = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with Cluster(tmp_path / "cluster") as running:
        yield running


@pytest.fixture
def replicated(cluster: Cluster, namespace: str) -> Settings:
    """Settings for streams with three replicas."""
    return Settings.load(nats_url=cluster.url, namespace=namespace, replicas=3, **SHORT_LEASES)


@pytest_asyncio.fixture
async def connection(replicated: Settings) -> AsyncIterator[Connection]:
    """Connect once the cluster has made the streams."""

    async def made() -> None:
        async with Queue("default", settings=replicated) as queue:
            await queue.purge()

    await eventually(made, 30)
    async with Connection(replicated) as opened:
        yield opened


async def cluster_of(connection: Connection, stream: str) -> dict[str, Any]:
    return dict((await connection.api(f"STREAM.INFO.{stream}"))["cluster"])


@pytest.mark.parametrize("rounds", [pytest.param(2, id="short"), pytest.param(20, id="long", marks=LONG)])
async def test_a_cluster_that_loses_one_server_at_a_time_loses_no_job(
    rounds: int, cluster: Cluster, connection: Connection, replicated: Settings, history: History, tmp_path: Path
) -> None:
    rng = random.Random(4)
    streams = (connection.names.jobs_stream, connection.names.results_stream)

    async def is_whole() -> None:
        for stream in streams:
            state = await cluster_of(connection, stream)
            assert state["leader"]
            assert all(peer["current"] for peer in state["replicas"]), state

    async with AsyncExitStack() as stack:
        queue = await stack.enter_async_context(Queue("default", settings=replicated))
        load = Load(queue, history, await stack.enter_async_context(Observer(replicated)))
        fleet = stack.enter_context(Fleet(replicated, history, tmp_path))
        fleet.start()
        fleet.start()
        await load.enqueue(jobs.work)
        await load.finish(30)  # the base line
        async with load.steady(lambda: (jobs.work, rng.uniform(0.001, 0.1)), pause=0.02, clients=4):
            for number in range(rounds):
                leader = (await cluster_of(connection, streams[number % 2]))["leader"]
                with history.fault("leader killed"):
                    await asyncio.to_thread(cluster.named(leader).kill)
                    await eventually(partial(goes_on, load, len(load.accepted) + 10), 20)
                await asyncio.to_thread(cluster.named(leader).restart)
                await eventually(is_whole, 30)
        await load.finish(60)
        assert len(fleet.alive()) == 2, fleet.outputs()
    report = verify(history.events(), Limits(lease=4, drain=60))
    assert load.false_duplicates == []
    assert report.extra_runs <= rounds, report  # an election may take longer than these short leases


def goes_on(load: Load, target: int) -> None:
    assert len(load.accepted) >= target, "the majority does not go on"


async def test_dependent_jobs_go_on_while_a_replicated_stream_changes_its_leader(
    cluster: Cluster, connection: Connection, replicated: Settings, history: History, tmp_path: Path
) -> None:
    """Reads that decide are compared with the leader's: a replica that lags behind must not hide a parent's end."""
    async with AsyncExitStack() as stack:
        queue = await stack.enter_async_context(Queue("default", settings=replicated))
        fleet = stack.enter_context(Fleet(replicated, history, tmp_path))
        fleet.start()
        fleet.start()
        flows = []
        for number in range(12):
            root = await queue.enqueue(jobs.work)
            sides = [await queue.options(depends_on=root).enqueue(jobs.work, 0.01) for _ in range(4)]
            flows.append([root, *sides, await queue.options(depends_on=sides).enqueue(jobs.work)])
            if number == 4:
                leader = (await cluster_of(connection, connection.names.jobs_stream))["leader"]
                await asyncio.to_thread(cluster.named(leader).kill)
        await gather(*(job for flow in flows for job in flow), timeout=50)
        starts = [event.fields["job"] for event in history.events("start")]
        assert set(starts) == {job.job_id for flow in flows for job in flow}
        assert len(starts) - len(set(starts)) <= 4, "only what was in flight at the kill may run again"
