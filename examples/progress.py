"""What a running job knows of itself, and how it says how far it is."""

import asyncio

from local import naq

from naq_client import Queue
from naq_core import current_job


async def bake(loaves: int) -> str:
    """Report progress after each loaf."""
    job = current_job()
    for done in range(1, loaves + 1):
        await asyncio.sleep(0.2)
        job.progress(done, loaves, note=f"loaf {done} is out")
    return f"job {job.job_id} on queue {job.queue!r}, attempt {job.attempt}"


async def main() -> None:
    """Watch the job's record while it runs."""
    async with Queue() as queue:
        job = await queue.options(job_id="bread").enqueue(bake, 5)
        seen = -1.0
        while not (await job.status()).is_final:
            record = await job.record()
            if record and record.progress and record.progress.done > seen:
                seen = record.progress.done
                print(f"{seen:g} of {record.progress.total:g}: {record.progress.note}")
            await asyncio.sleep(0.05)
        print(await job.result(timeout=10))


if __name__ == "__main__":
    with naq():
        asyncio.run(main())
