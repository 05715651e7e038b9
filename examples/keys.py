"""Jobs with keys: those of one customer run one after the other, in order, while other customers' jobs run beside them."""

import asyncio
import time
from itertools import pairwise

from local import naq, worker

from naq_client import Queue, QueuePolicy, gather


async def load(_number: int) -> tuple[float, float]:
    """Import one of a customer's files; two of one customer at once would get in each other's way."""
    begun = time.time()
    await asyncio.sleep(0.02)
    return begun, time.time()


async def main() -> None:
    """Enqueue the files of two customers, one of whom has many; look at who waited for whom."""
    async with Queue() as queue:
        big = await queue.enqueue_many(queue.options(key="big").call(load, number) for number in range(50))
        small = await queue.options(key="small").enqueue(load, 0)
        spans = await gather(*big, timeout=20)
        print("one after the other, in order:", all(one[1] <= other[0] for one, other in pairwise(spans)))
        print("small did not wait for big:", (await small.result(timeout=10))[0] < spans[-1][0])

        await queue.set_policy(QueuePolicy(key_limit=3))
        spans = await gather(*await queue.enqueue_many(queue.options(key="big").call(load, n) for n in range(30)), timeout=20)
        print("at once:", max(sum(begun <= at < ended for begun, ended in spans) for at, _ in spans))
        await queue.set_policy(QueuePolicy())


if __name__ == "__main__":
    with naq(), worker():
        asyncio.run(main())
