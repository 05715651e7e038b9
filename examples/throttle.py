"""At most one job in a window of time: for a task as a whole, and for each of its arguments."""

import asyncio

from local import naq

from naq_client import Queue, task
from naq_core import DuplicateJobError


@task(throttle=60)
async def refresh_prices() -> str:
    """Fetch all prices; more than once a minute would be a waste."""
    return "fresh"


@task(unique_by=["user"], unique_for=24 * 3600)
async def welcome(user: str, language: str = "en") -> str:
    """Welcome a user, once a day at most."""
    return f"hello {user} ({language})"


async def main() -> None:
    """Enqueue more than is wanted."""
    async with Queue() as queue:
        jobs = [await queue.enqueue(refresh_prices) for _ in range(5)]
        print("new:", [job.is_new for job in jobs], "results:", {await job.result(timeout=10) for job in jobs})

        print(await (await queue.enqueue(welcome, "ada")).result(timeout=10))
        print(await (await queue.enqueue(welcome, "grace", "de")).result(timeout=10))
        try:
            await queue.enqueue(welcome, user="ada", language="de")
        except DuplicateJobError as error:
            print("not again today:", error.until is not None)


if __name__ == "__main__":
    with naq():
        asyncio.run(main())
