"""F14: a parent ends while its child is being added; neither is a child left waiting, nor released twice."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import Any

from naq_client import Job, Queue, gather
from naq_core import JobCancelledError, JobState, Settings
from naq_core.transport.streams import read_last
from tests.support import jobs
from tests.support.eventually import eventually
from tests.support.forms import short_and_long
from tests.support.history import History
from tests.support.processes import Fleet

AT_ONCE = 20


async def race(queue: Queue, rng: random.Random, *, fails: bool) -> tuple[Job[Any], Job[int]]:
    """Enqueue a parent, and its child about when the parent ends."""
    parent: Job[Any] = await queue.enqueue(jobs.fail_loudly, 3) if fails else await queue.enqueue(jobs.work)
    await asyncio.sleep(rng.uniform(0, 0.006))
    return parent, await queue.options(depends_on=parent).enqueue(jobs.work)


@short_and_long(400, 10_000)
async def test_parents_that_end_while_children_are_added(form: int, fleet: Fleet, settings: Settings, history: History) -> None:
    rng = random.Random(14)
    for _ in range(2):
        fleet.start()
    room = asyncio.Semaphore(AT_ONCE)
    async with Queue("default", settings=settings) as queue:

        async def one(number: int) -> tuple[Job[Any], Job[int]]:
            async with room:
                pair = await race(queue, rng, fails=number % 4 == 3)
                await gather(pair[1], timeout=60, return_exceptions=True)
                return pair

        pairs = await asyncio.gather(*(one(number) for number in range(form)))
        ends = await gather(*(child for _, child in pairs), timeout=60, return_exceptions=True)
        states = Counter(type(end).__name__ for end in ends)
        assert states == {"int": form - form // 4, "JobCancelledError": form // 4}
        assert all(isinstance(end, JobCancelledError) == (number % 4 == 3) for number, end in enumerate(ends))
        events = history.events()
        starts = Counter(event.fields["job"] for event in events if event.kind == "start")
        ended = {event.fields["job"]: event.at for event in events if event.kind == "end"}
        begun = {event.fields["job"]: event.at for event in events if event.kind == "start"}
        for number, (parent, child) in enumerate(pairs):
            if number % 4 != 3:
                assert (starts[parent.job_id], starts[child.job_id]) == (1, 1)
                assert ended[parent.job_id] <= begun[child.job_id]
            else:
                assert starts[child.job_id] == 0
        connection = await queue.connection()

        async def nothing_is_left() -> None:
            assert await read_last(connection, connection.names.jobs_stream, f"{connection.names.edges}.>") is None

        await eventually(nothing_is_left)


@short_and_long(6, 60)
async def test_chains_and_joins_survive_killed_workers(form: int, fleet: Fleet, settings: Settings, history: History) -> None:
    """What a killed worker left between a parent's end and its children is done at the parent's next delivery."""
    rng = random.Random(41)
    for _ in range(3):
        fleet.start()
    async with Queue("default", settings=settings) as queue:
        flows = []
        for _ in range(form * 4):
            root = queue.call(jobs.work, 0.01)
            sides = [queue.options(depends_on=root).call(jobs.work, rng.uniform(0, 0.05)) for _ in range(5)]
            last = queue.options(depends_on=sides).call(jobs.work)
            flows.append([root, *sides, last])
            await queue.enqueue_many(flows[-1])
        for _ in range(form):
            await asyncio.sleep(0.3)
            rng.choice(fleet.alive()).kill(history)
            fleet.start()
        every = [job for flow in flows for job in flow]
        await gather(*every, timeout=55)
        begun: dict[str, float] = {}
        ended: dict[str, float] = {}
        for event in history.events():
            if event.kind == "start":
                begun.setdefault(event.fields["job"], event.at)
            elif event.kind == "end":
                ended.setdefault(event.fields["job"], event.at)
        for root, *sides, last in flows:
            for side in sides:
                assert ended[root.job_id] <= begun[side.job_id]
                assert ended[side.job_id] <= begun[last.job_id]
            assert await last.status() == JobState.SUCCEEDED
