"""Delayed jobs: how late they become ready and start, and whether a server that is killed forgets any."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime

from naq_cli.bench.measures import percentile
from naq_client import Queue
from naq_core import Job
from naq_core.connection import Connection
from naq_core.transport.direct import get_many
from tests.benchmarks import jobs
from tests.benchmarks.lab import QUEUE, Lab, Namespace, until

DELAYED = 100_000
SPREAD = 20.0
"""Seconds within which all of them are due."""
LEAD = 40.0
"""Seconds from the first enqueue to the first one that is due: the time to kill the server and to start it again."""
FEWER = 20_000
SOON = 15.0
CHUNK = 10_000


async def delays(lab: Lab) -> None:
    """Let 100,000 jobs become ready within 20 s, after the server was killed and started again; then run them all."""
    stamps = lab.stamps(DELAYED)
    async with Namespace(lab) as space:
        first = time.time() + LEAD
        async with Queue(QUEUE, settings=space.settings) as queue:
            delayed = await _enqueue(queue, DELAYED, first)
            if time.time() > first - 5:
                sys.stderr.write("the enqueue took too long: some are due before the server was killed\n")
            lab.server.kill()
            lab.server.restart()
            connection = await queue.connection()
            await until(lambda: time.time() > first + SPREAD + 2, "the last of them")
            ready = await _ready_times(connection, delayed)
        with lab.worker(space.settings):
            await until(lambda: stamps.count() >= DELAYED, "delayed jobs")
    late = [at - _due(first, slot, DELAYED) for slot, at in enumerate(ready)]
    if min(late) < 0:
        sys.stderr.write(f"a job was ready {-min(late):.3f} s before its time\n")
    lab.results.add("100,000 delayed jobs, lost", "jobs", DELAYED - stamps.count())
    lab.results.add("100,000 delayed jobs, run twice", "jobs", stamps.extra_runs())
    for share, name in ((0.5, "p50"), (0.99, "p99"), (1.0, "largest")):
        lab.results.add(f"100,000 delayed jobs, ready late by, {name}", "s", percentile(late, share))


async def delays_started(lab: Lab) -> None:
    """Start 20,000 jobs due within 20 s on a worker that waits for them."""
    stamps = lab.stamps(FEWER)
    async with Namespace(lab) as space:
        first, shift = time.time() + SOON, time.time() - time.monotonic()
        async with Queue(QUEUE, settings=space.settings) as queue:
            await _enqueue(queue, FEWER, first)
        with lab.worker(space.settings):
            await until(lambda: stamps.count() >= FEWER, "delayed jobs")
    late = [stamps.start[slot] + shift - _due(first, slot, FEWER) for slot in range(FEWER)]
    for share, name in ((0.5, "p50"), (0.99, "p99")):
        lab.results.add(f"20,000 delayed jobs, started late by, {name}", "s", percentile(late, share))


def _due(first: float, slot: int, count: int) -> float:
    return first + slot * SPREAD / count


async def _enqueue(queue: Queue, count: int, first: float) -> list[Job[int]]:
    delayed: list[Job[int]] = []
    for start in range(0, count, CHUNK):
        delayed += await queue.enqueue_many(
            queue.options(at=datetime.fromtimestamp(_due(first, slot, count), UTC)).call(jobs.noop, slot)
            for slot in range(start, start + CHUNK)
        )
    return delayed


async def _ready_times(connection: Connection, delayed: list[Job[int]]) -> list[float]:
    """Return when the server stored each job on its ready subject."""
    names = connection.names
    found = await get_many(connection, names.jobs_stream, [{"last_by_subj": names.ready(QUEUE, job.job_id)} for job in delayed])
    return [datetime.fromisoformat(f"{each.stored_at[:26].rstrip('Z')}+00:00").timestamp() for each in found if each is not None]
