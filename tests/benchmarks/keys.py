"""Jobs with a key: how fast they drain beside plain ones, how soon the next one starts, and whether keys wait for each other."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from naq_cli.bench.measures import percentile
from naq_client import Queue, QueuePolicy
from tests.benchmarks import jobs
from tests.benchmarks.lab import LIMIT, QUEUE, Lab, Namespace, until

DRAIN = 20_000
SHAPES = ((200, 1), (10, 10))
"""Keys, and how many jobs of each may run at once."""
WORKERS = (1, 2)
DEPTHS = (1_000, 100_000)
"""Jobs of one key that wait while another key's jobs come; and the number of `--size`."""
FIRSTS = 100
MANY_KEYS = 100_000
SLOWEST = 100
"""Jobs a second: with fewer a drain is given up."""
PART = 10_000
BUSY_KEYS = 10
NEXT_JOBS = 600
ENQUEUES = 2_000
_ONE_OF_A_KEY = QueuePolicy()


async def keys(lab: Lab) -> None:
    """Work off 20,000 no-op jobs with and without keys, by one and by two workers."""
    for workers in WORKERS:
        plain = await drain_of(lab, lambda slot: None, workers=workers)
        for count, limit in SHAPES:
            rate = await drain_of(lab, partial(_one_of, count), QueuePolicy(key_limit=limit), workers=workers)
            name = f"drain, {count:,} keys, {limit} of each at once, {workers} worker{'s' if workers > 1 else ''}"
            lab.results.add(name, "jobs/s", rate, plain, "the same jobs without keys")
    await _enqueue(lab)


def _one_of(count: int, slot: int) -> str:
    return f"key-{slot % count}"


async def start_latency(lab: Lab) -> None:
    """Measure from the end of a job to the start of the next one of its key: ten keys, one job of 50 ms of each at once."""
    stamps = lab.stamps(NEXT_JOBS)
    async with Namespace(lab) as space, Queue(QUEUE, settings=space.settings) as queue:
        await queue.enqueue_many(queue.options(key=f"key-{slot % BUSY_KEYS}").call(jobs.sleep, slot) for slot in range(NEXT_JOBS))
        with lab.worker(space.settings):
            await until(lambda: stamps.count() >= NEXT_JOBS, "jobs with keys")
    late = [1e3 * (stamps.start[slot] - stamps.end[slot - BUSY_KEYS]) for slot in range(BUSY_KEYS, NEXT_JOBS)]
    for share, name in ((0.5, "p50"), (0.99, "p99")):
        lab.results.add(f"next job of a key, start after it was allowed, {name}", "ms", percentile(late, share))


async def fairness(lab: Lab) -> None:
    """Let 1,000, 100,000 and `--size` jobs of one key wait, and run the first job of another key."""
    floor = await _beside(lab, 0)
    for depth in sorted({*DEPTHS, lab.size}):
        found = await _beside(lab, depth)
        for (name, value), alone in zip(found.items(), floor.values(), strict=True):
            lab.results.add(f"{depth:,} jobs of a key wait: first job of another, {name}", "ms", value, alone, "none waits")


async def many_keys(lab: Lab) -> None:
    """Work off one job of each of 100,000 keys."""
    rate = await drain_of(lab, lambda slot: f"key-{slot}", count=MANY_KEYS)
    lab.results.add(f"drain, one job of each of {MANY_KEYS:,} keys", "jobs/s", rate)


async def drain_of(
    lab: Lab,
    key: Callable[[int], str | None],
    policy: QueuePolicy = _ONE_OF_A_KEY,
    *,
    workers: int = 1,
    count: int = DRAIN,
    function: Callable[[int], Any] = jobs.noop,
) -> float:
    """Work off no-op jobs with these keys, and return how many ran in a second."""
    stamps = lab.stamps(count)
    async with Namespace(lab) as space:
        async with Queue(QUEUE, settings=space.settings) as queue:
            await queue.set_policy(policy)
            for start in range(0, count, PART):
                calls = [queue.options(key=key(slot)).call(function, slot) for slot in range(start, min(count, start + PART))]
                await queue.enqueue_many(calls)
        with lab.workers(space.settings, workers):
            await until(lambda: stamps.count() >= count, "drain", limit=max(LIMIT, count / SLOWEST))
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


async def _beside(lab: Lab, depth: int) -> dict[str, float]:
    """Measure in milliseconds from the enqueue of another key's first job to its result, with so many jobs of one key waiting."""
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
    return {"p50": percentile(took, 0.5), "p99": percentile(took, 0.99)}
