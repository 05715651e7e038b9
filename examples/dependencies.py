"""Jobs that wait for others, get their results, and end with a reason when one has failed."""

import asyncio

from local import naq

from naq_client import Dependency, Queue, current_job, result_of, results_of
from naq_core import JobCancelledError


def weigh(name: str) -> int:
    """Look up a weight in grams."""
    return {"flour": 500, "water": 320, "salt": 10}[name]


def mix(weights: list[int], factor: int = 1) -> int:
    """Add up what the parents have returned."""
    return sum(weights) * factor


def report() -> str:
    """Say what the parents came to, also those that failed."""
    return ", ".join(
        f"{parent.state}: {parent.result if parent.state == 'succeeded' else parent.reason.split('(')[-1].rstrip(')')}"
        for parent in current_job().parents.values()
    )


async def main() -> None:
    """Enqueue parents and children, in one go and one after the other."""
    async with Queue() as queue:
        parts = await queue.enqueue_many(queue.call(weigh, name) for name in ("flour", "water", "salt"))
        dough = await queue.enqueue(mix, results_of(parts))
        double = await queue.enqueue(mix, [1], factor=result_of(dough))
        print("dough:", await dough.result(timeout=10), "double:", await double.result(timeout=10))

        unknown = await queue.enqueue(weigh, "saffron")
        bread = await queue.enqueue(mix, results_of([*parts, unknown]))
        try:
            await bread.result(timeout=10)
        except JobCancelledError as error:
            print("cancelled:", error)

        told = queue.options(depends_on=[parts[0], Dependency(unknown, allow_failure=True)], parent_results=True)
        print("told:", await (await told.enqueue(report)).result(timeout=10))


if __name__ == "__main__":
    with naq():
        asyncio.run(main())
