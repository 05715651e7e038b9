"""Resources: functions ask for a pool or a session by a parameter; the worker opens it, and closes it at the end."""

import asyncio
import logging
import os

from shop_resources import sell, stock

from naq_core import JobFailedError
from naq_core.resources import override
from naq_core.server import EmbeddedServer
from naq_worker import Worker


async def main() -> None:
    """Sell bread and cake: the third sale fails, and is rolled back."""
    logging.getLogger("naq_worker.jobs").disabled = True  # the failure is printed below
    jobs = [await sell.enqueue(what) for what in ("bread", "cake", "cake", "bread")]
    await Worker("default", burst=True, concurrency=1).run()
    for job in jobs:
        try:
            print(await job.result(timeout=20))
        except JobFailedError as error:
            print("refused:", error)

    with override(stock, {"cake": 100}):  # as a test does
        print(await (sell.call("cake")).execute())


if __name__ == "__main__":
    if "NAQ_NATS_URL" in os.environ:
        asyncio.run(main())
    else:
        with EmbeddedServer() as server:
            os.environ["NAQ_NATS_URL"] = server.url
            asyncio.run(main())
