"""Celery on Redis."""

import sys
from collections.abc import Iterable
from typing import Any

from celery import Celery

from tests.benchmarks.peers.peer import CONCURRENCY, HAS_RESULTS, IS_WORKER, MEASURE, PATIENCE, PLAIN, URL, Peer

# With a result backend each enqueue subscribes to its result, which costs the client more than the enqueue. A client that waits
# for no result has none; the worker stores the results all the same.
NEEDS_BACKEND = HAS_RESULTS and (IS_WORKER or MEASURE == "latency")
app = Celery("bench", broker=URL, backend=URL if NEEDS_BACKEND else None)
app.conf.update(task_ignore_result=not HAS_RESULTS, worker_prefetch_multiplier=64, worker_hijack_root_logger=False)
TASKS = {name: app.task(name=name)(function) for name, function in PLAIN.items()}


class Adapter(Peer):
    """One prefork process, threads for jobs that sleep, hiredis."""

    packages = ("celery", "kombu", "redis", "hiredis")
    hides = (
        "Redis without persistence. A message is acknowledged before its job runs (`acks_late=False`, the default), and 64 are"
        " prefetched: a worker that dies loses jobs. Without gossip, mingle and heartbeat. 100 threads for jobs that sleep."
    )
    most = 10_000

    async def enqueue(self, task: str, slot: int) -> Any:
        return TASKS[task].apply_async((slot,))

    async def enqueue_many(self, task: str, slots: Iterable[int]) -> None:
        with app.producer_or_acquire() as producer:
            for slot in slots:
                TASKS[task].apply_async((slot,), producer=producer)

    async def wait(self, handle: Any) -> Any:
        return handle.get(timeout=PATIENCE)

    def worker(self) -> list[str]:
        pool = ["--pool=threads", f"--concurrency={CONCURRENCY}"] if MEASURE == "sleep" else ["--pool=prefork", "--concurrency=1"]
        quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat", "--loglevel=WARNING"]
        return [sys.executable, "-m", "celery", f"--app={__name__}", "worker", *pool, *quiet]
