"""Rates: an API takes ten requests a second, whoever sends them; and an important customer gets three times the others' share."""

import asyncio
import time

from local import naq, worker

from naq_client import Queue, QueuePolicy, gather


async def request(_number: int) -> float:
    """Ask the API; tell when that was."""
    return time.time()


async def main() -> None:
    """Enqueue more than may start at once, and look at when they started."""
    async with Queue("api") as queue:
        await queue.set_policy(QueuePolicy(rate="20/s", burst=4))
        before = time.time()
        starts = sorted(await gather(*await queue.enqueue_many(queue.call(request, number) for number in range(20)), timeout=60))
        print("all started:", len(starts) == 20)
        print("no faster than the rate:", starts[-1] - before >= (20 - 4) / 20)

        await queue.set_policy(QueuePolicy(rate="40/s", burst=4, key_limit=2, weights={"vip": 3}))
        calls = [queue.options(key=key).call(request, number) for key in ("other", "vip") for number in range(30)]
        jobs = await queue.enqueue_many(calls)
        last = max(await gather(*jobs[30:], timeout=60))
        others = [at for at in await gather(*jobs[:30], timeout=60) if at < last]
        print("vip had about three times as many:", 5 <= len(others) <= 16)
        await queue.set_policy(QueuePolicy())


if __name__ == "__main__":
    with naq("api"), worker("api"):
        asyncio.run(main())
