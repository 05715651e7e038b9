"""F14 in every order: the steps of who adds a child and of who ends its parents, interleaved, with deaths in between.

The real functions run on the real server; only the moment of each request is chosen by hypothesis. An actor that dies is followed
as in life: a worker by the re-delivery of its parent, the enqueuer by the server's timer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from naq_client import Dependency, Queue
from naq_core import Job, JobRecord, JobState, Settings
from naq_core.dependents import release
from naq_core.enqueue.submit import submit_many
from naq_core.envelope import NO_OPTIONS, decode_envelope
from naq_core.record import encode_record
from naq_core.storage.acks import Acks
from naq_core.storage.connection import Connection
from naq_core.storage.deliveries import Delivery
from naq_core.storage.records import find_job, read_record
from naq_core.storage.room import KeyRule
from naq_core.storage.subjects import STATE, WAITS, state_of_subject
from naq_core.transport.reader import BatchReader
from naq_worker._active import Counters
from naq_worker._backpressure import Backpressure
from naq_worker._finisher import Finisher
from naq_worker._keys import Keys
from naq_worker._settle import Settler
from tests.integration import work
from tests.support.forms import short_and_long

SETTLED = 12
"""Turns of the event loop after which an actor has come to its next request."""


@dataclass
class Actor:
    """Somebody whose every request waits for leave."""

    name: str
    asking: list[asyncio.Future[None]] = field(default_factory=list)
    in_progress: int = 0
    task: asyncio.Task[Any] | None = None

    @property
    def is_over(self) -> bool:
        return self.task is not None and self.task.done()


_actor: ContextVar[Actor | None] = ContextVar("actor", default=None)


def gated(original: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """Let an actor's request wait until it is the actor's turn."""

    async def wrapper(*args: Any, **kwargs: Any) -> Any:
        actor = _actor.get()
        if actor is None:
            return await original(*args, **kwargs)
        leave: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        actor.asking.append(leave)
        await leave
        actor.in_progress += 1
        try:
            return await original(*args, **kwargs)
        finally:
            actor.in_progress -= 1

    return wrapper


@pytest.fixture
def gates(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every request of an actor wait; the messages of a batch but the last go out before, as they do in life."""
    for owner, name in ((Connection, "publish_once"), (Connection, "request"), (BatchReader, "get")):
        monkeypatch.setattr(owner, name, gated(getattr(owner, name)))


async def play(actors: list[Actor], script: list[tuple[int, bool]]) -> set[str]:
    """Let the actors go on one request at a time, in the order of the script; return who died."""
    dead: set[str] = set()
    steps = iter(script)
    turn = 0
    while True:
        for _ in range(SETTLED):
            await asyncio.sleep(0)
        if any(actor.in_progress for actor in actors):
            await asyncio.sleep(0.0005)
            continue
        asking = [actor for actor in actors if not actor.is_over and actor.asking]
        if not asking:
            if all(actor.is_over for actor in actors):
                for actor in actors:
                    if actor.name not in dead and actor.task is not None:
                        actor.task.result()
                return dead
            continue
        choice, dies = next(steps, (turn, False))
        turn += 1
        actor = asking[choice % len(asking)]
        if dies:
            dead.add(actor.name)
            assert actor.task is not None
            actor.task.cancel()
            await asyncio.wait([actor.task])
        else:
            actor.asking.pop(0).set_result(None)


def begin(name: str, coroutine: Any) -> Actor:
    actor = Actor(name)
    token = _actor.set(actor)
    actor.task = asyncio.get_running_loop().create_task(coroutine)
    _actor.reset(token)
    return actor


async def end_parent(connection: Connection, parent: Job[Any], state: JobState) -> None:
    """Do what the worker of a parent does: record the end first, then look for who waits."""
    record = JobRecord(state=state, job_id=parent.job_id, queue=parent.queue)
    await connection.publish_once(
        connection.names.result(parent.queue, parent.job_id), encode_record(record), {STATE: state.value}
    )
    await release(connection, record)


async def deliver_again(connection: Connection, parent: Job[Any], state: JobState) -> None:
    """Do what the next delivery of a parent leads to."""
    stored = await read_record(connection, parent.queue, parent.job_id)
    if stored is None:
        await end_parent(connection, parent, state)
    else:
        await release(connection, stored.record)


