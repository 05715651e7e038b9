"""What a task queue has to provide to be measured. Its module is imported by the client and by its worker."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterable
from typing import Any

from naq_cli.bench.jobs import SLEEP_SECONDS
from naq_cli.bench.stamps import stamps

URL = os.environ.get("PEERS_URL", "")
"""The address of the queue's server."""
HAS_RESULTS = os.environ.get("PEERS_RESULTS") != "off"
IS_WORKER = os.environ.get("PEERS_ROLE") == "worker"
MEASURE = os.environ.get("PEERS_MEASURE", "")
CONCURRENCY = 100
"""Jobs at a time, where the queue can."""
PATIENCE = 10
"""Seconds to wait for a result."""

TWICE = "jobs ran twice"


class Peer:
    """A task queue in the fastest configuration that it documents."""

    store = "redis"
    """The server that it needs: redis or nats."""
    packages: tuple[str, ...] = ()
    """Those whose versions are printed."""
    hides = ""
    """What its figures do not show: durability, results, prefetch."""
    most = 1_000_000
    """The most jobs of a measurement, for a slow one."""
    skipped: frozenset[str] = frozenset()
    """Measurements in which it cannot be compared."""

    async def open(self) -> None:
        """Connect the client."""

    async def close(self) -> None:
        """Disconnect the client."""

    async def enqueue(self, task: str, slot: int) -> Any:
        """Enqueue the task `noop` or `sleep`; return a handle for `wait`."""
        raise NotImplementedError

    async def enqueue_many(self, task: str, slots: Iterable[int]) -> None:
        """Enqueue many as fast as the queue can: here with 100 calls at a time."""
        waiting = iter(slots)

        async def client() -> None:
            for slot in waiting:
                await self.enqueue(task, slot)

        async with asyncio.TaskGroup() as group:
            for _ in range(CONCURRENCY):
                group.create_task(client())

    async def wait(self, handle: Any) -> Any:
        """Return the result of an enqueued job."""
        raise NotImplementedError

    def worker(self) -> list[str]:
        """Return the command of one worker process."""
        raise NotImplementedError


def plain_noop(slot: int) -> int:
    """Only note that it ran; for queues whose tasks are plain functions."""
    stamps().begin(slot)
    stamps().finish(slot)
    return slot


def plain_sleep(slot: int) -> int:
    """Wait in a thread."""
    stamps().begin(slot)
    time.sleep(SLEEP_SECONDS)
    stamps().finish(slot)
    return slot


PLAIN = {"noop": plain_noop, "sleep": plain_sleep}
