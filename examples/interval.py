"""A call again and again, at a fixed interval: watched, paused, triggered by hand, changed and removed."""

import asyncio
from datetime import timedelta

from local import naq, scheduler, until

from naq_client import Queue


def measure(place: str) -> str:
    """Pretend to measure."""
    return f"{place}: 21 degrees"


async def main() -> None:
    """Have it measured three times, every half second."""
    async with Queue() as queue:
        schedule = await queue.schedule(measure, "attic", interval=0.5, max_runs=3, schedule_id="attic")
        gaps = [late - early for early, late in zip(schedule.next_runs(3), schedule.next_runs(3)[1:], strict=False)]
        print("every:", gaps[0].total_seconds(), "s, without drift:", set(gaps) == {timedelta(seconds=0.5)})

        async def is_over() -> bool:
            return (await schedule.refresh()).next_at is None

        await until(is_over)
        for firing in reversed(await schedule.history()):
            print(f"  {firing.kind} for {firing.at:%H:%M:%S.%f}, {firing.late * 1000:.0f} ms late")

        await schedule.update(interval="1h", max_runs=None, overlap="skip")
        await schedule.pause()
        print("paused, next:", schedule.view.next_at)
        job = await schedule.trigger()  # also while it is paused
        print("by hand:", await job.result(timeout=10))
        await schedule.resume()
        print("runs again:", schedule.view.next_at is not None)
        await schedule.delete()


if __name__ == "__main__":
    with naq(), scheduler():
        asyncio.run(main())
