"""A job that says how far it is and what it does, watched from outside while it runs."""

import asyncio
import logging
import time

from local import naq

from naq_client import Queue, current_job, track

log = logging.getLogger("bakery")


def bake(loaves: int) -> int:
    """Report each loaf as progress, and log some."""
    for number in track(range(1, loaves + 1), note="baking"):
        time.sleep(0.15)
        if number % 5 == 0:
            log.warning("loaf %d is rather dark", number)
    current_job().log("the oven is off")
    return loaves


async def main() -> None:
    """Show progress and log lines as they come."""
    async with Queue() as queue:
        job = await queue.enqueue(bake, 20)
        shown = 0
        while True:
            view = await job.view()
            for line in view.logs[shown:]:
                print(f"{line.level}: {line.message}")
            shown = len(view.logs)
            if view.state.is_final:
                break
            if view.progress:
                print(f"{view.progress.done:g} of {view.progress.total:g} ({view.progress.note})")
            await asyncio.sleep(0.5)
        print("result, as a preview:", view.result)


if __name__ == "__main__":
    with naq():
        asyncio.run(main())
