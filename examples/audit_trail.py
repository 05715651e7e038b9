"""Who did what: actions are noted before they are carried out, with what came of them, in a trail that cannot be changed."""

import asyncio
from contextlib import suppress

from local import naq

from naq_client import Queue
from naq_core import JobNotFoundError
from naq_core.audit import Actor, read_trail, recorded
from naq_core.manage import cancel_job, pause_queue, resume_queue


async def main() -> None:
    """Do what the dashboard and the command line do, in somebody's name, and read the trail."""
    ada = Actor("ada", "shop admin")
    async with Queue() as queue:
        connection = await queue.connection()
        async with recorded(connection, ada, "pause-queue", queue.name, {"reason": "the printer is on fire"}):
            await pause_queue(connection, queue.name)
        async with recorded(connection, ada, "resume-queue", queue.name):
            await resume_queue(connection, queue.name)
        with suppress(JobNotFoundError):
            async with recorded(connection, ada, "cancel-job", "nobody"):
                await cancel_job(connection, "nobody")
        for entry in (await read_trail(connection, limit=3)).entries:
            print(f"{entry.by} {entry.action} {entry.target}: {entry.outcome} {entry.details or entry.reason}")


if __name__ == "__main__":
    with naq():
        asyncio.run(main())
