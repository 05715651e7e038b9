"""A chosen job id makes enqueueing repeatable: one id, one live job, one end."""

import asyncio
import secrets

from local import naq

from naq_client import Queue


async def charge(order: str) -> str:
    """Do what must not be done twice."""
    return f"{order} charged"


async def main() -> None:
    """Enqueue the same order three times, as a program does that does not know whether it did."""
    order = f"order-{secrets.token_hex(4)}"
    async with Queue() as queue:
        jobs = [await queue.options(job_id=order).enqueue(charge, order) for _ in range(3)]
        results = [await job.result(timeout=10) for job in jobs]
        print("one job:", len({job.job_id for job in jobs}) == 1, "one result:", len(set(results)) == 1)
        record = await jobs[0].record()
        print("attempts:", record.attempt if record else 0)


if __name__ == "__main__":
    with naq():
        asyncio.run(main())
