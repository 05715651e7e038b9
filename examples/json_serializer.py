"""JSON instead of pickle: nothing is unpickled, and the worker decides which functions may run."""

import asyncio

import json_tasks
from local import naq

from naq_client import Queue
from naq_core import EncodeError, JobFailedError


async def main() -> None:
    """Run an allowed function, then what is refused, on either side."""
    async with Queue() as queue:
        job = await queue.enqueue(json_tasks.invoice, 7, [1.5, 2.5])
        print("allowed:", await job.result(timeout=10))
        try:
            await queue.enqueue(lambda: None)
        except EncodeError as error:
            print("refused by the client:", error)
        try:
            await (await queue.enqueue(json_tasks.not_a_task)).result(timeout=10)
        except JobFailedError as error:
            print("refused by the worker:", str(error).splitlines()[0])


if __name__ == "__main__":
    with naq(NAQ_JOB_SERIALIZER="json", NAQ_ALLOWED_FUNCTIONS="json_tasks:invoice"):
        asyncio.run(main())
