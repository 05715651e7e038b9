"""Jobs that follow the end of another one, with its result or its error."""

import asyncio

from local import naq

from naq_client import JobOutcome, JobState, Queue
from naq_core import inspect
from naq_core.views import JobFilter


def charge(order: int) -> str:
    """Take the money for an order, if there is any."""
    if order == 13:
        raise ValueError("the card was refused")
    return f"receipt {order}"


def report(outcome: JobOutcome, to: str) -> None:
    """Say how a job has ended."""
    if outcome.is_success:
        why = outcome.result
    elif outcome.error is not None:
        why = f"{outcome.error.type}: {outcome.error.message}"
    else:
        why = outcome.reason
    print(f"to {to}: {outcome.state} after {outcome.attempts} attempts: {why}", flush=True)


async def main() -> None:
    """Enqueue one job that succeeds, one that fails twice, and one that is cancelled before it starts."""
    async with Queue() as queue:
        told = queue.options(
            max_retries=1,
            on_success=queue.s(report, "shipping"),
            on_failure=[queue.s(report, "support"), queue.s(report, "ada")],
        )
        await told.enqueue(charge, 7)
        await told.enqueue(charge, 13)
        later = await told.enqueue_in(3600, charge, 8)
        await later.cancel("out of stock")
        of_reports = JobFilter(function="report", states=frozenset({JobState.SUCCEEDED}))
        while len((await inspect.list_jobs(await queue.connection(), of_reports)).jobs) < 5:  # noqa: ASYNC110 - another process runs them
            await asyncio.sleep(0.05)


if __name__ == "__main__":
    with naq():
        asyncio.run(main())
