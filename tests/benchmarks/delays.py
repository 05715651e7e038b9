"""Delayed jobs: how late they start, and whether the server forgets any when it is killed before they are due."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime

from naq_client import Queue
from tests.benchmarks import jobs
from tests.benchmarks.lab import QUEUE, Lab, Namespace, percentile, until

DELAYED = 100_000
SPREAD = 20.0
"""Seconds within which all of them are due."""
LEAD = 20.0
"""Seconds from the end of the enqueue to the first one: the time to kill the server and to start it again."""
CHUNK = 10_000


async def delays(lab: Lab) -> None:
    """Start 100,000 jobs due within 20 s, after the server was killed and started again."""
    stamps = lab.stamps(DELAYED)
    async with Namespace(lab) as space:
        async with Queue(QUEUE, settings=space.settings) as queue:
            begun = time.monotonic()
            probe = min(1000, DELAYED)
            await _enqueue(queue, range(probe), time.time() + 3600)
            await queue.purge()
            first = time.time() + DELAYED * (time.monotonic() - begun) / probe * 1.5 + LEAD
            shift = time.time() - time.monotonic()
            for start in range(0, DELAYED, CHUNK):
                await _enqueue(queue, range(start, start + CHUNK), first)
        if time.time() > first - 5:
            sys.stderr.write("the enqueue took too long: some were due before the server was killed\n")
        lab.server.kill()
        lab.server.restart()
        with lab.worker(space.settings):
            await until(lambda: stamps.count() >= DELAYED, "delayed jobs")
    late = [stamps.start[slot] + shift - (first + slot * SPREAD / DELAYED) for slot in range(DELAYED)]
    if min(late) < -0.05:
        sys.stderr.write(f"a job started {-min(late):.3f} s before its time\n")
    lab.results.add("delayed jobs that were lost", "jobs", DELAYED - stamps.count())
    lab.results.add("delayed jobs that ran twice", "jobs", stamps.extra_runs())
    lab.results.add("lateness of 100,000 delayed jobs, p50", "s", percentile(late, 0.5))
    lab.results.add("lateness of 100,000 delayed jobs, p99", "s", percentile(late, 0.99))
    lab.results.add("lateness of 100,000 delayed jobs, largest", "s", max(late))


async def _enqueue(queue: Queue, slots: range, first: float) -> None:
    await queue.enqueue_many(
        queue.options(at=datetime.fromtimestamp(first + slot * SPREAD / DELAYED, UTC)).call(jobs.noop, slot) for slot in slots
    )
