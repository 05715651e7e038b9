"""Cancelling jobs that wait, that are delayed and that run, on the event loop, in a thread and in a process."""

import asyncio
import time

from local import naq

from naq_client import Queue, current_job
from naq_core import JobCancelledError


async def sleep(seconds: float) -> None:
    """Be cancelled at the next await."""
    await asyncio.sleep(seconds)


def count(seconds: float) -> int:
    """Run in a thread, which nobody can stop from outside: look whether somebody wants that."""
    done = 0
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if current_job().is_cancelled:
            print(f"asked to stop: {done > 0}", flush=True)
            return done
        time.sleep(0.01)
        done += 1
    return done


def spin(seconds: float) -> None:
    """Run in a process, which is killed."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


async def main() -> None:
    """Cancel one of each."""
    async with Queue() as queue:
        later = await queue.options(delay=3600).enqueue(sleep, 1)
        print("delayed:", await later.cancel("no longer needed"))

        jobs = {
            "coroutine": await queue.enqueue(sleep, 60),
            "thread": await queue.enqueue(count, 60),
            "process": await queue.options(process=True).enqueue(spin, 60),
        }
        for kind, job in jobs.items():
            while await job.status() != "running":  # noqa: ASYNC110 - events.py shows how to be told instead
                await asyncio.sleep(0.05)
            begun = time.monotonic()
            outcome = await job.cancel(f"we have seen the {kind}")
            try:
                await job.result(timeout=10)
            except JobCancelledError as error:
                print(f"{kind}: {outcome}, {error}; within a second: {time.monotonic() - begun < 1}")
        print("again:", await jobs["thread"].cancel())
        await queue.retry(later.job_id)
        print("put back:", await later.status() in {"queued", "running"})


if __name__ == "__main__":
    with naq():
        asyncio.run(main())
