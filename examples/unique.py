"""One job of a key at a time, and of a burst of calls only the last."""

import asyncio

from local import naq

from naq_client import Queue
from naq_core import DuplicateJobError


async def build(report: str, version: int) -> str:
    """Take a while to build a report."""
    await asyncio.sleep(0.3)
    return f"{report}, version {version}"


async def main() -> None:
    """Ask for the same reports again and again."""
    async with Queue() as queue:
        first = await queue.options(unique="report-7").enqueue(build, "report 7", 1)
        try:
            await queue.options(unique="report-7").enqueue(build, "report 7", 2)
        except DuplicateJobError as error:
            print("refused:", error)
        there = await queue.options(unique="report-7", on_clash="return").enqueue(build, "report 7", 3)
        print("new:", there.is_new, "result:", await there.result(timeout=10))
        again = await queue.options(unique="report-7").enqueue(build, "report 7", 4)
        print("after its end:", await again.result(timeout=10), "same id:", again.job_id == first.job_id)

        old = await queue.options(unique="report-8", delay=3600).enqueue(build, "report 8", 1)
        new = await queue.options(unique="report-8", on_clash="replace").enqueue(build, "report 8", 2)
        print("replaced:", await new.result(timeout=10), "for both:", await old.result(timeout=10) == await new.result())

        calls = [await queue.options(unique="report-9", debounce=0.5).enqueue(build, "report 9", n) for n in range(1, 11)]
        print("of ten calls:", {await call.result(timeout=10) for call in calls})


if __name__ == "__main__":
    with naq():
        asyncio.run(main())
