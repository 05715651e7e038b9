"""SAQ."""

import asyncio
import sys
from typing import Any

import uvloop
from saq import Queue, Worker

from naq_cli.bench import jobs
from tests.benchmarks.peers.peer import CONCURRENCY, HAS_RESULTS, PATIENCE, URL, Peer

RESULT_TTL = 600 if HAS_RESULTS else -1


async def noop(_: Any, *, slot: int) -> int:
    return await jobs.noop(slot)


async def sleep(_: Any, *, slot: int) -> int:
    return await jobs.sleep(slot)


def queue() -> Any:
    return Queue.from_url(URL, max_concurrent_ops=CONCURRENCY)  # 20 by default, which would limit the client


async def work() -> None:
    await Worker(queue(), [noop, sleep], concurrency=CONCURRENCY).start()


class Adapter(Peer):
    """Redis queue, hiredis, uvloop, 100 jobs at a time."""

    packages = ("saq", "redis", "hiredis", "uvloop")
    hides = "Redis without persistence. No bulk enqueue: 100 at a time. Without results: `ttl=-1`."

    async def open(self) -> None:
        self._queue = queue()

    async def close(self) -> None:
        await self._queue.disconnect()

    async def enqueue(self, task: str, slot: int) -> Any:
        return await self._queue.enqueue(task, slot=slot, ttl=RESULT_TTL)

    async def wait(self, handle: Any) -> Any:
        await handle.refresh(until_complete=PATIENCE)
        return handle.result

    def worker(self) -> list[str]:
        return [sys.executable, "-m", __name__]


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(work())
