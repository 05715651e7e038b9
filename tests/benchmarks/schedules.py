"""Schedules: reading many of them, what waiting for them costs, and how late they fire."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import msgspec

from naq_cli.bench.measures import percentile
from naq_client import Queue
from naq_core import Job
from naq_core.schedules import make_spec
from naq_core.schedules.document import encode_document, new_document
from naq_core.storage.topology import ensure_schedules
from naq_scheduler import Scheduler
from tests.benchmarks.lab import QUEUE, Lab, Namespace, until

MANY = 100_000
FEW = 1_000
OFTEN = 20
FIRING_SECONDS = 15.0
IDLE_SECONDS = 10.0
BURST = 5_000
CHUNK = 2_000


async def schedules(lab: Lab) -> None:
    """Start a scheduler on 1,000 and on 100,000 schedules; let it wait; let twenty more fire each second."""
    for count in (FEW, MANY):
        async with Namespace(lab) as space, Queue(QUEUE, settings=space.settings) as queue:
            await _store(queue, count, datetime.now(UTC) + timedelta(days=1))
            scheduler = Scheduler(settings=space.settings)
            began = time.monotonic()
            async with _running(scheduler):
                await until(lambda s=scheduler: s.is_leader, "the leader")  # type: ignore[misc]
                lab.results.add(f"{count:,} schedules, start until leading", "s", time.monotonic() - began)
                used = time.process_time()
                await asyncio.sleep(IDLE_SECONDS)
                share = (time.process_time() - used) / IDLE_SECONDS
                lab.results.add(f"{count:,} schedules, CPU while none is due", "%", 100 * share)
                late = await _fire_often(queue)
                for part, name in ((0.5, "p50"), (0.99, "p99")):
                    lab.results.add(
                        f"20 firings a second beside {count:,} schedules, late by, {name}", "ms", percentile(late, part)
                    )


async def schedules_burst(lab: Lab) -> None:
    """Let 5,000 schedules be due in the same instant."""
    async with Namespace(lab) as space, Queue(QUEUE, settings=space.settings) as queue:
        at = datetime.now(UTC) + timedelta(seconds=8)
        await _store(queue, BURST, at)
        scheduler = Scheduler(settings=space.settings)
        async with _running(scheduler):
            await until(lambda: scheduler.metrics.count("fired") >= BURST, "the firings")
            lab.results.add("5,000 schedules due at once, the last one late by", "s", time.time() - at.timestamp())


async def _store(queue: Queue, count: int, first: datetime) -> None:
    """Store schedules past the API, which takes a read and a write for each."""
    connection = await queue.connection()
    await ensure_schedules(connection)
    await queue.schedule("shop:work", cron="@yearly", schedule_id="one")  # makes the queue
    call: Job[object] = Job("shop:work", (1,), queue=QUEUE)
    spec = make_spec(call, schedule_id="s", interval=86_400, start_at=first)
    for start in range(0, count, CHUNK):
        sent = []
        for number in range(start, min(start + CHUNK, count)):
            document = new_document(msgspec.structs.replace(spec, schedule_id=f"s{number}"), datetime.now(UTC), paused=False)
            subject = connection.names.schedule(f"s{number}")
            sent.append(await connection.publisher.send(subject, encode_document(document), {}))
        await asyncio.gather(*sent)


async def _fire_often(queue: Queue) -> list[float]:
    """Fire twenty schedules each second for a while; return how late each firing was, in ms."""
    often = [await queue.schedule("shop:work", cron="* * * * * *", schedule_id=f"often{number}") for number in range(OFTEN)]
    await asyncio.sleep(FIRING_SECONDS)
    late = []
    for schedule in often:
        await schedule.pause()
        late += [1000 * firing.late for firing in await schedule.history()]
    return sorted(late)


@asynccontextmanager
async def _running(scheduler: Scheduler) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as group:
        group.create_task(scheduler.run())
        try:
            yield
        finally:
            scheduler.stop()
