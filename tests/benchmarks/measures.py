"""What is measured. Each function is one benchmark: it adds one repetition of its figures to the results."""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeAlias

from naq_cli.bench.measures import percentile
from naq_client import Queue, chain, gather, group
from naq_core.options import Priority
from tests.benchmarks import floor_client, jobs
from tests.benchmarks.batches import batches
from tests.benchmarks.curves import curves
from tests.benchmarks.dashboard import dashboard_pages
from tests.benchmarks.dashboard_live import dashboard_live, dashboard_tabs
from tests.benchmarks.delays import delays, delays_started
from tests.benchmarks.keys import fairness, keys, many_keys, start_latency
from tests.benchmarks.lab import QUEUE, Lab, Measure, Namespace, rss_mb, until
from tests.benchmarks.queues import queues
from tests.benchmarks.rates import rates
from tests.benchmarks.schedules import schedules, schedules_burst

DRAIN = 20_000
ENDURANCE = 200_000
SLEEPS = 5_000
SERIAL = 3_000
ROUND_TRIPS = 500
IMPORTS = 5
LARGE = 50
WIDE = 998

Function: TypeAlias = Callable[[int], Coroutine[Any, Any, int]]


async def drain(lab: Lab) -> None:
    """Work off 20,000 no-op jobs with one worker process, results kept."""
    floor = await _floor_drain(lab, "safe")
    rate = await _drain(lab, jobs.noop, DRAIN)
    lab.results.add("drain", "jobs/s", rate, floor, "pull, claim, record, ack")


async def drain_fast(lab: Lab) -> None:
    """Do the same with `fast=True`: no claim, no record."""
    floor = await _floor_drain(lab, "fast")
    rate = await _drain(lab, jobs.noop, DRAIN, fast=True)
    lab.results.add("drain, fast", "jobs/s", rate, floor, "pull, ack")


async def signing(lab: Lab) -> None:
    """Work off 20,000 no-op jobs that are signed, as are their results; the floor is NAQ without a key."""
    floor = await _drain(lab, jobs.noop, DRAIN)
    rate = await _drain(lab, jobs.noop, DRAIN, signing_key=("k" * 32,))
    lab.results.add("drain, signed", "jobs/s", rate, floor, "the same, unsigned")


async def large(lab: Lab) -> None:
    """Send 1 MiB and get it back, 50 times, one after the other."""
    data = os.urandom(1024 * 1024)
    async with Namespace(lab) as space:
        floor = await floor_client.objects_there_and_back(space.settings, data, LARGE)
    async with Namespace(lab) as space, Queue(QUEUE, settings=space.settings) as queue:
        with lab.worker(space.settings):
            await (await queue.enqueue(jobs.answer, 0)).result(timeout=30)
            taken = []
            for _ in range(LARGE):
                started = time.perf_counter()
                await (await queue.enqueue(jobs.echo, data)).result(timeout=30)
                taken.append((time.perf_counter() - started) * 1e3)
    lab.results.add("1 MiB there and back, p50", "ms", percentile(taken, 0.5), floor, "nats-py: put, get, put, get")


async def drain_sleep(lab: Lab) -> None:
    """Work off 5,000 jobs that sleep 50 ms, 100 at a time: at best 2,000 per second."""
    rate = await _drain(lab, jobs.sleep, SLEEPS)
    lab.results.add("drain of sleep(0.05), 100 at a time", "jobs/s", rate, 100 / 0.05, "the ideal")


async def enqueue_many(lab: Lab) -> None:
    """Enqueue 20,000 jobs in one call."""
    async with Namespace(lab) as space:
        floor = await floor_client.publish_many(space.settings, DRAIN)
    async with Namespace(lab) as space, Queue(QUEUE, settings=space.settings) as queue:
        started = time.perf_counter()
        await queue.enqueue_many(queue.call(jobs.noop, slot) for slot in range(DRAIN))
        rate = DRAIN / (time.perf_counter() - started)
    lab.results.add("enqueue_many", "jobs/s", rate, floor, "pipelined publishes")


