"""F16: schedulers die, freeze, start together and lose the server, and every time of every schedule makes one job."""

from __future__ import annotations

import asyncio
import os
import random
import re
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from naq_client import Queue, Schedule
from naq_core import Settings
from naq_core.schedules import firing_id
from naq_core.schedules.firing import enqueue_firing
from naq_core.server import EmbeddedServer
from naq_scheduler import Scheduler
from tests.support import jobs
from tests.support.checker import Limits, verify
from tests.support.eventually import eventually
from tests.support.history import History
from tests.support.processes import Fleet, WorkerProcess

LONG = [pytest.mark.slow, pytest.mark.timeout(300)]
TTL = 3
SOON = timedelta(seconds=1)
INTERVALS = (0.25, 0.5, 1.0)


class Clockwork:
    """Schedules of which it is known what they must have done in the end."""

    def __init__(self, queue: Queue, history: History) -> None:
        self.queue = queue
        self.history = history
        self.schedules: list[Schedule] = []
        self._start = datetime.now(UTC) + SOON

    async def wind(self) -> None:
        """Make the schedules; they run until `stop`."""
        for number, interval in enumerate(INTERVALS):
            self.schedules.append(
                await self.queue.schedule(jobs.work, interval=interval, start_at=self._start, schedule_id=f"s{number}", grace=300)
            )

    async def finish(self, within: float) -> None:
        """Let the schedules end a second from now, wait until they have, and have the history judged."""
        end = datetime.now(UTC) + SOON
        for schedule in self.schedules:
            await schedule.update(end_at=end)

        async def all_fired() -> None:
            for schedule in self.schedules:
                assert (await schedule.refresh()).next_at is None, schedule.view

        await eventually(all_fired, within)
        for schedule, interval in zip(self.schedules, INTERVALS, strict=True):
            # Where the update took longer than a second, later times had fired before it: those were due as well.
            last = max(end, schedule.view.last_at or end)
            for number in range(int((last - self._start).total_seconds() / interval) + 1):
                at = self._start + number * timedelta(seconds=interval)
                self.history.record("due", job=firing_id(schedule.schedule_id, at))
        expected = {event.job for event in self.history.events("due")}

        def all_have_run() -> None:
            assert not expected - {event.job for event in self.history.events("end")}

        await eventually(all_have_run, within)
        assert sum(schedule.view.runs for schedule in self.schedules) == len(expected)
        assert sum(schedule.view.missed for schedule in self.schedules) == 0
        self.history.record("drained")
        verify(self.history.events(), Limits(lease=4))

    async def fires(self, within: float = 15) -> float:
        """Wait until something new has fired, and return how many seconds that took."""
        began = time.monotonic()
        seen = len(self.history.events("start"))

        def more() -> None:
            assert len(self.history.events("start")) > seen

        await eventually(more, within)
        return time.monotonic() - began


@pytest.fixture
def ttl() -> int:
    """Give the time to live of a leader's lease, in seconds."""
    return TTL


@pytest.fixture
def own_settings(own_server: EmbeddedServer, namespace: str, ttl: int) -> Settings:
    return Settings.load(
        nats_url=own_server.url, namespace=namespace, scheduler_ttl=ttl, ack_wait=2, worker_ttl=2, heartbeat_interval=0.5
    )


@pytest.fixture
async def clockwork(own_settings: Settings, history: History, own_fleet: Fleet) -> AsyncIterator[Clockwork]:
    own_fleet.start()
    async with Queue("default", settings=own_settings) as queue:
        made = Clockwork(queue, history)
        await made.wind()
        yield made


LEADERSHIP = re.compile(r"is the leader|is no longer the leader|does not lead")


async def leader_of(schedulers: list[WorkerProcess], within: float = 15) -> WorkerProcess:
    """Return the scheduler that leads, by what each has said last."""

    def found() -> WorkerProcess:
        leaders = [
            each
            for each in schedulers
            if each.is_alive and (said := LEADERSHIP.findall(each.output())) and said[-1] == "is the leader"
        ]
        assert len(leaders) == 1, [each.output()[-300:] for each in schedulers]
        return leaders[0]

    return await eventually(found, within)


@pytest.mark.parametrize("kills", [2, pytest.param(15, marks=LONG)])
async def test_three_schedulers_started_at_once_of_which_the_leader_is_killed_again_and_again(
    kills: int, clockwork: Clockwork, own_fleet: Fleet, history: History
) -> None:
    schedulers = [own_fleet.start_scheduler() for _ in range(3)]
    await clockwork.fires()
    for _ in range(kills):
        leader = await leader_of(schedulers)
        leader.kill(history)
        schedulers.remove(leader)
        schedulers.append(own_fleet.start_scheduler())
        await clockwork.fires(within=TTL + TTL / 3 + 2)
    await clockwork.finish(15)


