"""A workflow as a graph: followed as a whole, tried again where it failed, and grown from inside one of its jobs."""

import asyncio
import tempfile
from pathlib import Path

from local import naq

from naq_client import Queue, Workflow, current_workflow, disconnect, result_of, results_of
from naq_core import JobCancelledError


async def fetch(shop: str) -> list[int]:
    """Fetch the prices of a shop."""
    return [len(shop), 10]


async def convert(prices: list[int], rates: str) -> list[int]:
    """Fail while there is no file with the rates."""
    return [price * int(Path(rates).read_text()) for price in prices]  # noqa: ASYNC240 - a tiny local file


async def cheapest(lists: list[list[int]]) -> int:
    """Join the branches, and have the result announced by one more job."""
    price = min(min(prices) for prices in lists)
    workflow = await current_workflow()
    await workflow.add(Queue().call(announce, price))
    await disconnect()
    return price


async def announce(price: int) -> str:
    """Do what the workflow did not know of when it was enqueued."""
    return f"the cheapest is {price}"


async def main(rates: Path) -> None:
    """Build the graph, let it fail, mend what was wrong, and let only the failed part run again."""
    async with Queue() as queue:
        workflow = Workflow("prices")
        shops = [workflow.add(queue.call(fetch, shop)) for shop in ("Lidl", "Edeka")]
        prices = [workflow.add(queue.call(convert, result_of(shop), str(rates))) for shop in shops]
        workflow.add(queue.call(cheapest, results_of(prices)))
        handle = await workflow.enqueue(queue)
        try:
            await handle.result(timeout=10)
        except JobCancelledError as error:
            print("failed:", str(error)[-60:])
        view = await handle.wait(timeout=10)
        print("states:", dict(sorted(view.counts.items())))

        rates.write_text("3")  # noqa: ASYNC240 - a tiny local file
        print("tried again:", await handle.retry(), "jobs")
        print("cheapest:", await handle.result(timeout=10))
        print("added:", (await handle.wait(timeout=10)).jobs[-1].function)


if __name__ == "__main__":
    with naq(), tempfile.TemporaryDirectory() as folder:
        asyncio.run(main(Path(folder) / "rates"))
