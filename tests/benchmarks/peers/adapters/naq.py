"""NAQ."""

import sys
from collections.abc import Iterable
from typing import Any

from naq_cli.bench.jobs import noop, sleep
from naq_client import Queue
from tests.benchmarks.peers.peer import CONCURRENCY, HAS_RESULTS, PATIENCE, URL, Peer

TASKS = {"noop": noop, "sleep": sleep}


class Adapter(Peer):
    """The worker's defaults, uvloop; `fast=True` without results."""

    store = "nats"
    packages = ("naq-core", "nats-py", "uvloop")
    hides = (
        "Jobs and results are in JetStream's files, synced every two minutes by default. Without results: `fast=True`:"
        " no claim, no record and no result, at least once. Many: one `enqueue_many`."
    )

    async def open(self) -> None:
        self._queue = Queue("bench", URL)
        await self._queue.connection()
        self._enqueuer = self._queue if HAS_RESULTS else self._queue.options(fast=True)

    async def close(self) -> None:
        await self._queue.close()

    async def enqueue(self, task: str, slot: int) -> Any:
        return await self._enqueuer.enqueue(TASKS[task], slot)

    async def enqueue_many(self, task: str, slots: Iterable[int]) -> None:
        await self._queue.enqueue_many([self._enqueuer.call(TASKS[task], slot) for slot in slots])

    async def wait(self, handle: Any) -> Any:
        return await handle.result(PATIENCE)

    def worker(self) -> list[str]:
        return [sys.executable, "-m", "naq_worker", "bench", f"--concurrency={CONCURRENCY}", f"--nats-url={URL}"]
