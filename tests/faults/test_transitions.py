"""Jobs of every fate on workers that die and stop, cancelled and put back by hand: every move of every record is in the table."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from nats.aio.msg import Msg

from naq_client import Queue
from naq_core import Connection, JobNotFoundError, JobState, JobStateError, Settings
from naq_core.manage import cancel_job, retry_job, set_queue_limit
from naq_core.record import FINAL
from naq_core.storage.subjects import PROGRESS, STATE
from naq_core.transitions import MOVES, TRANSITIONS
from tests.support import jobs
from tests.support.eventually import eventually
from tests.support.forms import short_and_long
from tests.support.history import History
from tests.support.observer import Observer
from tests.support.processes import Fleet

Move = tuple[JobState, JobState]

QUEUES = ("default", "limited")
QUEUED, HELD, RUNNING, RETRYING = JobState.QUEUED, JobState.HELD, JobState.RUNNING, JobState.RETRYING
SUCCEEDED, DEAD, CANCELLED, EXPIRED = JobState.SUCCEEDED, JobState.DEAD, JobState.CANCELLED, JobState.EXPIRED
CERTAIN: set[Move] = {
    (QUEUED, RUNNING),
    (QUEUED, EXPIRED),
    (RUNNING, SUCCEEDED),
    (RUNNING, RETRYING),
    (RUNNING, DEAD),
    (RUNNING, CANCELLED),
    (RETRYING, RUNNING),
    (DEAD, QUEUED),
    (CANCELLED, QUEUED),
}
"""What so many random jobs show for certain."""


class Scale(NamedTuple):
    """How much happens."""

    seed: int
    jobs: int
    faults: int
    """How many workers die or are stopped; ten jobs are cancelled or put back between two of them."""


@dataclass
class Trail:
    """The states that the records of jobs went through, as the server saw them stored."""

    states: dict[tuple[str, str], list[tuple[int, JobState]]] = field(default_factory=lambda: defaultdict(list))
    count: int = 0

    def note(self, message: Msg) -> None:
        headers = message.headers or {}
        if STATE in headers and PROGRESS not in headers:
            queue, job_id = message.subject.split(".")[-2:]
            self.states[queue, job_id].append((int(headers["Nats-Sequence"]), JobState(headers[STATE])))
            self.count += 1

    def last(self, key: tuple[str, str]) -> JobState | None:
        """Return the state of a job, None before its first record."""
        return max(self.states[key])[1] if key in self.states else None

    async def goes_on(self, keys: list[tuple[str, str]], changes: int) -> None:
        """Wait for so many more changes, or until nothing is left to change."""
        enough = self.count + changes

        def has_gone_on() -> None:
            states = {self.last(key) for key in keys}
            assert self.count >= enough or states <= FINAL, f"{self.count} changes, {states}"

        await eventually(has_gone_on, 30)

    def moves(self) -> set[Move]:
        """Return the moves between stored states. Before its first record a job is ready, whatever else it was."""
        return {
            move
            for states in self.states.values()
            for move in pairwise([QUEUED, *(state for _, state in sorted(states))])
            if move != (QUEUED, QUEUED)
        }


def is_allowed(move: Move) -> bool:
    """Return whether the table has a move. What the server moves from HELD to QUEUED or back shows in no record."""
    before, after = move
    unstarted = TRANSITIONS[QUEUED] | TRANSITIONS[HELD]
    return after in (unstarted if before in {QUEUED, HELD} else TRANSITIONS[before])


@asynccontextmanager
async def watching(observer: Observer) -> AsyncIterator[Trail]:
    """Collect what the server republishes of each record that is stored."""
    trail = Trail()

    async def note(message: Msg) -> None:
        trail.note(message)

    subscription = await observer.client.subscribe(f"{observer.names.namespace}.event.results.>", cb=note)
    await observer.client.flush()
    yield trail
    await observer.client.flush()
    await subscription.unsubscribe()


def options(rng: random.Random) -> dict[str, Any]:
    """Return how one job is enqueued."""
    found: dict[str, Any] = {"max_retries": rng.randint(0, 2), "retry_delay": rng.choice([0, 0, 0.05])}
    match rng.randrange(8):
        case 0:
            found |= {"delay": rng.uniform(0.1, 1.0)}
        case 1:
            found |= {"expires": rng.choice([0.01, 0.5])}
        case 2:
            found |= {"process": True}
        case _:
            pass
    return found


async def enqueue(queues: list[Queue], rng: random.Random, count: int) -> list[tuple[str, str]]:
    """Enqueue jobs of random kinds on both queues, some of which others wait for."""
    made: list[Any] = []
    for _ in range(count):
        chosen = options(rng)
        if made and "delay" not in chosen and rng.random() < 0.2:
            chosen["depends_on"] = [rng.choice(made)]
        function = jobs.take_a_chance_in_a_process if chosen.get("process") else jobs.take_a_chance
        made.append(await rng.choice(queues).options(**chosen).enqueue(function))
    return [(job.queue, job.job_id) for job in made]


async def meddle(connection: Connection, rng: random.Random, keys: list[tuple[str, str]], trail: Trail) -> None:
    """Cancel a job, whatever it is doing, or put one back that has ended badly, or have a retry now."""
    if rng.random() < 0.3:
        queue, job_id = rng.choice(keys)
        with suppress(JobNotFoundError):
            await cancel_job(connection, job_id, "by chance", queue=queue)
    elif waiting := [key for key in keys if trail.last(key) in {DEAD, CANCELLED, RETRYING}]:
        queue, job_id = rng.choice(waiting)
        with suppress(JobStateError, JobNotFoundError):
            await retry_job(connection, job_id, queue=queue)


async def all_ended(observer: Observer, keys: Iterable[tuple[str, str]]) -> None:
    records = await asyncio.gather(*(observer.record(*key) for key in keys))
    assert [record for record in records if record is None or not record.state.is_final] == []


@short_and_long(Scale(1, 100, 3), Scale(random.randrange(10**9), 1500, 40))
async def test_every_move_of_a_record_is_in_the_table(
    form: Scale, settings: Settings, history: History, observer: Observer, tmp_path: Path
) -> None:
    rng = random.Random(form.seed)
    hasty = replace(settings, shutdown_grace=timedelta(seconds=0.1))
    with Fleet(hasty, history, tmp_path) as fleet:
        async with Queue("default", settings=hasty) as default, Queue("limited", settings=hasty) as limited:
            connection = await default.connection()
            await set_queue_limit(connection, "limited", 3)
            async with watching(observer) as trail:
                for _ in range(2):
                    fleet.start(*QUEUES)
                keys = await enqueue([default, limited], rng, form.jobs)
                for step in range(form.faults * 10):
                    await trail.goes_on(keys, 3)
                    await meddle(connection, rng, keys, trail)
                    if step % 10 == 9:
                        worker = rng.choice(fleet.alive())
                        worker.kill() if step % 20 == 9 else worker.terminate()
                        fleet.start(*QUEUES)
                await eventually(lambda: all_ended(observer, keys), 60, interval=0.2)
                for queue, job_id in [key for key in keys if trail.last(key) in {DEAD, CANCELLED}]:  # chance may have spared them
                    with suppress(JobStateError, JobNotFoundError):
                        await retry_job(connection, job_id, queue=queue)
                await eventually(lambda: all_ended(observer, keys), 60, interval=0.2)
    moves = trail.moves()
    print(f"seed {form.seed}: {len(moves)} of {len(MOVES)} moves, not seen: {sorted(set(MOVES) - moves)}")
    assert {move for move in moves if not is_allowed(move)} == set()
    assert CERTAIN - moves == set()
