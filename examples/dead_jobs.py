"""Jobs that have failed for good: looked at, put back to work, deleted; one by one and by filter."""

import asyncio
import tempfile
from pathlib import Path

from local import naq

from naq_client import Queue, gather
from naq_core import JobState, inspect, manage
from naq_core.views import JobFilter


def read_size(path: str) -> int:
    """Fail while the file is not there."""
    return Path(path).stat().st_size


def repair(path: str) -> None:
    """Let the file be there."""
    Path(path).write_text("it is here now", encoding="utf-8")


async def main(path: str) -> None:
    """Let jobs fail, repair the cause, and have them run again."""
    async with Queue() as queue:
        connection = await queue.connection()
        jobs = await queue.enqueue_many(queue.call(read_size, path) for _ in range(20))
        await gather(*jobs, timeout=20, return_exceptions=True)
        await asyncio.sleep(0.5)  # a job is laid to the dead ones the moment after its end is known

        dead = JobFilter(states=frozenset({JobState.DEAD}), error="FileNotFoundError")
        print("dead:", (await inspect.count_jobs(connection, dead)).count)
        view = await inspect.get_job(connection, jobs[0].job_id)
        print("why:", view.errors[-1].type, "at attempt", view.errors[-1].attempt)

        repair(path)
        await queue.retry(jobs[0].job_id)
        print("put back:", await jobs[0].result(timeout=10))
        await queue.delete(jobs[1].job_id)

        done = await manage.bulk(connection, "retry", dead, on_progress=lambda done: print("so far:", done))
        print("put back by filter:", done, set(await gather(*jobs[2:], timeout=20)))
        print("dead:", (await inspect.count_jobs(connection, dead)).count)


if __name__ == "__main__":
    with naq(), tempfile.TemporaryDirectory() as folder:
        asyncio.run(main(str(Path(folder) / "data.txt")))
