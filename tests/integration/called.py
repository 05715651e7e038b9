"""Functions that the tests of callbacks enqueue."""

from typing import Any

from naq_client import JobOutcome, current_job, task

runs: list[str] = []
"""The ids of callbacks that have run, once for each time."""


@task
def tell(outcome: JobOutcome, *words: str, mark: str = "") -> dict[str, Any]:
    """Return what a callback is given."""
    runs.append(current_job().job_id)
    return {**outcome.as_dict(), "words": list(words), "mark": mark, "headers": dict(current_job().headers)}


@task(queue="elsewhere")
async def tell_elsewhere(outcome: JobOutcome) -> str:
    return outcome.state


def size_of(outcome: JobOutcome) -> int:
    return len(outcome.result)


@task
def untold(word: str) -> str:
    return word


@task(on_success=tell, on_failure=tell.s("declared"))
def divide(a: int, b: int) -> float:
    return a / b