@pytest.mark.parametrize("seconds", [2 * TTL, pytest.param(60, marks=LONG)])
async def test_a_leader_that_is_frozen_and_goes_on_later(
    seconds: float, clockwork: Clockwork, own_fleet: Fleet, history: History
) -> None:
    schedulers = [own_fleet.start_scheduler() for _ in range(2)]
    leader = await leader_of(schedulers)
    await clockwork.fires()
    leader.freeze()
    thawed_at = time.monotonic() + seconds
    took = await clockwork.fires()
    print(f"take-over after a freeze: {took:.2f} s")
    await asyncio.sleep(thawed_at - time.monotonic())
    leader.thaw(history)
    assert await leader_of(schedulers) is not leader
    await clockwork.fires()
    await clockwork.finish(15)


async def test_a_leader_paused_between_its_last_look_and_the_publish(
    own_settings: Settings, clockwork: Clockwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lease cannot help here: the old leader has seen that it leads, and acts when another one does."""
    gate, waiting = asyncio.Event(), asyncio.Event()
    paused: Scheduler | None = None

    async def paused_publish(connection: Any, *args: Any, **kwargs: Any) -> bool:
        if paused is not None and connection is paused._connection:
            waiting.set()
            await gate.wait()
            kwargs.pop("deadline", None)  # its clock stood still
        return await enqueue_firing(connection, *args, **kwargs)

    monkeypatch.setattr("naq_scheduler._fire.enqueue_firing", paused_publish)
    async with running(own_settings) as old:
        await becomes_leader(old)
        await clockwork.fires()
        paused = old
        await waiting.wait()
        lease = old._lease
        assert lease is not None
        monkeypatch.setattr(lease, "_write", _never)  # nor does it renew
        async with running(own_settings) as new:
            await becomes_leader(new, TTL * 2)
            await clockwork.fires()
            gate.set()
            await clockwork.fires()
            await clockwork.fires()

            def fires() -> None:  # what started above may have been the old one's
                assert new.metrics.count("fired") > 0

            await eventually(fires)
            await clockwork.finish(15)


async def _never(*_: Any) -> None:
    return


async def becomes_leader(scheduler: Scheduler, within: float = 10) -> None:
    def leads() -> None:
        assert scheduler.is_leader

    await eventually(leads, within)


@asynccontextmanager
async def running(settings: Settings) -> AsyncIterator[Scheduler]:
    scheduler = Scheduler(settings=settings)
    task = asyncio.create_task(scheduler.run())
    try:
        yield scheduler
    finally:
        scheduler.stop()
        await task


@pytest.mark.parametrize("kills", [2, pytest.param(15, marks=LONG)])
async def test_the_server_is_killed_and_comes_back(
    kills: int, own_server: EmbeddedServer, clockwork: Clockwork, own_fleet: Fleet, history: History
) -> None:
    for _ in range(2):
        own_fleet.start_scheduler()
    rng = random.Random(16)
    await clockwork.fires()
    for _ in range(kills):
        await asyncio.sleep(rng.uniform(0.2, 1.5))
        with history.fault("server kill"):
            await asyncio.to_thread(own_server.kill)
            await asyncio.to_thread(own_server.restart)
        await clockwork.fires(20)
    await clockwork.finish(20)


@pytest.mark.parametrize("seconds", [2 * TTL, pytest.param(30, marks=LONG)])
async def test_nobody_can_renew_the_lease_for_a_while(
    seconds: float, own_server: EmbeddedServer, clockwork: Clockwork, own_fleet: Fleet, history: History
) -> None:
    schedulers = [own_fleet.start_scheduler() for _ in range(2)]
    await clockwork.fires()
    pid = own_server.pid
    assert pid is not None
    with history.fault("server frozen"):
        os.kill(pid, signal.SIGSTOP)
        await asyncio.sleep(seconds)
        os.kill(pid, signal.SIGCONT)
    took = await clockwork.fires(20)
    print(f"fires again after {took:.2f} s")
    await leader_of(schedulers)
    await clockwork.finish(20)


async def test_the_lease_bucket_is_deleted(clockwork: Clockwork, own_fleet: Fleet) -> None:
    schedulers = [own_fleet.start_scheduler() for _ in range(2)]
    await clockwork.fires()
    connection = await clockwork.queue.connection()
    await connection.api(f"STREAM.DELETE.{connection.names.leases_stream}")
    await asyncio.sleep(TTL)
    await clockwork.fires(20)
    await leader_of(schedulers)
    await clockwork.finish(20)


@pytest.mark.parametrize("ttl", [60])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_leader_that_is_asked_to_stop_hands_over_within_a_second(
    number: signal.Signals, ttl: int, clockwork: Clockwork, own_fleet: Fleet
) -> None:
    schedulers = [own_fleet.start_scheduler() for _ in range(2)]
    leader = await leader_of(schedulers)
    other = next(each for each in schedulers if each is not leader)

    def follows() -> None:
        assert "started at" in other.output()

    await eventually(follows)
    await clockwork.fires()
    began = time.monotonic()
    leader.process.send_signal(number)

    def leads() -> float:
        assert "is the leader" in other.output()
        return time.monotonic() - began

    took = await eventually(leads, 10)
    print(f"handed over in {took:.3f} s")
    assert await leader.ended(10) == 0
    await clockwork.finish(15)
    assert took < ttl / 2  # not because the lease has ended
