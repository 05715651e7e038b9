"""F4: a cluster of three loses one server after the other, or is divided, under load."""

from __future__ import annotations

import asyncio
import dataclasses
import random
import time
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from naq_client import Queue, gather
from naq_core import BrokerError, Connection, Settings
from naq_core.inspect import list_workers
from naq_core.record import JobRecord, JobState
from naq_core.storage.records import write_record
from tests.faults.conftest import SHORT_LEASES
from tests.support import jobs
from tests.support.checker import Limits, verify
from tests.support.cluster import SIZE, Cluster
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
def divided(tmp_path: Path) -> Iterator[Cluster]:
    """Run a cluster whose servers can be cut off from each other."""
    with Cluster(tmp_path / "cluster", divisible=True) as running:
        yield running


@pytest.fixture
def replicated(cluster: Cluster, namespace: str) -> Settings:
    """Settings for streams with three replicas."""
    return Settings.load(nats_url=cluster.url, namespace=namespace, replicas=3, **SHORT_LEASES)


@pytest_asyncio.fixture
async def connection(replicated: Settings) -> AsyncIterator[Connection]:
    """Connect once the cluster has made the streams."""

    await make_streams(replicated)
    async with Connection(replicated) as opened:
        yield opened


async def make_streams(settings: Settings) -> None:
    async def made() -> None:
        try:
            async with Queue("default", settings=settings) as queue:
                await queue.purge()
        except BrokerError as error:
            raise AssertionError(f"no streams yet: {error}") from error

    await eventually(made, 60)


def of_server(settings: Settings, url: str) -> Settings:
    """Return the settings of a client that knows one server only."""
    return dataclasses.replace(settings, nats_url=url)


async def cluster_of(connection: Connection, stream: str) -> dict[str, Any]:
    return dict((await connection.api(f"STREAM.INFO.{stream}"))["cluster"])


@pytest.mark.parametrize("rounds", [pytest.param(2, id="short"), pytest.param(20, id="long", marks=LONG)])
async def test_a_cluster_that_loses_one_server_at_a_time_loses_no_job(
    rounds: int, cluster: Cluster, connection: Connection, replicated: Settings, history: History, tmp_path: Path
) -> None:
    rng = random.Random(4)
    streams = (connection.names.jobs_stream, connection.names.results_stream)

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
                    begun = time.time()
                    await asyncio.to_thread(cluster.named(leader).kill)
                    await eventually(partial(goes_on, load, len(load.accepted) + 10), 20)
                    # The fault is over when workers can tell again that they live: their stream may have lost its leader too.
                    await eventually(partial(have_told, connection, fleet.alive(), begun), 30)
                await asyncio.to_thread(cluster.named(leader).restart)
                for stream in streams:
                    await eventually(partial(is_whole, connection, stream), 30)
        await load.finish(60)
        assert len(fleet.alive()) == 2, fleet.outputs()
    report = verify(history.events(), Limits(lease=4, drain=60))
    assert load.false_duplicates == []
    assert report.extra_runs <= rounds, report  # an election may take longer than these short leases


def goes_on(load: Load, target: int) -> None:
    assert len(load.accepted) >= target, "the majority does not go on"


async def have_told(connection: Connection, workers: Collection[object], since: float) -> None:
    """Assert that all workers have renewed their presence since then."""
    try:
        present = await list_workers(connection)
    except BrokerError as error:
        raise AssertionError(f"workers: {error}") from error
    assert len([each for each in present if each["at"] > since]) == len(workers)


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


async def lead(connection: Connection, name: str, *streams: str) -> None:
    """Make one server the leader of streams."""
    for stream in streams:

        async def leads(stream: str = stream) -> None:
            if (await cluster_of(connection, stream)).get("leader") != name:
                await connection.api(f"STREAM.LEADER.STEPDOWN.{stream}", {"placement": {"preferred": name}})
                raise AssertionError(f"{name} does not lead {stream} yet")

        await eventually(leads, 30, interval=0.5)


