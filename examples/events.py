"""What happens to the jobs of a queue, as it happens."""

import asyncio
from contextlib import aclosing

from local import naq

from naq_client import Queue
from naq_core import JobState


async def flaky(name: str) -> str:
    """Fail the first time."""
    from naq_client import current_job  # noqa: PLC0415 - the function is sent with its imports

    if current_job().attempt == 1:
        raise ConnectionError("no answer")
    return f"hello {name}"


async def main() -> None:
    """Enqueue when the first event shows that the subscription stands, and follow one job to its end."""
    async with Queue() as queue:

        async def enqueue_until_seen() -> None:
            while True:
                await queue.options(max_retries=1, retry_delay=0.05).enqueue(flaky, "Ada")
                await asyncio.sleep(0.2)

        followed = ""
        enqueueing = asyncio.create_task(enqueue_until_seen())
        async with aclosing(queue.events()) as events:
            async for event in events:
                if not followed and event.kind == "started" and event.attempt == 1:
                    followed = event.job_id
                    enqueueing.cancel()
                if event.job_id != followed:
                    continue
                print(f"{event.kind}: {event.function} (attempt {event.attempt})")
                if event.state is JobState.SUCCEEDED:
                    break


if __name__ == "__main__":
    with naq():
        asyncio.run(main())
