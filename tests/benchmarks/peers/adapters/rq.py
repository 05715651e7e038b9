"""RQ."""

import sys
from collections.abc import Iterable
from typing import Any

from redis import Redis
from rq import Queue, SimpleWorker

from tests.benchmarks.peers.peer import HAS_RESULTS, PATIENCE, PLAIN, URL, Peer

RESULT_TTL = 500 if HAS_RESULTS else 0
BATCH = 1_000


class Adapter(Peer):
    """`SimpleWorker`, which does not fork for each job, hiredis."""

    packages = ("rq", "redis", "hiredis")
    hides = (
        "Redis without persistence. One job at a time, in the worker's own process. Many: `enqueue_many` in pipelines of 1,000."
        " Without results: `result_ttl=0`."
    )
    most = 4_000
    skipped = frozenset({"sleep"})

    async def open(self) -> None:
        self._queue = Queue(connection=Redis.from_url(URL))

    async def enqueue(self, task: str, slot: int) -> Any:
        return self._queue.enqueue(PLAIN[task], slot, result_ttl=RESULT_TTL)

    async def enqueue_many(self, task: str, slots: Iterable[int]) -> None:
        calls = [Queue.prepare_data(PLAIN[task], (slot,), result_ttl=RESULT_TTL) for slot in slots]
        for start in range(0, len(calls), BATCH):
            self._queue.enqueue_many(calls[start : start + BATCH])

    async def wait(self, handle: Any) -> Any:
        return handle.latest_result(timeout=PATIENCE).return_value

    def worker(self) -> list[str]:
        return [sys.executable, "-m", __name__]


def work() -> None:
    worker = SimpleWorker([Queue(connection=Redis.from_url(URL))], connection=Redis.from_url(URL))
    worker.log_job_description = False
    worker.work(logging_level="WARNING")


if __name__ == "__main__":
    work()