async def leads_elsewhere(connection: Connection, stream: str, name: str) -> None:
    """Assert that a server which `connection` can reach leads a stream in place of another."""
    try:
        leader = (await cluster_of(connection, stream)).get("leader")
    except BrokerError as error:
        raise AssertionError(f"no leader of {stream}: {error}") from error
    assert leader not in {None, "", name}, f"{stream} is led by {leader}"


@pytest.mark.timeout(180)
async def test_a_leader_that_is_cut_off_from_its_peers_makes_nobody_lose_a_job_or_a_result(
    divided: Cluster, namespace: str, history: History, tmp_path: Path
) -> None:
    """Such a leader refuses the repeat of what it could not store, as if it were stored: nothing of that may be believed."""
    settings = Settings.load(
        nats_url=divided.url, namespace=namespace, replicas=3, publish_timeout=timedelta(seconds=0.5), **SHORT_LEASES
    )
    await make_streams(settings)
    async with AsyncExitStack() as stack:
        majority = await stack.enter_async_context(Connection(of_server(settings, divided.servers[1].url)))
        streams = (majority.names.jobs_stream, majority.names.results_stream)
        await lead(majority, "n0", *streams)
        isolated = of_server(settings, divided.servers[0].url)
        queue = await stack.enter_async_context(Queue("default", settings=isolated))
        load = Load(queue, history, await stack.enter_async_context(Observer(settings)))
        fleet = stack.enter_context(Fleet(settings, history, tmp_path))
        fleet.start(settings=isolated)
        fleet.start(settings=of_server(settings, divided.servers[1].url))
        await load.enqueue(jobs.work)
        await load.finish(30)  # the base line
        for _ in range(4):
            await load.enqueue(jobs.work, 3)  # their ends have to be recorded while the leader is cut off
        await eventually(partial(have_started, history, 5), 20)
        await lead(majority, "n0", *streams)  # on a busy machine it may have changed
        with history.fault("leader cut off"):
            divided.routes.partition([0], [1, 2])
            fresh = [queue.enqueue(jobs.return_bytes, 1) for _ in range(5)]
            tied = queue.options(depends_on=load.accepted[0]).enqueue(jobs.return_bytes, 1)
            unique = queue.options(unique="key").enqueue(jobs.return_bytes, 1)
            new = asyncio.gather(*fresh, tied, unique)
            noted = asyncio.gather(
                *(load.enqueue(jobs.work) for _ in range(5)), load.enqueue_many(20, jobs.work), load.enqueue_many(1001, jobs.work)
            )
            for stream in streams:
                await eventually(partial(leads_elsewhere, majority, stream, "n0"), 30)
            assert not [task for task in (new, noted) if task.done()], "a leader without a majority has accepted something"
            assert len(load.accepted) == 5
            ending = await write_what_the_leader_does_not_know(majority, await queue.connection())
            divided.routes.heal()
            await noted
            await gather(*await new, timeout=60)
            assert await ending is not None
        await load.finish(60)
    verify(history.events(), Limits(lease=4, drain=60))
    assert load.false_duplicates == []


async def write_what_the_leader_does_not_know(majority: Connection, isolated: Connection) -> asyncio.Task[int | None]:
    """Make a record and change it through a leader that was cut off before: it must not call that a lost compare-and-set."""
    record = JobRecord(state=JobState.RUNNING, job_id="claimed", queue="other", function="f")
    revision = await write_record(majority, record, 0)
    assert revision is not None
    ending = asyncio.create_task(write_record(isolated, record, revision))
    await asyncio.wait([ending], timeout=1)  # so that the first answer comes from that leader
    return ending


def have_started(history: History, count: int) -> None:
    assert len(history.events("start")) >= count


