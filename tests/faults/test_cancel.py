"""Cancelling under load, while workers and the server die."""

from __future__ import annotations

import asyncio
import dataclasses
import random
from collections import Counter
from pathlib import Path

from naq_client import Queue
from naq_core import BrokerError, CancelOutcome, JobState, Settings
from naq_core.server import EmbeddedServer
from tests.support import jobs
from tests.support.eventually import eventually
from tests.support.forms import short_and_long
from tests.support.history import History, boottime
from tests.support.load import Load
from tests.support.processes import Fleet

MARGIN = 0.005
"""Seconds by which the stamps of two processes may be late."""


class Cancelling:
    """Cancels jobs at random moments of their lives, and keeps what was answered."""

    def __init__(self, load: Load, rng: random.Random) -> None:
        self.load = load
        self.rng = rng
        self.answers: dict[str, tuple[CancelOutcome, float]] = {}

    async def one(self) -> None:
        """Enqueue a job, wait a moment, and cancel it; sometimes a second time at once."""
        job_id = await self.load.enqueue(jobs.work, self.rng.uniform(0.0, 0.3))
        await asyncio.sleep(self.rng.uniform(0.0, 0.3))
        if self.rng.random() < 0.2:
            await asyncio.gather(self.cancel(job_id), self.cancel(job_id))
        else:
            await self.cancel(job_id)

    async def cancel(self, job_id: str) -> None:
        """Cancel one, again while it is unknown whether it was."""
        while True:
            try:
                outcome = await self.load.queue.cancel(job_id)
            except BrokerError:
                await asyncio.sleep(0.05)
                continue
            if outcome is not CancelOutcome.ALREADY_ENDED:
                self.answers[job_id] = (outcome, boottime())
            return

    async def many(self, count: int) -> None:
        """So many, a few at a time."""
        room = asyncio.Semaphore(12)

        async def bounded() -> None:
            async with room:
                await self.one()

        await asyncio.gather(*(bounded() for _ in range(count)))

    def check(self, history: History, states: dict[str, JobState]) -> Counter[str]:
        """Hold what happened against what was answered.

        Raises:
            AssertionError: Something ran after a cancel, or a cancelled job ended otherwise.
        """
        starts: dict[str, list[float]] = {}
        for event in history.events("start"):
            starts.setdefault(event.job, []).append(event.at)
        for job_id, (_, answered_at) in self.answers.items():
            assert states[job_id] is JobState.CANCELLED, job_id
            late = [at for at in starts.get(job_id, ()) if at > answered_at + MARGIN]
            assert not late, f"{job_id} started {late[0] - answered_at:.3f} s after it was cancelled"
        for job_id in self.load.accepted:
            if job_id not in self.answers:
                assert states[job_id] in {JobState.SUCCEEDED, JobState.CANCELLED}, (job_id, states[job_id])
        return Counter(str(outcome) for outcome, _ in self.answers.values())


@short_and_long(150, 3000)
async def test_nothing_runs_after_a_cancel_and_nothing_is_lost_while_workers_are_killed(
    form: int, fleet: Fleet, load: Load, history: History, settings: Settings
) -> None:
    few_slots = dataclasses.replace(settings, concurrency=2)
    for _ in range(3):
        fleet.start(settings=few_slots)
    await load.enqueue(jobs.work)
    await load.finish(15)
    cancelling = Cancelling(load, random.Random(6))
    work = asyncio.create_task(cancelling.many(form))
    while not work.done():
        await asyncio.sleep(0.8)
        if not work.done():
            cancelling.rng.choice(fleet.alive()).kill(history)
            fleet.start(settings=few_slots)
    await work
    records = await load.finish(40)
    found = cancelling.check(history, {job_id: record.state for job_id, record in records.items()})
    assert {"before_start", "while_running"} <= found.keys(), found


@short_and_long(150, 3000)
async def test_nothing_runs_after_a_cancel_and_nothing_is_lost_while_the_server_is_killed(
    form: int, own_fleet: Fleet, own_load: Load, own_server: EmbeddedServer, own_settings: Settings, history: History
) -> None:
    for _ in range(2):
        own_fleet.start(settings=dataclasses.replace(own_settings, concurrency=2))
    await own_load.enqueue(jobs.work)
    await own_load.finish(15)
    cancelling = Cancelling(own_load, random.Random(8))
    work = asyncio.create_task(cancelling.many(form))
    while not work.done():
        await asyncio.sleep(1)
        if not work.done():
            own_server.kill()
            own_server.restart()
    await work
    records = await own_load.finish(40)
    found = cancelling.check(history, {job_id: record.state for job_id, record in records.items()})
    assert {"before_start", "while_running"} <= found.keys(), found


async def test_a_job_cancelled_while_its_worker_is_cut_off_is_stopped_when_the_server_is_back(
    own_fleet: Fleet, own_settings: Settings, own_server: EmbeddedServer, history: History, tmp_path: Path
) -> None:
    """The worker hears of it by looking, as the request went nowhere."""
    worker = own_fleet.start()
    async with Queue("default", settings=own_settings) as queue:
        job = await queue.enqueue(jobs.work, 60)

        def has_started() -> None:
            assert history.events("start", job.job_id), worker.output()

        await eventually(has_started, 15)
        worker.freeze()
        try:
            cancelled = asyncio.create_task(job.cancel())

            async def is_cancelled() -> None:
                assert await job.status() == JobState.CANCELLED

            await eventually(is_cancelled)
            own_server.kill()
        finally:
            worker.thaw()
        own_server.restart()
        assert await cancelled is CancelOutcome.WHILE_RUNNING

        def has_ended() -> None:
            assert [event.fields["outcome"] for event in history.events("end", job.job_id)] == ["cancelled"], worker.output()

        await eventually(has_ended, 15)
