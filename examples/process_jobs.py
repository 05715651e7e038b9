"""Jobs in child processes: for CPU-bound work, and for code that may crash or hang."""

import asyncio
import os

from local import naq

from naq_client import Queue
from naq_core import JobFailedError


def primes_below(limit: int) -> int:
    """Keep one CPU busy without holding up the worker's other jobs."""
    return sum(all(number % divisor for divisor in range(2, int(number**0.5) + 1)) for number in range(2, limit))


def endless() -> None:
    """Never return: only a process can be stopped from outside."""
    while True:
        pass


def where() -> int:
    """Tell which process this is."""
    return os.getpid()


async def main() -> None:
    """Run them with `process=True`."""
    async with Queue() as queue:
        in_worker = await queue.enqueue(where)
        in_child = await queue.options(process=True).enqueue(where)
        print("same process:", await in_worker.result(10) == await in_child.result(10))
        counts = [await queue.options(process=True).enqueue(primes_below, limit) for limit in (1_000, 10_000)]
        print("primes:", [await job.result(timeout=20) for job in counts])
        job = await queue.options(process=True, timeout=0.5).enqueue(endless)
        try:
            await job.result(timeout=20)
        except JobFailedError as error:
            print("killed:", str(error).splitlines()[0])


if __name__ == "__main__":
    with naq():
        asyncio.run(main())
