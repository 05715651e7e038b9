"""Jobs with a key: how fast they drain beside plain ones, how soon the next one starts, and whether keys wait for each other."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import pairwise

from naq_cli.bench.measures import percentile
from naq_client import Queue, QueuePolicy
from tests.benchmarks import jobs
from tests.benchmarks.lab import QUEUE, Lab, Namespace, until

DRAIN = 20_000
SHAPES = ((1000, 1), (10, 10))
"""Keys, and how many jobs of each may run at once."""
WORKERS = (1, 2)
DEPTHS = (1_000, 100_000)
"""Jobs of one key that wait while another key's jobs come; and the number of `--size`."""
FIRSTS = 30
MANY_KEYS = 100_000
PART = 10_000
LATE_RATE = 20
LATE_JOBS = 200
ENQUEUES = 2_000


async def keys(lab: Lab) -> None:
    """Work off 20,000 no-op jobs with and without keys, by one and by two workers."""
    for workers in WORKERS:
        plain = await _drain(lab, lambda slot: None, 1, workers)
        for count, limit in SHAPES:
            rate = await _drain(lab, partial(_one_of, count), limit, workers)
            name = f"drain, {count:,} keys, {limit} of each at once, {workers} worker{'s' if workers > 1 else ''}"
            lab.results.add(name, "jobs/s", rate, plain, "the same jobs without keys")
    await _enqueue(lab)


def _one_of(count: int, slot: int) -> str:
    return f"key-{slot % count}"


async def keys_apart(lab: Lab) -> None:
    """Let many jobs of one key wait, and run the first job of another key; and work off one job of each of 100,000 keys."""
    for depth in sorted({*DEPTHS, lab.size}):
        await _beside(lab, depth)
    rate = await _drain(lab, lambda slot: f"key-{slot}", 1, 1, MANY_KEYS)
    lab.results.add(f"drain, one job of each of {MANY_KEYS:,} keys", "jobs/s", rate)


async def rates(lab: Lab) -> None:
    """Work off no-op jobs under a rate that is not reached, and measure by how much starts are later than a rate allows."""
    plain = await _drain(lab, lambda slot: None, 1, 1)
    rate = await _drain(lab, lambda slot: None, 1, 1, policy=QueuePolicy(rate="10000/s", burst=500))
    lab.results.add("drain, a rate that is not reached", "jobs/s", rate, plain, "the same jobs without a rate")
    async with Namespace(lab) as space, Queue(QUEUE, settings=space.settings) as queue:
        await queue.set_policy(QueuePolicy(key_rate=f"{LATE_RATE}/s", key_burst=1, key_limit=20))
        found = await queue.enqueue_many(queue.options(key="one").call(time.time) for _ in range(LATE_JOBS))
        with lab.worker(space.settings):
            starts = sorted([await job.result(timeout=120) for job in found])
    late = [1e3 * (after - before - 1 / LATE_RATE) for before, after in pairwise(starts)]
    lab.results.add(f"{LATE_RATE} a second, one at once: start after it was allowed, median", "ms", statistics.median(late))
    lab.results.add(f"{LATE_RATE} a second, one at once: start after it was allowed, p99", "ms", percentile(late, 0.99))


async def _drain(
    lab: Lab, key: Callable[[int], str | None], limit: int, workers: int, count: int = DRAIN, policy: QueuePolicy | None = None
) -> float:
    stamps = lab.stamps(count)
    async with Namespace(lab) as space:
        async with Queue(QUEUE, settings=space.settings) as queue:
            await queue.set_policy(policy or QueuePolicy(key_limit=limit))
            for start in range(0, count, PART):
                calls = [queue.options(key=key(slot)).call(jobs.noop, slot) for slot in range(start, min(count, start + PART))]
                await queue.enqueue_many(calls)
        if workers == 1:
            with lab.worker(space.settings):
                await until(lambda: stamps.count() >= count, "drain")
        else:
            with lab.worker(space.settings), lab.worker(space.settings):
                await until(lambda: stamps.count() >= count, "drain")
    assert not stamps.extra_runs()
    return stamps.rate()


async def _enqueue(lab: Lab) -> None:
    """Enqueue one after the other, while nobody works: without keys, to one key, to many keys."""

    async def rate(enqueue: Callable[[int], Awaitable[object]]) -> float:
        began = time.perf_counter()
        for number in range(ENQUEUES):
            await enqueue(number)
        return ENQUEUES / (time.perf_counter() - began)

    async with Namespace(lab) as space, Queue(QUEUE, settings=space.settings) as queue:
        plain = await rate(lambda number: queue.enqueue(jobs.answer, number))
        one = await rate(lambda number: queue.options(key="one").enqueue(jobs.answer, number))
        many = await rate(lambda number: queue.options(key=f"key-{number}").enqueue(jobs.answer, number))
    for name, value in (("one key", one), ("a new key each", many)):
        lab.results.add(f"enqueue one after the other, {name}", "jobs/s", value, plain, "without keys")


async def _beside(lab: Lab, depth: int) -> None:
    """Measure from the enqueue of another key's first job to its result, with so many jobs of one key waiting."""
    async with Namespace(lab) as space, Queue(QUEUE, settings=space.settings) as queue:
        took: list[float] = []
        for start in range(0, depth, PART):
            await queue.enqueue_many(queue.options(key="big").call(asyncio.sleep, 0.01) for _ in range(min(PART, depth - start)))
        with lab.worker(space.settings):
            await (await queue.options(key="warm").enqueue(jobs.answer, 1)).result(timeout=60)
            for number in range(FIRSTS):
                began = time.perf_counter()
                job = await queue.options(key=f"small-{number}").enqueue(jobs.answer, 1)
                await job.result(timeout=60)
                took.append(1e3 * (time.perf_counter() - began))
                await asyncio.sleep(0.05)
    lab.results.add(f"{depth:,} jobs of a key wait: first job of another, median", "ms", statistics.median(took))
    lab.results.add(f"{depth:,} jobs of a key wait: first job of another, p99", "ms", percentile(took, 0.99))
