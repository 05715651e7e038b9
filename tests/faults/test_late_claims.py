"""A job that runs before it is claimed, held at each step on one worker while something breaks and another worker takes over."""

from __future__ import annotations

import asyncio
import random
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from typing import Any, NamedTuple

import pytest
from nats.aio.msg import Msg

from naq_client import Queue
from naq_core import JobState, Settings, current_job
from naq_core.manage import cancel_job
from naq_core.record import FINAL
from naq_core.server import EmbeddedServer
from naq_core.storage.subjects import STATE
from naq_worker import Worker
from tests.support.eventually import eventually
from tests.support.forms import short_and_long
from tests.support.late import late_of, life_of, make_late
from tests.support.observer import Observer
from tests.support.proxy import Proxy

QUICK = ("before end", "after end", "before ack")
"""Steps of a job that returns at once: it is never claimed."""
SLOW = ("before claim", "after claim", "running")
"""Steps of a job that goes on until it is released."""
CLAIMED = tuple(f"{step}, claimed" for step in QUICK)
"""Steps of a job that returns some time after its claim."""
LATE = ("before claim, returned", "after claim, returned")
"""Steps of a job that returns while its claim is on its way."""
STEPS = (*QUICK, *SLOW, *CLAIMED, *LATE)
FAULTS = ("cut off", "killed server", "cancelled", "deleted consumer")

AFTER = 0.02
OWNER: ContextVar[str] = ContextVar("owner")


class Run(NamedTuple):
    """One run of a job's function."""

    job_id: str
    worker: str
    at: float
    fence: int


@dataclass
class Steps:
    """Holds the jobs of one worker, each at its step, until all are released."""

    of: dict[str, str] = field(default_factory=dict)
    reached: set[str] = field(default_factory=set)
    released: asyncio.Event = field(default_factory=asyncio.Event)
    runs: list[Run] = field(default_factory=list)
    acks: list[asyncio.Future[None]] = field(default_factory=list)

    async def come(self, job_id: str, step: str) -> None:
        """Wait here if it is the job's step, the first time."""
        if self.of.get(job_id, "").partition(",")[0] == step and job_id not in self.reached:
            self.reached.add(job_id)
            await self.released.wait()

    def gate(self, worker: Worker) -> None:
        """Hold the writes of a worker's records, and its acknowledgements."""
        connection, acks = life_of(worker)._connection, life_of(worker)._intake.fetch._acks
        publish, settle = connection.publish_once, acks.settle

        async def publish_once(subject: str, body: bytes, headers: dict[str, str] | None) -> int:
            if STATE not in (headers or {}):
                return await publish(subject, body, headers)
            job_id = subject.rpartition(".")[2]
            kind = "claim" if (headers or {})[STATE] == JobState.RUNNING else "end"
            await self.come(job_id, f"before {kind}")
            sequence = await publish(subject, body, headers)
            await self.come(job_id, f"after {kind}")
            return sequence

        async def hold_and_settle(message: Any) -> None:
            await self.come(message.job_id, "before ack")
            await settle(message)

        async def settle_held(message: Any) -> None:  # one after the other: none may wait for the one before it
            self.acks.append(asyncio.ensure_future(hold_and_settle(message)))

        connection.publish_once = publish_once  # type: ignore[method-assign]
        acks.settle = settle_held  # type: ignore[method-assign]


steps = Steps()
"""Of the test that runs: its jobs are in this process."""


async def job(step: str) -> str:
    """Return the worker that runs it, when the job's step on the first worker asks for that."""
    context, owner = current_job(), OWNER.get()
    steps.runs.append(Run(context.job_id, owner, time.time(), context._fence))
    if owner == "a":
        if step in SLOW:
            await steps.come(context.job_id, "running") if step == "running" else await steps.released.wait()
        elif step not in QUICK:
            await asyncio.sleep(5 * AFTER)
    return owner


@dataclass
class Ends:
    """The final records that the server has stored, by job."""

    states: dict[str, list[JobState]] = field(default_factory=lambda: defaultdict(list))

    async def note(self, message: Msg) -> None:
        state = JobState((message.headers or {})[STATE])
        self.states[message.subject.rpartition(".")[2]].append(state)


