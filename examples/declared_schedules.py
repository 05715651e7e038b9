"""Schedules declared in code: what is added, changed or removed there is so on the server after the next start."""

import asyncio

from local import naq, scheduler, until

from naq_client import Queue, scheduled
from naq_core.schedules import list_schedules


def remind(whom: str) -> str:
    """Pretend to remind somebody."""
    return f"reminded {whom}"


async def main() -> None:
    """Look at what `naq scheduler --imports scheduled_tasks` has set up, and reconcile a list of our own."""
    async with Queue() as queue:

        async def has_fired_twice() -> bool:
            views = {view.schedule_id: view for view in await list_schedules(await queue.connection())}
            return "heartbeat" in views and views["heartbeat"].runs >= 2

        await until(has_fired_twice)
        beat = await queue.get_schedule("heartbeat")
        print(f"declared in {beat.view.origin}: {beat.view.function}, fired at least twice")

        ada, bob = queue.call(remind, "ada"), queue.call(remind, "bob")
        monday = [scheduled(ada, cron="0 9 * * *", schedule_id="ada"), scheduled(bob, cron="0 9 * * *", schedule_id="bob")]
        print("first start:", await queue.reconcile("reminders", monday))
        tuesday = [scheduled(ada, cron="0 10 * * *", schedule_id="ada")]
        print("later start:", await queue.reconcile("reminders", tuesday))


if __name__ == "__main__":
    with naq(), scheduler("--imports", "scheduled_tasks"):
        asyncio.run(main())
