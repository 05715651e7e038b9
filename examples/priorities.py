"""Jobs in order of importance: three levels in a queue, and two queues by weight."""

import asyncio
from collections import Counter

from local import naq
from priority_tasks import started, work

from naq_client import Queue
from naq_worker import Worker


async def levels() -> None:
    """Enqueue the least important jobs first."""
    async with Queue("levels") as queue:
        for level in ("low", "normal", "high"):
            await queue.enqueue_many(queue.options(priority=level).call(work, level) for _ in range(40))
    started.clear()
    await Worker(["levels"], concurrency=1, burst=True).run()
    print("most of the first 30 are", Counter(started[:30]).most_common(1)[0][0])
    print("most of the last 30 are", Counter(started[-30:]).most_common(1)[0][0])
    print("but low did not have to wait to the end:", "low" in started[:60])


async def weights() -> None:
    """Give three quarters of the slots to one queue, while both have work."""
    for name in ("mail", "reports"):
        async with Queue(name) as queue:
            await queue.enqueue_many(queue.call(work, name) for _ in range(100))
    started.clear()
    await Worker({"mail": 3, "reports": 1}, concurrency=2, burst=True).run()
    share = Counter(started[:80])["mail"] / 80
    print("about three of four were mail:", 0.6 < share < 0.9)


if __name__ == "__main__":
    with naq("unused"):
        asyncio.run(levels())
        asyncio.run(weights())
