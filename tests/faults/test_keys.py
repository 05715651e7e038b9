"""Jobs with keys while workers and the server die: never too many of a key, always in order, and nothing stuck."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import itertools
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from math import inf
from typing import NamedTuple

import pytest

from naq_core import BrokerError, Connection, QueuePolicy, Settings
from naq_core.manage import cancel_job, set_queue_policy
from naq_core.server import EmbeddedServer
from naq_core.storage.keys import decode_places
from naq_core.transport.streams import count_by_subject, read_last
from tests.faults.test_workers import busy_workers
from tests.support import jobs
from tests.support.checker import Limits, verify
from tests.support.eventually import eventually
from tests.support.forms import short_and_long
from tests.support.history import Event, History
from tests.support.load import Load
from tests.support.processes import Fleet

LONG = [pytest.mark.slow, pytest.mark.timeout(1800)]
KEYS = [f"customer-{number}" for number in range(6)]
Accepted = Mapping[str, Sequence[str]]
"""The jobs of each key, in the order in which they were accepted."""


class Run(NamedTuple):
    """One run of a job."""

    worker: int
    start: float
    end: float


def runs_of(events: Iterable[Event], job_ids: Iterable[str]) -> list[Run]:
    """Return the runs of jobs; one that has no end lasts for ever."""
    wanted = set(job_ids)
    found: list[Run] = []
    began: dict[tuple[str, int, int], float] = {}
    for event in events:
        if event.kind in {"start", "end"} and event.job in wanted:
            key = (event.job, event.fields["fence"], event.fields["worker"])
            if event.kind == "start":
                began[key] = event.at
            else:
                found.append(Run(key[2], began.pop(key), event.at))
    return found + [Run(worker, at, inf) for (_, _, worker), at in began.items()]


def spans(events: Iterable[Event], job_ids: Iterable[str]) -> list[tuple[float, float]]:
    """Return when jobs ran, as far as a limit can hold: until their worker was dead, or frozen (promise G5)."""
    events = list(events)
    faults = [event.fields for event in events if event.kind == "fault" and event.fields["worker"]]
    found: list[tuple[float, float]] = []
    for run in runs_of(events, job_ids):
        its = [each for each in faults if each["worker"] == run.worker and run.start <= each["t1"] and each["t0"] <= run.end]
        ends = [each["t0"] if each["name"] == "freeze" else each["t1"] for each in its]
        found.append((run.start, min([run.end, *ends])))
    return found


def most_at_once(spans: Iterable[tuple[float, float]]) -> int:
    """Return how many of them overlap at most."""
    changes = sorted([(start, 1) for start, _ in spans] + [(end, -1) for _, end in spans])
    return max(itertools.accumulate(change for _, change in changes), default=0)


def check_keys(events: list[Event], accepted: Accepted, limit: int) -> None:
    """Hold the history of each key against its limit, and with the limit 1 against the order of its enqueues."""
    for key, job_ids in accepted.items():
        ids = set(job_ids)
        assert most_at_once(spans(events, job_ids)) <= limit, (
            f"{key}: {sorted(runs_of(events, job_ids), key=lambda run: run.start)}"
        )
        if limit == 1:
            starts = dict.fromkeys(event.job for event in events if event.kind == "start" and event.job in ids)
            assert list(starts) == [each for each in job_ids if each in starts], key


async def nothing_is_left(connection: Connection, queue: str = "default") -> None:
    """Assert that nothing waits in the order of a key, and that no job has a place."""
    names, stream = connection.names, connection.names.jobs_stream
    entries = await count_by_subject(connection, stream, names.waits_for_key(queue, "*"))
    assert not entries
    for subject in await count_by_subject(connection, stream, names.places(queue, "*")):
        found = await read_last(connection, stream, subject)
        taken = {} if found is None else decode_places(found.data).taken
        assert not taken, f"{subject}: {taken}"


async def what_is_left(connection: Connection, queue: str = "default") -> str:
    """Return what lies in the jobs stream of live jobs and their keys, for a failure message."""
    names, stream = connection.names, connection.names.jobs_stream
    lines = [str(await connection.api(f"CONSUMER.INFO.{stream}.{names.consumer(queue)}"))]
    for subject in await count_by_subject(connection, stream, f"{names.jobs}.>"):
        found = None if ".kept." in subject else await read_last(connection, stream, subject)
        if found is not None:
            data = decode_places(found.data) if ".places." in subject else found.data[:60]
            lines.append(f"{subject} {found.sequence} {found.headers} {data!r}")
    return "\n".join(lines)


async def begin(load: Load) -> None:
    """Wait until a worker has run a job."""
    job_id = await load.enqueue(jobs.work)
    await eventually(lambda: any(event.kind == "end" and event.job == job_id for event in load.history.events()), 15)


@asynccontextmanager
async def producers(load: Load, accepted: dict[str, list[str]], rng: random.Random, *, cancels: float) -> AsyncIterator[None]:
    """Enqueue jobs of all keys, each key's one after the other, and cancel some of them, during the body."""
    over = asyncio.Event()
    connection = await load.queue.connection()

    async def produce(key: str) -> None:
        while not over.is_set():
            job_id = await load.enqueue(jobs.work, rng.uniform(0.0, 0.15), key=key)
            accepted[key].append(job_id)
            if rng.random() < cancels:
                with contextlib.suppress(BrokerError):  # while the server is away
                    await cancel_job(connection, rng.choice(accepted[key][-5:]))
            await asyncio.sleep(rng.uniform(0, 0.25))

    async with asyncio.TaskGroup() as group:
        for key in KEYS:
            group.create_task(produce(key))
        try:
            yield
        finally:
            over.set()


