"""Rates while workers and the server die, and while a worker's clock is wrong: never more starts than allowed, and none stuck."""

from __future__ import annotations

import asyncio
import dataclasses
import random
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from naq_core import QueuePolicy, Settings
from naq_core.manage import set_queue_policy
from naq_core.rates import Rate
from naq_core.server import EmbeddedServer
from tests.faults.test_workers import busy_workers
from tests.support import jobs
from tests.support.checker import Limits, verify
from tests.support.clocks import WrongClock
from tests.support.eventually import eventually
from tests.support.forms import short_and_long
from tests.support.history import Event, History
from tests.support.load import Load
from tests.support.processes import Fleet

LATE = 1.0
"""Seconds: a token is taken a moment before the function begins, which on a busy machine is not a short one."""
KEYS = ("customer-1", "customer-2")


def check_rate(events: Sequence[Event], job_ids: Sequence[str], rate: Rate) -> None:
    """Hold all starts of jobs, retries and repetitions included, against their rate, in each window."""
    wanted = set(job_ids)
    starts = sorted(event.at for event in events if event.kind == "start" and event.job in wanted)
    for first, begin in enumerate(starts):
        for last in range(first, len(starts)):
            most = rate.burst + rate.per_second * (starts[last] - begin + LATE)
            assert last - first + 1 <= most, f"{last - first + 1} starts in {starts[last] - begin:.2f} s"


async def enqueue(load: Load, count: int, rng: random.Random) -> dict[str, list[str]]:
    """Enqueue jobs of two keys and without one, in turn."""
    accepted: dict[str, list[str]] = {key: [] for key in (*KEYS, "")}
    for number in range(count):
        key = ("", *KEYS)[number % 3]
        options = {"key": key} if key else {}
        accepted[key].append(await load.enqueue(jobs.work, rng.uniform(0.0, 0.3), **options))
    return accepted


def check(history: History, accepted: dict[str, list[str]], rate: Rate, key_rate: Rate, limits: Limits) -> None:
    events = history.events()
    check_rate(events, [job_id for job_ids in accepted.values() for job_id in job_ids], rate)
    for key in KEYS:
        check_rate(events, accepted[key], key_rate)
    verify(events, limits)


async def ended(history: History, count: int) -> None:
    found = len({event.job for event in history.events() if event.kind == "end"})
    assert found >= count, found


@short_and_long(3, 40)
async def test_killed_workers_and_wrong_clocks_do_not_exceed_a_rate(
    form: int, fleet: Fleet, load: Load, history: History, settings: Settings, tmp_path: Path
) -> None:
    rng = random.Random(10)
    policy = QueuePolicy(rate="12/s", burst=3, key_rate="3/s", key_burst=1, key_limit=4)
    rate, key_rate = policy.rates
    assert rate is not None
    assert key_rate is not None
    await set_queue_policy(await load.queue.connection(), "default", policy)
    patient = dataclasses.replace(settings, max_crashes=100)
    for shift in (3600.0, -3600.0):
        fleet.start(settings=patient, clock=WrongClock(tmp_path / f"clock{shift:+.0f}", shift))
    accepted = await enqueue(load, 15 * form, rng)
    for _ in range(form):
        victim = rng.choice(await eventually(lambda: busy_workers(history, fleet), 30))
        victim.kill(history)
        fleet.start(settings=patient)
        await asyncio.sleep(0.8)
    await load.finish(90)
    lease = settings.ack_wait.total_seconds()
    check(history, accepted, rate, key_rate, Limits(lease=lease + settings.worker_ttl.total_seconds(), drain=90))


@short_and_long(2, 20)
async def test_a_killed_server_delivers_the_bell_that_a_rate_waits_for(
    form: int, own_fleet: Fleet, own_load: Load, own_server: EmbeddedServer, history: History
) -> None:
    rng = random.Random(11)
    policy = QueuePolicy(rate="8/s", burst=2, key_rate="3/s", key_burst=1, key_limit=4)
    rate, key_rate = policy.rates
    assert rate is not None
    assert key_rate is not None
    await set_queue_policy(await own_load.queue.connection(), "default", policy)
    for _ in range(2):
        own_fleet.start()
    accepted = await enqueue(own_load, 12 * form, rng)
    for number in range(form):
        await eventually(partial(ended, history, 3 * (number + 1)), 30)
        with history.fault("server"):
            own_server.kill()
            own_server.restart()
    await own_load.finish(90)
    check(history, accepted, rate, key_rate, Limits(drain=90))
