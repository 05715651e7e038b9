"""The floor of a producer: plain nats-py, the same subjects, sizes and preconditions."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg

from naq_cli.bench.measures import percentile
from naq_core import Settings
from naq_core.transport.headers import EXPECTED_SEQUENCE, EXPECTED_SUBJECT
from tests.benchmarks.lab import QUEUE

BODY = bytes(120)
IN_FLIGHT = 4096


@asynccontextmanager
async def connected(settings: Settings) -> AsyncIterator[Client]:
    client = await nats.connect(settings.nats_url)
    try:
        yield client
    finally:
        await client.close()


def message(settings: Settings, number: int) -> tuple[str, dict[str, str]]:
    """Return subject and headers of a job, as NAQ writes them."""
    subject = f"{settings.namespace}.jobs.normal.{QUEUE}.{number}"
    return subject, {EXPECTED_SEQUENCE: "0", EXPECTED_SUBJECT: f"{settings.namespace}.jobs.*.{QUEUE}.{number}"}


async def publish_many(settings: Settings, count: int) -> float:
    """Publish jobs with an own reply inbox and a window in flight; return messages per second."""
    async with connected(settings) as client:
        inbox = client.new_inbox()
        room, done = asyncio.Semaphore(IN_FLIGHT), asyncio.Event()
        answered = 0

        async def on_answer(_: Msg) -> None:
            nonlocal answered
            room.release()
            answered += 1
            if answered == count:
                done.set()

        await client.subscribe(inbox, cb=on_answer, pending_msgs_limit=-1, pending_bytes_limit=-1)
        started = time.perf_counter()
        for number in range(count):
            await room.acquire()
            subject, headers = message(settings, number)
            await client.publish(subject, BODY, reply=inbox, headers=headers)
        await asyncio.wait_for(done.wait(), 60)
        return count / (time.perf_counter() - started)


async def publish_one_by_one(settings: Settings, count: int) -> float:
    """Await `js.publish` for each; return messages per second."""
    async with connected(settings) as client:
        stream = client.jetstream()
        started = time.perf_counter()
        for number in range(count):
            subject, headers = message(settings, number)
            await stream.publish(subject, BODY, headers=headers)
        return count / (time.perf_counter() - started)


async def round_trips(settings: Settings, count: int) -> tuple[float, float]:
    """Publish a job, wait for the event of its end, read its record; return p50 and p99 in milliseconds."""
    async with connected(settings) as client:
        stream = client.jetstream()
        records = f"$KV.{settings.namespace}_results.{QUEUE}"
        ends: dict[str, asyncio.Future[None]] = {}

        async def on_event(event: Msg) -> None:
            if event.headers and "Naq-State" in event.headers:
                ends[event.subject.rsplit(".", 1)[1]].set_result(None)

        await client.subscribe(f"{settings.namespace}.event.results.{QUEUE}.*", cb=on_event)
        taken = []
        for number in range(count):
            ended = ends[str(number)] = asyncio.get_running_loop().create_future()
            started = time.perf_counter()
            subject, headers = message(settings, number)
            await stream.publish(subject, BODY, headers=headers)
            await asyncio.wait_for(ended, 10)
            await client.request(f"$JS.API.DIRECT.GET.KV_{settings.namespace}_results.{records}.{number}")
            taken.append((time.perf_counter() - started) * 1e3)
            await asyncio.sleep(0.002)
        return percentile(taken, 0.5), percentile(taken, 0.99)


async def objects_there_and_back(settings: Settings, data: bytes, count: int) -> float:
    """Put bytes into an object store and get them, twice each time, as arguments and result; return p50 in milliseconds."""
    async with connected(settings) as client:
        store = await client.jetstream().create_object_store(f"{settings.namespace}_floor")
        taken = []
        for number in range(count):
            started = time.perf_counter()
            for way in ("there", "back"):
                await store.put(f"{number}-{way}", data)
                await store.get(f"{number}-{way}")
            taken.append((time.perf_counter() - started) * 1e3)
        await client.jetstream().delete_object_store(f"{settings.namespace}_floor")
        return percentile(taken, 0.5)