async def enqueue_serial(lab: Lab) -> None:
    """Enqueue 3,000 jobs one after the other."""
    async with Namespace(lab) as space:
        floor = await floor_client.publish_one_by_one(space.settings, SERIAL)
    async with Namespace(lab) as space, Queue(QUEUE, settings=space.settings) as queue:
        started = time.perf_counter()
        for slot in range(SERIAL):
            await queue.enqueue(jobs.noop, slot)
        rate = SERIAL / (time.perf_counter() - started)
    lab.results.add("enqueue, each awaited", "jobs/s", rate, floor, "js.publish, each awaited")


async def round_trip(lab: Lab) -> None:
    """Enqueue one job and wait for its result, 500 times, with an idle worker."""
    async with Namespace(lab) as space:
        with lab.floor_worker(space.settings, "unstamped"):
            floor_p50, floor_p99 = await floor_client.round_trips(space.settings, ROUND_TRIPS)
    async with Namespace(lab) as space, Queue(QUEUE, settings=space.settings) as queue:
        with lab.worker(space.settings):
            await (await queue.enqueue(jobs.answer, 0)).result(timeout=30)
            taken = []
            for number in range(ROUND_TRIPS):
                started = time.perf_counter()
                job = await queue.enqueue(jobs.answer, number)
                assert await job.result(timeout=30) == number
                taken.append((time.perf_counter() - started) * 1e3)
                await asyncio.sleep(0.002)
    kind = "publish, event, read"
    lab.results.add("enqueue to result, p50", "ms", percentile(taken, 0.5), floor_p50, kind)
    lab.results.add("enqueue to result, p99", "ms", percentile(taken, 0.99), floor_p99, kind)


async def workflow(lab: Lab) -> None:
    """Submit a workflow of 1,000 jobs (1, then 998, then 1) and finish it, beside the same 1,000 as single jobs."""
    async with Namespace(lab) as space, Queue(QUEUE, settings=space.settings) as queue:
        with lab.worker(space.settings):
            await (await queue.enqueue(jobs.answer, 0)).result(timeout=30)
            started = time.perf_counter()
            singles = await queue.enqueue_many(queue.call(jobs.answer, number) for number in range(WIDE + 2))
            await gather(*singles, timeout=60)
            floor = (WIDE + 2) / (time.perf_counter() - started)
            flow = chain(queue.s(jobs.answer, 1), group(queue.s(jobs.answer) for _ in range(WIDE)), queue.s(jobs.count))
            started = time.perf_counter()
            handle = await flow.enqueue(queue)
            submitted = time.perf_counter() - started
            assert await handle.result(timeout=60) == WIDE
            rate = (WIDE + 2) / (time.perf_counter() - started)
    lab.results.add("workflow 1 → 998 → 1", "jobs/s", rate, floor, "1,000 single jobs")
    lab.results.add("of it, submitting", "ms", submitted * 1e3)


