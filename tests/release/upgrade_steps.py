"""What `upgrade.py` lets each of two versions do: `python upgrade_steps.py STEP PREFIX`.

Uses only what both versions have, and the standard library.
"""

from __future__ import annotations

import asyncio
import json
import math
import operator
import sys
from datetime import timedelta
from typing import Any

from naq_client import Queue
from naq_core.errors import JobFailedError
from naq_core.inspect import get_job
from naq_core.manage import retry_job

PATIENCE = 60
EXPECTED = {"parent": 5, "child": 6, "later": 2, "high": 120, "process": 6, "large": 1_000_000}


async def enqueue(queue: Queue, prefix: str) -> dict[str, Any]:
    """Enqueue one job of each kind, and make a schedule."""
    parent = await queue.options(job_id=f"{prefix}-parent").enqueue(operator.add, 2, 3)
    await queue.options(job_id=f"{prefix}-child", depends_on=[parent]).enqueue(operator.mul, 2, 3)
    await queue.options(job_id=f"{prefix}-later", delay=timedelta(seconds=2)).enqueue(operator.sub, 5, 3)
    await queue.options(job_id=f"{prefix}-high", priority="high").enqueue("math:factorial", 5)
    await queue.options(job_id=f"{prefix}-process", process=True).enqueue(math.gcd, 12, 18)
    await queue.options(job_id=f"{prefix}-large").enqueue(len, "x" * 1_000_000)
    await queue.options(job_id=f"{prefix}-dead", max_retries=0).enqueue(math.sqrt, -1)
    await queue.schedule(math.ceil, 1.5, interval=1, schedule_id=f"{prefix}-often")
    return {"jobs": len(EXPECTED) + 1, "schedules": 1}


async def results(queue: Queue, prefix: str) -> dict[str, Any]:
    """Wait for their results, and for a firing of the schedule."""
    found = {name: await (await queue.job(f"{prefix}-{name}")).result(timeout=PATIENCE) for name in EXPECTED}
    if found != EXPECTED:
        raise AssertionError(found)
    try:
        await (await queue.job(f"{prefix}-dead")).result(timeout=PATIENCE)
    except JobFailedError:
        pass
    else:
        raise AssertionError("the dead job has a result")
    schedule = await queue.get_schedule(f"{prefix}-often")
    async with asyncio.timeout(PATIENCE):
        while not schedule.view.runs:
            await asyncio.sleep(0.2)
            await schedule.refresh()
    return {"results": len(found), "dead": 1, "firings": schedule.view.runs}


async def manage(queue: Queue, prefix: str) -> dict[str, Any]:
    """Requeue the dead job, which dies again; pause, resume and remove the schedule."""
    connection = await queue.connection()
    before = await get_job(connection, f"{prefix}-dead")
    await retry_job(connection, f"{prefix}-dead")
    async with asyncio.timeout(PATIENCE):
        while (  # noqa: ASYNC110 - the older version has no other way
            job := await get_job(connection, f"{prefix}-dead")
        ).state != "dead" or len(job.errors) <= len(before.errors):
            await asyncio.sleep(0.2)
    schedule = await queue.get_schedule(f"{prefix}-often")
    await schedule.pause()
    await schedule.resume()
    await schedule.delete()
    return {"attempts of the dead job": len(job.errors)}


async def main(step: str, prefix: str) -> None:
    """Run one step and print what it found."""
    async with Queue() as queue:
        print(json.dumps(await {"enqueue": enqueue, "results": results, "manage": manage}[step](queue, prefix)))


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
