"""Many results at once: in order, or as they come."""

import asyncio
import random

from local import naq

from naq_client import Queue, as_completed, gather


async def measure(city: str) -> str:
    """Take a little while, and fail for one city."""
    await asyncio.sleep(random.uniform(0.05, 0.3))
    if city == "Atlantis":
        raise LookupError("no such city")
    return f"{city}: {len(city)} letters"


async def main() -> None:
    """Wait for jobs together."""
    async with Queue() as queue:
        jobs = [await queue.enqueue(measure, city) for city in ("Oslo", "Rome", "Atlantis", "Kyoto")]
        async for job in as_completed(jobs, timeout=20):
            try:
                print("came in:", await job.result())
            except Exception as error:  # noqa: BLE001 - an example of an error that comes back
                print("came in:", error)

        for result in await gather(*jobs, timeout=20, return_exceptions=True):
            print("in order:", result)

        many = await queue.enqueue_many(queue.call(abs, -number) for number in range(2000))
        print("sum of 2,000:", sum(await gather(*many, timeout=30)))


if __name__ == "__main__":
    with naq():
        asyncio.run(main())