async def memory(lab: Lab) -> None:
    """Look at the worker's memory: idle, after some jobs, and whether many more make it grow."""
    async with Namespace(lab) as space, Queue(QUEUE, settings=space.settings) as queue:
        with lab.worker(space.settings) as pid:
            await (await queue.enqueue(jobs.answer, 0)).result(timeout=30)
            idle = rss_mb(pid)
            warm = 0.0
            for _ in range(ENDURANCE // DRAIN):
                many = await queue.enqueue_many(queue.call(jobs.answer, slot) for slot in range(DRAIN))
                await gather(*many, timeout=300)
                warm = warm or rss_mb(pid)
            later = rss_mb(pid)
        floor = _connected_rss(space.settings.nats_url)
    lab.results.add("worker RSS, idle", "MB", idle, floor, "nats-py connected")
    lab.results.add(f"worker RSS after {DRAIN:,} jobs", "MB", warm)
    lab.results.add(f"worker RSS after {ENDURANCE:,} jobs", "MB", later)


async def imports(lab: Lab) -> None:
    """Time `import naq_client`."""
    bare = _wall("pass")
    value, floor = _wall("import naq_client") - bare, _wall("import nats") - bare
    lab.results.add("import naq_client", "ms", value, floor, "import nats")


async def priorities(lab: Lab) -> None:
    """Work off 20,000 no-op jobs of high priority, beside as many of the normal one: the cost of a level."""
    floor = await _drain(lab, jobs.noop, DRAIN)
    rate = await _drain(lab, jobs.noop, DRAIN, priority="high")
    lab.results.add("drain, high priority", "jobs/s", rate, floor, "the same jobs of normal priority")
    rate = await _drain(lab, jobs.noop, DRAIN, mixed=True)
    lab.results.add("drain, three levels mixed", "jobs/s", rate, floor, "the same jobs of normal priority")


async def _drain(
    lab: Lab,
    function: Function,
    count: int,
    *,
    fast: bool = False,
    priority: Priority = "normal",
    mixed: bool = False,
    **settings: Any,
) -> float:
    stamps = lab.stamps(count)
    async with Namespace(lab, **settings) as space:
        async with Queue(QUEUE, settings=space.settings) as queue:
            levels: tuple[Priority, ...] = ("high", "normal", "low") if mixed else (priority,)
            chosen = [queue.options(fast=fast, priority=level) for level in levels]
            await queue.enqueue_many(chosen[slot % len(chosen)].call(function, slot) for slot in range(count))
        with lab.worker(space.settings):
            await until(lambda: stamps.count() >= count, "drain")
            await asyncio.sleep(0.2)
    if stamps.extra_runs():
        sys.stderr.write(f"{stamps.extra_runs()} jobs ran more than once\n")
    return stamps.rate()


async def _floor_drain(lab: Lab, mode: str) -> float:
    stamps = lab.stamps(DRAIN)
    async with Namespace(lab) as space:
        await floor_client.publish_many(space.settings, DRAIN)
        with lab.floor_worker(space.settings, mode):
            await until(lambda: stamps.count() >= DRAIN, "floor")
    return stamps.rate()


def _connected_rss(url: str) -> float:
    program = f"""
import asyncio, nats
async def main():
    client = await nats.connect({url!r})
    print([line.split()[1] for line in open("/proc/self/status") if line.startswith("VmRSS")][0])
    await client.close()
asyncio.run(main())
"""
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    return int(done.stdout) / 1024


def _wall(statement: str) -> float:
    # As installed packages are: compiled. Without byte code of its own an editable checkout is compiled at each import.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    taken = []
    for _ in range(IMPORTS + 1):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", statement], check=True, env=environment)
        taken.append((time.perf_counter() - started) * 1e3)
    return statistics.median(taken[1:])  # the first one may compile


MEASURES: dict[str, Measure] = {
    "drain": drain,
    "drain-fast": drain_fast,
    "signing": signing,
    "large": large,
    "drain-sleep": drain_sleep,
    "enqueue-many": enqueue_many,
    "enqueue-serial": enqueue_serial,
    "round-trip": round_trip,
    "workflow": workflow,
    "priorities": priorities,
    "delays": delays,
    "delays-started": delays_started,
    "schedules": schedules,
    "schedules-burst": schedules_burst,
    "dashboard-pages": dashboard_pages,
    "dashboard-live": dashboard_live,
    "dashboard-tabs": dashboard_tabs,
    "memory": memory,
    "imports": imports,
    "queues": queues,
    "curves": curves,
    "keys": keys,
    "start-latency": start_latency,
    "fairness": fairness,
    "many-keys": many_keys,
    "rates": rates,
    "batches": batches,
}

HEAVY = frozenset(
    {"dashboard-pages", "dashboard-live", "dashboard-tabs", "queues", "curves", "keys", "fairness", "many-keys", "rates"}
)
"""Those that fill the server first, which takes minutes."""
