"""Jobs, queues and the server, as programs can look at them: nothing is unpickled for it."""

import asyncio

from local import naq

from naq_client import Queue, gather
from naq_core import inspect
from naq_core.views import JobFilter, encode_view


def divide(a: int, b: int) -> float:
    """Fail for b = 0."""
    return a / b


async def main() -> None:
    """Make some jobs, then list, filter, count and page them."""
    async with Queue() as queue:
        jobs = await queue.enqueue_many(queue.call(divide, 10, b) for b in range(5))
        await gather(*jobs, timeout=20, return_exceptions=True)

        connection = await queue.connection()
        page = await inspect.list_jobs(connection, limit=3)
        while True:
            for view in page.jobs:
                print(f"{view.function}({view.arguments}) {view.state} {view.result or view.errors[-1].message}")
            if page.cursor is None:
                break
            print("next page")
            page = await inspect.list_jobs(connection, limit=3, cursor=page.cursor)

        failed = JobFilter(error="ZeroDivisionError")
        print("failed:", (await inspect.count_jobs(connection, failed)).count)
        [view] = (await inspect.list_jobs(connection, failed)).jobs
        print("as JSON:", encode_view(view).decode()[:60], "…")
        print("queue:", (await inspect.get_queue(connection, "default")).queued, "queued")
        print("server:", (await inspect.broker_info(connection)).version)


if __name__ == "__main__":
    with naq():
        asyncio.run(main())
