"""A function that a Python worker and one in JavaScript both have: `tests/test_javascript.py`."""

import asyncio
from pathlib import Path

from naq_core import JobOutcome, current_job


async def note(folder: str, seconds: float) -> str:
    """Write down that this job runs here."""
    with (Path(folder) / current_job().job_id).open("a") as file:
        file.write("python\n")
    await asyncio.sleep(seconds)
    return "python"


def told(outcome: JobOutcome) -> object:
    """Take the outcome of a job as its callback."""
    return outcome.result