async def fire_timer(connection: Connection, child: Job[Any]) -> None:
    """Do what the server does when a waiting job's time has come, and the worker that gets it, until it waits no more."""
    message = await find_job(connection, child.job_id, child.queue)
    if message is None or state_of_subject(message.subject)[0] != "held" or WAITS not in message.headers:
        return
    names = connection.names
    ready = names.ready(child.queue, child.job_id)
    headers = {WAITS: "0", "Nats-Scheduler": message.subject, "Nats-Schedule-Next": "purge"}
    await connection.publish(ready, message.data, headers)
    found = await find_job(connection, child.job_id, child.queue)
    assert found is not None
    reply = f"$JS.ACK.{names.jobs_stream}.{names.consumer(child.queue)}.1.{found.sequence}.1.0.0"
    delivery = Delivery(connection, Acks(connection), ready, reply, found.data, found.raw_headers)
    assert delivery.looks == 0
    ended = await Finisher(connection, Keys(connection, "w", lambda *_: KeyRule(), lambda: None), lambda: None).look(
        delivery, decode_envelope(found.data)
    )
    if ended is True:
        return
    if isinstance(ended, JobRecord):
        await Settler(connection, Counters(), Backpressure(lambda: None), lambda *_: None, lambda _: False).end_unrun(
            delivery, ended, NO_OPTIONS
        )
        await release(connection, ended)
    await connection.api(f"STREAM.MSG.DELETE.{names.jobs_stream}", {"seq": found.sequence, "no_erase": True})  # acknowledged


async def times_ready(connection: Connection, child: Job[Any]) -> int:
    names = connection.names
    info = await connection.api(f"STREAM.INFO.{names.jobs_stream}", {"subjects_filter": names.ready(child.queue, child.job_id)})
    return sum((info["state"].get("subjects") or {}).values())


async def one_life(queue: Queue, ends: list[tuple[JobState, bool]], script: list[tuple[int, bool]], before: int) -> None:
    """Play one script, and look at what has become of a child and of the grandchild that was added with it."""
    connection = await queue.connection()
    parents = [await queue.enqueue(work.add, number) for number in range(len(ends))]
    pairs = list(zip(parents, ends, strict=True))
    for parent, (state, _) in pairs[:before]:
        await end_parent(connection, parent, state)
    depends_on = [Dependency(parent, allow_failure=lenient) for parent, (_, lenient) in pairs]
    child = queue.options(depends_on=depends_on).call(work.add, 1)
    grandchild = queue.options(depends_on=child).call(work.add, 1)
    actors = [begin("enqueuer", submit_many(connection, [child, grandchild]))]
    actors += [begin(parent.job_id, end_parent(connection, parent, state)) for parent, (state, _) in pairs[before:]]
    dead = await play(actors, script)
    for parent, (state, _) in pairs[before:]:
        if parent.job_id in dead:
            await deliver_again(connection, parent, state)
    is_stored = await find_job(connection, child.job_id, child.queue) is not None
    if "enqueuer" in dead:
        for job in (child, grandchild):
            await fire_timer(connection, job)
    if not is_stored:
        assert dead >= {"enqueuer"}
        assert await find_job(connection, grandchild.job_id) is None, "all or none"
        return
    if all(state is JobState.SUCCEEDED or lenient for state, lenient in ends):
        assert await place(connection, child) == "normal"
        assert await place(connection, grandchild) == "held"
        assert await times_ready(connection, child) == 1
        assert await child.record() is None
        return
    for job in (child, grandchild):
        assert await place(connection, job) == "kept"
        assert await times_ready(connection, job) == 0
        record = await job.record()
        assert record is not None
        assert record.state is JobState.CANCELLED
        assert record.reason.startswith("parent ")


async def place(connection: Connection, job: Job[Any]) -> str:
    message = await find_job(connection, job.job_id, job.queue)
    assert message is not None
    return state_of_subject(message.subject)[0]


ENDS = st.tuples(st.sampled_from([JobState.SUCCEEDED, JobState.SUCCEEDED, JobState.DEAD, JobState.CANCELLED]), st.booleans())
SCRIPT = st.lists(st.tuples(st.integers(0, 5), st.sampled_from([False] * 5 + [True])), max_size=50)


@short_and_long(120, 4_000)
def test_no_order_of_steps_leaves_a_child_waiting_or_releases_it_twice(form: int, naq_settings: Settings, gates: None) -> None:
    with asyncio.Runner() as runner:
        queue = Queue("default", settings=naq_settings)
        runner.run(queue.connection())

        @settings(
            max_examples=form,
            deadline=None,
            database=None,
            phases=[Phase.explicit, Phase.generate, Phase.shrink],
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        )
        @example([(JobState.DEAD, False)], [(0, False), (0, True)], 1)  # who adds it dies before looking at a failed parent
        @example([(JobState.SUCCEEDED, False)], [(0, False), (0, True)], 1)
        @example([(JobState.SUCCEEDED, False)] * 2, [(1, False), (0, False), (0, False), (0, True)], 0)
        @given(st.lists(ENDS, min_size=1, max_size=4), SCRIPT, st.integers(0, 2))
        def every_order(ends: list[tuple[JobState, bool]], script: list[tuple[int, bool]], before: int) -> None:
            async def bounded() -> None:
                async with asyncio.timeout(40):  # 50 abandoned batches are in the way of others for 10 s
                    await one_life(queue, ends, script, before)

            runner.run(bounded())

        try:
            every_order()
        finally:
            runner.run(queue.close())
