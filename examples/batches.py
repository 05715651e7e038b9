"""One call for many jobs, each of which has its own outcome."""

import asyncio

from local import naq

from naq_client import Queue, task
from naq_core import JobFailedError, current_batch


@task(batch=5, window=0.2)
async def price(products: list[str]) -> list[int | Exception]:
    """Ask for the prices of many products at once."""
    job = current_batch().jobs[0]
    job.log(f"one call for {len(products)} jobs")
    return [len(name) if name != "unicorn" else LookupError("we do not sell unicorns") for name in products]


async def main() -> None:
    """Enqueue single jobs, and see that they were run together."""
    async with Queue() as queue:
        names = ["tea", "honey", "unicorn", "bread", "milk"]
        jobs = dict(zip(names, await queue.enqueue_many([price.call(name) for name in names]), strict=True))
        for name, job in jobs.items():
            try:
                print(name, await job.result(timeout=10))
            except JobFailedError as error:
                print(name, "failed:", error)
        records = [await job.record() for job in jobs.values()]
        print([line.message for record in records if record is not None for line in record.logs])


if __name__ == "__main__":
    with naq():
        asyncio.run(main())
