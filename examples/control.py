"""Jobs that decide what happens next: Retry, Snooze and Cancel, raised or returned."""

import asyncio
import time
from typing import Any

from local import naq

from naq_client import Cancel, Queue, Retry, Snooze, current_job
from naq_core import JobCancelledError


def fetch_report() -> str:
    """Ask for another attempt with a delay of its own."""
    if current_job().attempt == 1:
        raise Retry(delay=0.2, reason="the report is not ready")
    return f"report fetched at attempt {current_job().attempt}"


def after(moment: float) -> Any:
    """Wait for a time without using up an attempt, and without keeping the worker busy."""
    if time.time() < moment:
        return Snooze(0.3, reason="too early")
    return f"it is time (attempt {current_job().attempt})"


def ship(order: int) -> None:
    """Give up without failing."""
    raise Cancel(f"order {order} was withdrawn")


async def main() -> None:
    """Enqueue one of each."""
    async with Queue() as queue:
        job = await queue.options(max_retries=3).enqueue(fetch_report)
        print(await job.result(timeout=10))
        print(await (await queue.enqueue(after, time.time() + 0.5)).result(timeout=10))
        try:
            await (await queue.enqueue(ship, 17)).result(timeout=10)
        except JobCancelledError as error:
            print("cancelled:", error)


if __name__ == "__main__":
    with naq():
        asyncio.run(main())
