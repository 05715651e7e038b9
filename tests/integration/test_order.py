"""G7: jobs of a queue start about in the order in which they came."""

from __future__ import annotations

from naq_client import Queue
from tests.conftest import RunWorker

STARTED: dict[str, list[int]] = {}


async def note(where: str, number: int) -> None:
    STARTED.setdefault(where, []).append(number)


async def test_one_slot_starts_jobs_in_the_order_of_their_enqueueing(queue: Queue, run_worker: RunWorker, namespace: str) -> None:
    singles = [await queue.enqueue(note, namespace, number) for number in range(20)]
    many = await queue.enqueue_many(queue.call(note, namespace, number) for number in range(20, 300))
    async with run_worker(concurrency=1):
        for job in [*singles, *many]:
            await job.result(timeout=30)
    assert STARTED.pop(namespace) == list(range(300))


async def test_many_slots_keep_the_order_about(queue: Queue, run_worker: RunWorker, namespace: str) -> None:
    many = await queue.enqueue_many(queue.call(note, namespace, number) for number in range(1_000))
    async with run_worker(concurrency=20):
        for job in many:
            await job.result(timeout=30)
    started = STARTED.pop(namespace)
    assert sorted(started) == list(range(1_000))
    assert max(abs(place - number) for place, number in enumerate(started)) <= 40
