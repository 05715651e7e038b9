"""A queue that is paused, and one of whose jobs no more than two run at once over all workers."""

import asyncio
import time
from datetime import UTC, datetime, timedelta

from local import naq, worker

from naq_client import JobState, Queue, gather


async def call_the_api(seconds: float) -> tuple[float, float]:
    """Call something that does not like many callers at once; say when."""
    begun = time.time()
    await asyncio.sleep(seconds)
    return begun, time.time()


def most_at_once(spans: list[tuple[float, float]]) -> int:
    """Return how many of the time spans overlap at most."""
    return max(sum(begun <= moment < ended for begun, ended in spans) for moment, _ in spans)


async def main() -> None:
    """Pause, resume, limit."""
    async with Queue() as queue:
        await queue.pause()
        job = await queue.enqueue(call_the_api, 0)
        await asyncio.sleep(0.5)
        print("paused:", await queue.is_paused(), "and waiting:", await job.status() == JobState.QUEUED)
        await queue.resume()
        await job.result(timeout=10)
        print("resumed by hand")

        await queue.pause(until=datetime.now(UTC) + timedelta(seconds=1))
        await (await queue.enqueue(call_the_api, 0)).result(timeout=10)
        print("resumed by the server; paused:", await queue.is_paused())

        await queue.set_limit(2)
        jobs = await queue.enqueue_many(queue.call(call_the_api, 0.1) for _ in range(12))
        print("at once, with two workers of ten slots each:", most_at_once(await gather(*jobs, timeout=20)))
        await queue.set_limit(None)


if __name__ == "__main__":
    with naq(), worker():
        asyncio.run(main())
