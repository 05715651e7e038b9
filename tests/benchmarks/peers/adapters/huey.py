"""huey."""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from huey import RedisExpireHuey

from tests.benchmarks.peers.peer import CONCURRENCY, HAS_RESULTS, MEASURE, PATIENCE, PLAIN, URL, Peer

huey = RedisExpireHuey("bench", url=URL, results=HAS_RESULTS, store_none=True, notify_result=HAS_RESULTS, expire_time=3600)
TASKS = {name: huey.task(name=name)(function) for name, function in PLAIN.items()}


class Adapter(Peer):
    """Redis with expiring results and their notification, hiredis, threads."""

    packages = ("huey", "redis", "hiredis")
    hides = (
        "Redis without persistence. A job is taken off the list before it runs: a worker that dies loses it. 8 threads, 100 for"
        " jobs that sleep. Without results: `results=False`."
    )

    async def enqueue(self, task: str, slot: int) -> Any:
        return TASKS[task](slot)

    async def enqueue_many(self, task: str, slots: Iterable[int]) -> None:
        for slot in slots:
            TASKS[task](slot)

    async def wait(self, handle: Any) -> Any:
        return handle.get(blocking=True, timeout=PATIENCE)

    def worker(self) -> list[str]:
        threads = CONCURRENCY if MEASURE == "sleep" else 8
        program = Path(sys.executable).with_name("huey_consumer")
        return [str(program), f"{__name__}.huey", "-q", "-k", "thread", "-w", str(threads), "-n"]
