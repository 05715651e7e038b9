"""What `naq bench` measures: each function is one repetition, in a namespace of its own."""

import asyncio
import math
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from naq_cli.bench import jobs
from naq_cli.bench.lab import QUEUE, Workers, until_all
from naq_cli.bench.stamps import Stamps
from naq_core.connection import Connection
from naq_core.enqueue.submit import submit_many, submit_on
from naq_core.job import Job
from naq_core.storage.topology import ensure_queue

_ROUNDS = 20
"""How many jobs each slot sleeps, one after the other."""
_FIRST_SECONDS = 60.0
_PAUSE_SECONDS = 0.002
"""Between two round trips, so that the worker is idle at each."""


class Size(NamedTuple):
    """The size of a measurement."""

    jobs: int
    concurrency: int
    """Of each worker."""
    workers: int


class Value(NamedTuple):
    """One measured figure."""

    figure: str
    unit: str
    value: float
    jobs: int
    """How many jobs it was measured with."""
    ideal: float | None = None
    """What could be reached at best, where that is known."""


async def enqueue(plan: Size, connection: Connection) -> list[Value]:
    """Enqueue jobs in one call, and then a tenth as many one after the other; no worker runs."""
    await ensure_queue(connection, QUEUE)
    began = time.perf_counter()
    await submit_many(connection, _calls(connection, jobs.noop, plan.jobs))
    together = plan.jobs / (time.perf_counter() - began)
    few = max(1, plan.jobs // 10)
    began = time.perf_counter()
    for number in range(few):
        await submit_on(connection, _call(connection, jobs.noop, number))
    one_by_one = few / (time.perf_counter() - began)
    return [
        Value("enqueue, all in one call", "jobs/s", together, plan.jobs),
        Value("enqueue, each awaited", "jobs/s", one_by_one, few),
    ]


async def drain(plan: Size, connection: Connection) -> list[Value]:
    """Run jobs that do nothing and whose results are kept."""
    return [Value("drain", "jobs/s", await _rate(plan, connection, jobs.noop, plan.jobs), plan.jobs)]


async def sleep(plan: Size, connection: Connection) -> list[Value]:
    """Run jobs that sleep 50 ms, as many at a time as the workers have slots."""
    slots = plan.concurrency * plan.workers
    count = min(plan.jobs, _ROUNDS * slots)
    ideal = min(slots, count) / jobs.SLEEP_SECONDS
    return [Value("sleep 50 ms", "jobs/s", await _rate(plan, connection, jobs.sleep, count), count, ideal)]


async def round_trip(plan: Size, connection: Connection) -> list[Value]:
    """Enqueue a job and wait for its result, a twentieth of the jobs one after the other, with idle workers."""
    count = max(1, plan.jobs // 20)

    async def measure() -> list[float]:
        await _answer(connection, 0)  # creates the queue and waits until the workers are there
        taken = []
        for number in range(count):
            await asyncio.sleep(_PAUSE_SECONDS)
            began = time.perf_counter()
            await _answer(connection, number)
            taken.append((time.perf_counter() - began) * 1e3)
        return taken

    async with Workers(connection.settings, concurrency=plan.concurrency, count=plan.workers) as workers:
        taken = await workers.watch(measure())
    return [Value(f"round trip, {name}", "ms", percentile(taken, share), count) for name, share in (("p50", 0.5), ("p99", 0.99))]


MEASURES: dict[str, Callable[[Size, Connection], Awaitable[list[Value]]]] = {
    "enqueue": enqueue,
    "drain": drain,
    "sleep": sleep,
    "round-trip": round_trip,
}


def percentile(values: Sequence[float], share: float) -> float:
    """Return the smallest value that at least this share of all does not exceed (the nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


async def _rate(plan: Size, connection: Connection, function: Callable[..., Any], count: int) -> float:
    """Let workers run jobs that are stored already, and return how many ran per second from the first start to the last end."""
    await ensure_queue(connection, QUEUE)
    await submit_many(connection, _calls(connection, function, count))
    with tempfile.TemporaryDirectory(prefix="naq-bench-") as folder:
        path = Path(folder, "stamps")
        stamps = Stamps.create(path, count)
        settings = connection.settings
        async with Workers(settings, concurrency=plan.concurrency, count=plan.workers, stamps=path) as workers:
            await workers.watch(until_all(stamps.count, count))
        return stamps.rate()


async def _answer(connection: Connection, number: int) -> None:
    job = _call(connection, jobs.answer, number)
    await submit_on(connection, job)
    await job.result(timeout=_FIRST_SECONDS)


def _calls(connection: Connection, function: Callable[..., Any], count: int) -> list[Job[Any]]:
    return [_call(connection, function, slot) for slot in range(count)]


def _call(connection: Connection, function: Callable[..., Any], slot: int) -> Job[Any]:
    return Job(function, (slot,), queue=QUEUE, serializer=connection.settings.job_serializer)
