"""Jobs for later: after a delay, at a time, not too late; and what can be done with them before they start."""

import asyncio
from datetime import UTC, datetime, timedelta

from local import naq

from naq_client import Queue
from naq_core import JobExpiredError
from naq_core.manage import cancel_job, reschedule, run_now


async def remind(name: str) -> str:
    """Say that it is time."""
    return f"{name}: it is time"


async def main() -> None:
    """Plan some reminders, and change the plans."""
    async with Queue() as queue:
        connection = await queue.connection()

        soon = await queue.enqueue_in(0.5, remind, "soon")
        print("state:", await soon.status())
        print(await soon.result(timeout=10))

        tomorrow = await queue.enqueue_at(datetime.now(UTC) + timedelta(days=1), remind, "tomorrow")
        await run_now(connection, tomorrow.job_id)
        print(await tomorrow.result(timeout=10), "(told to run now)")

        next_week = await queue.enqueue_in(timedelta(weeks=1), remind, "next week")
        await reschedule(connection, next_week.job_id, datetime.now(UTC) + timedelta(seconds=0.5))
        print(await next_week.result(timeout=10), "(earlier than planned)")

        never = await queue.enqueue_in(timedelta(weeks=1), remind, "never")
        print("cancelled:", await cancel_job(connection, never.job_id, "no longer needed"))

        late = await queue.options(expires=datetime.now(UTC) - timedelta(minutes=1)).enqueue(remind, "late")
        try:
            await late.result(timeout=10)
        except JobExpiredError as error:
            print("too late:", error)


if __name__ == "__main__":
    with naq():
        asyncio.run(main())
