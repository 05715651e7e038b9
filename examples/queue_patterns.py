"""A queue for each customer, and one worker that serves all of them, those of new customers too."""

import asyncio

from local import naq, until

from naq_client import Queue
from naq_core import Connection, Settings
from naq_core.inspect import list_workers
from naq_core.manage import delete_queue


async def main() -> None:
    """Enqueue to queues that no worker was started with."""
    async with Connection(Settings.load()) as connection:
        for customer in ("ada", "grace"):
            job = await Queue(f"cust-{customer}", connection=connection).enqueue("math:sqrt", 49)
            print(customer, "has", await job.result(timeout=30))

        await delete_queue(connection, "cust-ada")  # she has left, and so does the worker

        async def only_grace() -> bool:
            return [each["queues"] for each in await list_workers(connection)] == [["cust-grace"]]

        await until(only_grace)
        print((await list_workers(connection))[0]["patterns"], "now means cust-grace")


if __name__ == "__main__":
    with naq("cust-*"):
        asyncio.run(main())
