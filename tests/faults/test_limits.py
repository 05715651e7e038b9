"""A limited queue under the deaths of workers and of the server: never too many at once, and no standstill."""

from __future__ import annotations

import asyncio
import dataclasses
import random
from collections.abc import Iterable
from math import inf

from naq_core import Settings
from naq_core.manage import set_queue_limit
from naq_core.server import EmbeddedServer
from tests.faults.test_workers import busy_workers
from tests.support import jobs
from tests.support.checker import Limits, verify
from tests.support.eventually import eventually
from tests.support.forms import short_and_long
from tests.support.history import Event, History
from tests.support.load import Load
from tests.support.processes import Fleet

LIMIT = 3


def most_at_once(events: Iterable[Event]) -> int:
    """Return how many runs overlapped at most; a run without an end lasted until its worker was killed."""
    died = {event.fields["worker"]: event.fields["t1"] for event in events if event.kind == "fault" and event.fields["worker"]}
    began: dict[tuple[str, int], Event] = {}
    spans: list[tuple[float, float]] = []
    for event in events:
        key = (event.fields.get("job", ""), event.fields.get("fence", 0))
        if event.kind == "start":
            began[key] = event
        elif event.kind == "end":
            spans.append((began.pop(key).at, event.at))
    spans += [(event.at, died.get(event.fields["worker"], inf)) for event in began.values()]
    changes = sorted([(start, 1) for start, _ in spans] + [(end, -1) for _, end in spans])
    now = most = 0
    for _, change in changes:
        now += change
        most = max(most, now)
    return most


@short_and_long(5, 25)
async def test_killed_workers_neither_exceed_the_limit_nor_keep_their_slots(
    form: int, fleet: Fleet, load: Load, history: History, settings: Settings
) -> None:
    rng = random.Random(4)
    await set_queue_limit(await load.queue.connection(), "default", LIMIT)
    patient = dataclasses.replace(settings, max_crashes=100)  # with so few slots the same job is hit again and again
    for _ in range(4):
        fleet.start(settings=patient)
    await load.enqueue(jobs.work)
    await load.finish(15)
    make = lambda: (jobs.work, rng.uniform(0.02, 0.2))  # noqa: E731
    async with load.steady(make, pause=0.04, clients=1):
        for _ in range(form):
            victims = await eventually(lambda: busy_workers(history, fleet), 15)
            rng.choice(victims).kill(history)
            fleet.start(settings=patient)
            await asyncio.sleep(0.8)
    await load.finish(60)
    events = history.events()
    assert most_at_once(events) == LIMIT
    lease = settings.ack_wait.total_seconds()
    verify(events, Limits(lease=lease + settings.worker_ttl.total_seconds(), drain=60))


@short_and_long(3, 20)
async def test_a_killed_server_does_not_let_more_run_than_the_limit(
    form: int, own_fleet: Fleet, own_load: Load, own_server: EmbeddedServer, history: History
) -> None:
    rng = random.Random(5)
    await set_queue_limit(await own_load.queue.connection(), "default", LIMIT)
    for _ in range(3):
        own_fleet.start()
    await own_load.enqueue(jobs.work)
    await own_load.finish(15)
    levels = ["high", "normal", "low"]

    async def some() -> None:
        for _ in range(40):
            await own_load.enqueue(jobs.work, rng.uniform(0.05, 0.3), priority=rng.choice(levels))

    for _ in range(form):
        filling = asyncio.create_task(some())
        await asyncio.sleep(0.7)
        with history.fault("server"):
            own_server.kill()
            own_server.restart()
        await filling
    await own_load.finish(60)
    assert most_at_once(history.events()) == LIMIT
    verify(history.events(), Limits(drain=60))
