"""Many jobs at once: up to 1,000 all or none, more in a pipeline."""

import asyncio
import time

from local import naq

from naq_client import Queue


async def square(number: int) -> int:
    """Compute something small."""
    return number * number


async def main() -> None:
    """Enqueue an atomic batch, then a long list."""
    async with Queue() as queue:
        few = await queue.enqueue_many(queue.call(square, n) for n in range(10))
        print("atomic:", few.atomic, "sum:", sum([await job.result(timeout=10) for job in few]))

        started = time.perf_counter()
        many = await queue.enqueue_many(queue.call(square, n) for n in range(5_000))
        took = time.perf_counter() - started
        print("atomic:", many.atomic, f"({len(many):,} jobs stored in {took:.2f} s)")
        print("sum:", sum(await asyncio.gather(*(job.result(timeout=60) for job in many))))


if __name__ == "__main__":
    with naq():
        asyncio.run(main())
