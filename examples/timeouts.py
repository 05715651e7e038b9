"""Timeouts: of one attempt, and of waiting for a result."""

import asyncio

from local import naq

from naq_client import Queue
from naq_core import JobFailedError, JobTimeoutError


async def slow(seconds: float) -> str:
    """Take a while."""
    await asyncio.sleep(seconds)
    return "finished"


async def main() -> None:
    """Show both."""
    async with Queue() as queue:
        job = await queue.options(timeout=0.3).enqueue(slow, 30)
        try:
            await job.result(timeout=10)
        except JobFailedError as error:
            print("the attempt was stopped:", str(error).splitlines()[0])

        job = await queue.enqueue(slow, 1)
        try:
            await job.result(timeout=0.2)
        except JobTimeoutError:
            print("not ended yet, state:", await job.status())
        print("later:", await job.result(timeout=10))


if __name__ == "__main__":
    with naq():
        asyncio.run(main())
