"""A worker inside your own program, with a hook around its jobs, that stops when its queues are empty."""

import asyncio
import os

from hook_tasks import database, lookup

from naq_client import Queue
from naq_core.server import EmbeddedServer
from naq_worker import Worker


async def main(url: str) -> None:
    """Enqueue, then work off."""
    async with Queue("hooks", url) as queue:
        jobs = await queue.enqueue_many(queue.call(lookup, key) for key in ("a", "b"))
        await Worker(["hooks"], url, burst=True, hooks=[database]).run()
        for job in jobs:
            print(await job.result(timeout=10))


if __name__ == "__main__":
    if "NAQ_NATS_URL" in os.environ:
        asyncio.run(main(os.environ["NAQ_NATS_URL"]))
    else:
        with EmbeddedServer() as server:
            asyncio.run(main(server.url))
