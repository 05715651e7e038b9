"""How cost grows: throughput, latency and memory along one quantity at a time, with all others as they are by default."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from naq_cli.bench.measures import percentile
from naq_client import Queue
from naq_core import Settings
from naq_core.server import EmbeddedServer
from tests.benchmarks import jobs
from tests.benchmarks.crowd import fill
from tests.benchmarks.lab import QUEUE, Lab, rss_mb, until
from tests.support.cluster import Cluster

BACKLOGS = (1_000, 10_000, 100_000, 1_000_000, 2_000_000)
RECORDS = (1_000, 10_000, 100_000, 1_000_000)
WORKERS = (1, 2, 4, 16, 64)
"""Processes."""
PAYLOADS = (100, 1_000, 10_000, 100_000, 1_000_000)
"""Bytes of the argument, and of the result. Above 256 KiB they go to the object store."""
DRAIN = 20_000
BULK = 20_000
BYTES = 200_000_000
"""The most bytes of arguments that are enqueued for one point."""
ROUND_TRIPS = 300
QUICK = "quick"
"""The queue of the jobs whose round trip is timed: the worker prefers it to what waits in the other one."""


class Bench(NamedTuple):
    """A fresh server, and where the figures go."""

    lab: Lab
    settings: Settings
    pids: list[int]
    """Of the server, or of the servers of a cluster."""
    point: str

    def note(self, what: str, unit: str, value: float) -> None:
        self.lab.results.add(f"{self.point}: {what}", unit, value)


async def curves(lab: Lab) -> None:
    """Measure along each quantity; points above the size that is asked for are left out."""
    for count in _up_to(BACKLOGS, lab.size):
        with _server(lab, f"{count:,} waiting") as bench:
            await _measure(bench, backlog=count)
    for count in _up_to(RECORDS, lab.size):
        with _server(lab, f"{count:,} records") as bench:
            await _measure(bench, records=count)
    for count in _up_to(WORKERS, lab.size):
        with _server(lab, f"{count} workers") as bench:
            await _measure(bench, workers=count)
    for size in _up_to(PAYLOADS, lab.size):
        with _server(lab, f"{size:,} bytes") as bench:
            await _measure_payload(bench, size)
    with _server(lab, "sync_interval: always", "jetstream { sync_interval: always }") as bench:
        await _measure(bench)
    with tempfile.TemporaryDirectory(prefix="naq-bench-") as folder, Cluster(Path(folder)) as cluster:
        for replicas in (1, 3):
            settings = Settings.load(nats_url=cluster.url, namespace=f"copies{replicas}", replicas=replicas)
            pids = [server.pid for server in cluster.servers if server.pid is not None]
            await _measure(Bench(lab, settings, pids, f"cluster of three, {replicas} copies"))


def _up_to(points: tuple[int, ...], size: int) -> Iterator[int]:
    return (point for point in points if point <= size)


@contextmanager
def _server(lab: Lab, point: str, config: str | None = None) -> Iterator[Bench]:
    with EmbeddedServer(config=config) as server:
        assert server.pid is not None
        yield Bench(lab, Settings.load(nats_url=server.url, namespace="curves"), [server.pid], point)


async def _measure(bench: Bench, *, backlog: int = 0, records: int = 0, workers: int = 1) -> None:
    """Enqueue and drain no-op jobs, in front of a backlog or beside records; then time round trips."""
    count = DRAIN * min(workers, 4)
    stamps = bench.lab.stamps(count)
    async with Queue(QUEUE, settings=bench.settings) as queue, Queue(QUICK, settings=bench.settings) as quick:
        if records:
            await fill(await queue.connection(), records, 0)
        began = time.perf_counter()
        await queue.enqueue_many(queue.call(jobs.noop, slot) for slot in range(count))
        bench.note("enqueue_many", "jobs/s", count / (time.perf_counter() - began))
        for start in range(0, backlog, BULK):
            await queue.enqueue_many(queue.call(jobs.answer, number) for number in range(min(BULK, backlog - start)))
        async with _workers(bench, workers) as pids:
            await until(lambda: stamps.count() >= count, "drain")
            bench.note("drain", "jobs/s", stamps.rate())
            await _round_trips(bench, quick, b"")
            _note_memory(bench, pids)


async def _measure_payload(bench: Bench, size: int) -> None:
    """Enqueue jobs with an argument of a size and fetch all results; then time round trips of it."""
    data, count = os.urandom(size), max(20, min(DRAIN, BYTES // size))
    async with (
        Queue(QUEUE, settings=bench.settings) as queue,
        Queue(QUICK, settings=bench.settings) as quick,
        _workers(bench, 1) as pids,
    ):
        began = time.perf_counter()
        sent = await queue.enqueue_many(queue.call(jobs.echo, data) for _ in range(count))
        bench.note("enqueue_many", "jobs/s", count / (time.perf_counter() - began))
        for job in sent:
            await job.result(timeout=300)
        bench.note("enqueue_many until the last result", "jobs/s", count / (time.perf_counter() - began))
        await _round_trips(bench, quick, data)
        _note_memory(bench, pids)


async def _round_trips(bench: Bench, quick: Queue, data: bytes) -> None:
    taken: list[float] = []
    for number in range(-3, ROUND_TRIPS):
        began = time.perf_counter()
        await (await quick.enqueue(jobs.echo, data)).result(timeout=60)
        if number >= 0:
            taken.append((time.perf_counter() - began) * 1e3)
    bench.note("round trip, p50", "ms", percentile(taken, 0.5))
    bench.note("round trip, p99", "ms", percentile(taken, 0.99))


def _note_memory(bench: Bench, workers: list[int]) -> None:
    bench.note("memory of a worker", "MB", max(map(rss_mb, workers)))
    bench.note("memory of the server", "MB", max(map(rss_mb, bench.pids)))


@asynccontextmanager
async def _workers(bench: Bench, count: int) -> AsyncIterator[list[int]]:
    settings = replace(bench.settings, concurrency=100)
    with ExitStack() as stack:
        yield [stack.enter_context(bench.lab.worker(settings, QUICK, QUEUE)) for _ in range(count)]