@pytest.mark.parametrize(
    ("faults", "server_every", "limit"),
    [
        pytest.param(4, 0, 1, id="short"),
        pytest.param(267, 13, 1, id="long-in-order", marks=LONG),  # 200 kills of workers, 67 freezes, 20 kills of the server
        pytest.param(100, 0, 3, id="long-three-at-once", marks=LONG),
    ],
)
async def test_killed_and_frozen_workers_neither_exceed_the_limit_of_a_key_nor_keep_its_place(
    faults: int,
    server_every: int,
    limit: int,
    own_fleet: Fleet,
    own_load: Load,
    own_server: EmbeddedServer,
    own_settings: Settings,
    history: History,
) -> None:
    rng = random.Random(8)
    accepted: dict[str, list[str]] = defaultdict(list)
    connection = await own_load.queue.connection()
    await set_queue_policy(connection, "default", QueuePolicy(key_limit=limit))
    patient = dataclasses.replace(own_settings, max_crashes=1000)
    for _ in range(3):
        own_fleet.start(settings=patient)
    await begin(own_load)
    async with producers(own_load, accepted, rng, cancels=0.2):
        for number in range(1, 1 + faults):
            victim = rng.choice(await eventually(lambda: busy_workers(history, own_fleet), 15))
            if number % 4 == 0:
                victim.freeze()
                await asyncio.sleep(2 * own_settings.ack_wait.total_seconds())
                victim.thaw(history)
            else:
                victim.kill(history)
                own_fleet.start(settings=patient)
            await asyncio.sleep(0.8)
            if server_every and number % server_every == 0:
                with history.fault("server"):
                    own_server.kill()
                    own_server.restart()
    try:
        await own_load.finish(60, is_long=True)  # jobs of killed workers hold their keys up, while others are enqueued
        await eventually(partial(nothing_is_left, connection), 20)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{await what_is_left(connection)}\n{own_fleet.outputs()}") from error
    events = history.events()
    lease = own_settings.ack_wait.total_seconds()
    check_keys(events, accepted, limit)
    verify(events, Limits(lease=lease + own_settings.worker_ttl.total_seconds(), drain=inf))


@short_and_long(3, 25)
async def test_a_killed_server_leaves_no_key_standing_still_and_none_out_of_order(
    form: int, own_fleet: Fleet, own_load: Load, own_server: EmbeddedServer, history: History
) -> None:
    rng = random.Random(9)
    accepted: dict[str, list[str]] = defaultdict(list)
    for _ in range(3):
        own_fleet.start()
    await begin(own_load)
    async with producers(own_load, accepted, rng, cancels=0.0):
        for _ in range(form):
            await asyncio.sleep(1.0)
            with history.fault("server"):
                own_server.kill()
                own_server.restart()
    await own_load.finish(60, is_long=True)
    await eventually(partial(nothing_is_left, await own_load.queue.connection()), 20)
    check_keys(history.events(), accepted, 1)
    verify(history.events(), Limits(drain=inf))