@asynccontextmanager
async def a_worker(name: str, settings: Settings) -> AsyncIterator[Worker]:
    worker = Worker(["default"], settings=settings, hooks=[partial(_set_owner, name)])
    async with asyncio.TaskGroup() as group:
        group.create_task(worker.run())
        try:
            await eventually(lambda: _takes_jobs(worker))
            yield worker
        finally:
            worker.stop_now()


def _set_owner(name: str) -> None:
    OWNER.set(name)


def _takes_jobs(worker: Worker) -> None:
    assert worker.is_serving
    assert life_of(worker)._intake.fetch.places


@dataclass
class Scene:
    """Two workers, the first behind a proxy with its jobs held, and what can break."""

    server: EmbeddedServer
    proxy: Proxy
    queue: Queue
    observer: Observer
    jobs: list[str]

    async def break_it(self, fault: str) -> None:
        match fault:
            case "cut off":
                self.proxy.blackhole()
                self.proxy.reset()
            case "killed server":
                await asyncio.to_thread(self.server.kill)
                await asyncio.to_thread(self.server.start)
            case "deleted consumer":
                names = self.observer.names
                await self.observer.client.request(
                    f"$JS.API.CONSUMER.DELETE.{names.jobs_stream}.{names.consumer('default')}", b"", 5
                )
            case _:
                connection = await self.queue.connection()
                await asyncio.gather(*(cancel_job(connection, each) for each in self.jobs))


class Form(NamedTuple):
    """Which faults, one after the other, come upon the held jobs."""

    faults: tuple[str, ...]
    is_taking: bool = False
    """Whether the first worker takes jobs meanwhile: then it may be given its own ones again."""


def random_forms(seed: int, count: int) -> list[Form]:
    rng = random.Random(seed)
    return [Form(tuple(rng.choices(FAULTS, k=rng.randint(1, 3))), rng.random() < 0.3) for _ in range(count)]


@pytest.fixture
def held() -> Callable[[], Steps]:
    """Begin anew, as the jobs' functions find the steps in this module."""

    def begin() -> Steps:
        global steps  # noqa: PLW0603
        steps = Steps()
        return steps

    return begin


@short_and_long([Form((fault,)) for fault in FAULTS], random_forms(random.randrange(10**9), 40))
async def test_a_job_held_at_any_step_has_one_end_whatever_breaks(
    form: list[Form], own_server: EmbeddedServer, own_settings: Settings, held: Callable[[], Steps]
) -> None:
    for number, each in enumerate(form):
        print(each)
        await _play(each, own_server, replace(own_settings, namespace=f"{own_settings.namespace}{number}"), held())


async def _play(form: Form, server: EmbeddedServer, settings: Settings, steps: Steps) -> None:
    settings = replace(
        settings,
        ack_wait=timedelta(seconds=1),
        worker_ttl=timedelta(seconds=1),
        heartbeat_interval=timedelta(seconds=0.3),
        claim_after=timedelta(seconds=AFTER),
        concurrency=2 * len(STEPS),
    )
    ends = Ends()
    async with (
        Proxy(server.port) as proxy,
        Queue("default", settings=settings) as queue,
        Observer(settings) as observer,
        a_worker("a", replace(settings, nats_url=proxy.url)) as first,
    ):
        await observer.client.subscribe(f"{settings.namespace}.event.results.>", cb=ends.note)
        await observer.client.flush()
        await make_late(queue, first)
        steps.gate(first)
        calls = {step: queue.call(job, step) for step in STEPS}
        steps.of.update({call.job_id: step for step, call in calls.items()})
        await queue.enqueue_many(calls.values())
        await eventually(lambda: _all_held(steps))
        if not form.is_taking:
            first.quiet()
            await eventually(lambda: _orders_nothing(first))
        scene = Scene(server, proxy, queue, observer, [*steps.of])
        async with a_worker("b", settings) as second:
            late_of(second)._newest = late_of(first)._newest  # as if it had run a job: it would start others unclaimed
            for fault in form.faults:
                await scene.break_it(fault)
                await asyncio.sleep(0.3)  # how long the first worker is held after each
            if "cut off" in form.faults:
                await eventually(lambda: _all_ended(observer, steps), 30)
                proxy.heal()
            steps.released.set()
            await eventually(lambda: _all_settled(observer, steps, first, second), 30)
        await _check(form, steps, ends, observer)


