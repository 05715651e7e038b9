"""Cron expressions, with seconds, a number of runs and what to do about overlapping runs."""

import asyncio

from local import naq, scheduler, until

from naq_client import Queue
from naq_core import InvalidScheduleError


async def report(kind: str) -> str:
    """Make a report."""
    return f"the {kind} report"


async def main() -> None:
    """Schedule some reports, one of which is due every second."""
    async with Queue() as queue:
        weekly = await queue.options(max_retries=3).schedule(
            report, "weekly", cron="30 9 * * mon", timezone="Europe/Berlin", overlap="skip", schedule_id="weekly"
        )
        print("weekly:", [f"{at:%a %d %b %H:%M} UTC" for at in weekly.next_runs(3)])

        # Five fields, or six with the seconds at the end.
        often = await queue.schedule(report, "small", cron="* * * * * *", max_runs=2, schedule_id="often")

        async def has_fired_twice() -> bool:
            return (await often.refresh()).runs == 2

        await until(has_fired_twice)
        newest = (await often.history())[0]
        print(f"fired: {newest.job_id}, {newest.at:%S.%f} s past the minute")

        for wrong in ("0 0 31 2 *", "61 * * * *", "every day"):
            try:
                await queue.schedule(report, "never", cron=wrong)
            except InvalidScheduleError as error:
                print("refused:", error)


if __name__ == "__main__":
    with naq(), scheduler():
        asyncio.run(main())