@pytest.mark.parametrize("seed", [pytest.param(seed, id=f"long-{seed}", marks=LONG) for seed in range(10)])
async def test_a_cluster_that_is_divided_under_load_loses_no_job(
    seed: int, divided: Cluster, namespace: str, history: History, tmp_path: Path
) -> None:
    rng = random.Random(seed)
    settings = Settings.load(
        nats_url=divided.url, namespace=namespace, replicas=3, publish_timeout=timedelta(seconds=1), **SHORT_LEASES
    )
    await make_streams(settings)
    async with AsyncExitStack() as stack:
        own = [of_server(settings, server.url) for server in divided.servers]
        sides = [await stack.enter_async_context(Connection(each)) for each in own]
        observer = await stack.enter_async_context(Observer(settings))
        queues = [await stack.enter_async_context(Queue("default", settings=each)) for each in own]
        loads = [Load(queue, history, observer, prefix=f"n{number}") for number, queue in enumerate(queues)]
        fleet = stack.enter_context(Fleet(settings, history, tmp_path))
        for each in own:
            fleet.start(settings=each)
        await loads[0].enqueue(jobs.work)
        await loads[0].finish(30)  # the base line
        async with AsyncExitStack() as clients:
            for load in loads:
                await clients.enter_async_context(load.steady(lambda: (jobs.work, rng.uniform(0.001, 0.5)), pause=0.1, clients=2))
                await clients.enter_async_context(batches(load, rng))
            for kind in rng.sample(("jobs", "results", "follower", "all"), 4):
                await divide(kind, divided, sides, rng, history)
        for load in loads:
            await load.finish(120)
        assert len(fleet.alive()) == 3, fleet.outputs()
    report = verify(history.events(), Limits(lease=4, drain=120))
    unknown = sum(load.unknown for load in loads)
    print(f"seed={seed} enqueues of unknown outcome={unknown} slowest enqueue={max(load.slowest for load in loads):.1f}s")
    assert report.lost == []
    assert [load.false_duplicates for load in loads] == [[], [], []]


@asynccontextmanager
async def batches(load: Load, rng: random.Random) -> AsyncIterator[None]:
    """Enqueue batches, atomic ones and now and then one that is pipelined, during the body."""
    over = asyncio.Event()

    async def client() -> None:
        while not over.is_set():
            await load.enqueue_many(1001 if rng.random() < 0.02 else rng.choice((5, 30)), jobs.work)
            await asyncio.sleep(1)

    async with asyncio.TaskGroup() as group:
        group.create_task(client())
        try:
            yield
        finally:
            over.set()


async def divide(kind: str, cluster: Cluster, sides: list[Connection], rng: random.Random, history: History) -> None:
    """Divide a cluster for some seconds: cut off the leader of a stream, a follower, or everybody from everybody."""
    names = sides[0].names
    stream = names.results_stream if kind == "results" else names.jobs_stream
    leader = int((await cluster_of(sides[0], stream))["leader"].removeprefix("n"))
    alone = rng.choice([number for number in range(SIZE) if number != leader]) if kind == "follower" else leader
    rest = [number for number in range(SIZE) if number != alone]
    with history.fault(f"{kind} cut off"):
        cluster.routes.partition([alone], *([each] for each in rest)) if kind == "all" else cluster.routes.partition(
            [alone], rest
        )
        if kind in {"jobs", "results"}:
            await eventually(partial(leads_elsewhere, sides[rest[0]], stream, f"n{leader}"), 40)
        await asyncio.sleep(rng.uniform(3, 10))
        cluster.routes.heal()
        for each in (names.jobs_stream, names.results_stream):
            await eventually(partial(is_whole, sides[rest[0]], each), 60)


async def is_whole(connection: Connection, stream: str) -> None:
    """Assert that a stream has a leader and that all its replicas are up to date."""
    try:
        state = await cluster_of(connection, stream)
    except BrokerError as error:
        raise AssertionError(f"{stream}: {error}") from error
    assert state.get("leader")
    assert all(peer["current"] for peer in state["replicas"]), state