def _orders_nothing(worker: Worker) -> None:
    assert not life_of(worker)._intake.fetch.is_open


def _all_held(steps: Steps) -> None:
    assert steps.reached == set(steps.of), {steps.of[each] for each in steps.of.keys() - steps.reached}


async def _all_ended(observer: Observer, steps: Steps) -> None:
    records = await observer.records("default", steps.of)
    left = {step for each, step in steps.of.items() if each not in records or not records[each].state.is_final}
    assert not left


async def _all_settled(observer: Observer, steps: Steps, *workers: Worker) -> None:
    await _all_ended(observer, steps)
    assert not any(life_of(worker)._intake.active for worker in workers)
    live = await observer.live("default")
    assert not {state: count for state, count in live.items() if state not in {"dead", "kept"}}


async def _check(form: Form, steps: Steps, ends: Ends, observer: Observer) -> None:
    await observer.client.flush()
    records = await observer.records("default", steps.of)
    runs: dict[str, list[Run]] = defaultdict(list)
    for run in steps.runs:
        runs[run.job_id].append(run)
    again = {step for job_id, step in steps.of.items() if len(runs[job_id]) > 1}
    print(f"{form.faults}: run again: {sorted(again)}")
    for job_id, step in steps.of.items():
        states, record, mine = ends.states[job_id], records[job_id], runs[job_id]
        about = (form, step, states, mine)
        # While the server restarts, events do not arrive.
        assert len([state for state in states if state in FINAL]) == 1 or (not states and "killed server" in form.faults), about
        assert not states or states[-1] in FINAL, about
        assert len(mine) <= 1 + len(form.faults), about
        fences = [run.fence for run in mine]
        assert fences == sorted(set(fences)), about
        assert all(run.at < record.ended_at + 0.1 for run in mine), about
        assert record.state in {JobState.SUCCEEDED, JobState.CANCELLED}, about
        if "cancelled" not in form.faults:
            assert record.state is JobState.SUCCEEDED, about
        if record.state is JobState.SUCCEEDED:
            assert record.started_at <= record.ended_at, about
            assert record.worker, about


async def test_what_the_network_has_held_up_for_a_lease_is_not_run_again(
    nats_server: EmbeddedServer, naq_settings: Settings, held: Callable[[], Steps]
) -> None:
    """A delivery that another worker has been given meanwhile arrives with a count of 1."""
    steps = held()
    settings = replace(
        naq_settings,
        ack_wait=timedelta(seconds=1),
        worker_ttl=timedelta(seconds=1),
        heartbeat_interval=timedelta(seconds=0.3),
        claim_after=timedelta(seconds=AFTER),
    )
    async with (
        Proxy(nats_server.port) as proxy,
        Queue("default", settings=settings) as queue,
        Observer(settings) as observer,
        a_worker("a", replace(settings, nats_url=proxy.url)) as first,
    ):
        await make_late(queue, first)
        proxy.blackhole()
        job_ids = [each.job_id for each in await queue.enqueue_many([queue.call(job, "any") for _ in range(8)])]
        async with a_worker("b", settings) as second:
            await eventually(lambda: _have_ended(observer, job_ids), 30)
            proxy.heal()
            await make_late(queue, second)
            await eventually(lambda: _is_empty(observer, first, second), 30)
    assert sorted(run.job_id for run in steps.runs) == sorted(job_ids)


async def _have_ended(observer: Observer, job_ids: list[str]) -> None:
    records = await observer.records("default", job_ids)
    assert all(each in records and records[each].state.is_final for each in job_ids)


async def _is_empty(observer: Observer, *workers: Worker) -> None:
    assert not any(life_of(worker)._intake.active for worker in workers)
    assert not (await observer.live("default")).get("ready")
