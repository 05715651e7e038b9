"""The order of jobs that depend on each other."""

from collections.abc import Sequence
from typing import Any, TypeVar

from naq_core.call import JobCall
from naq_core.errors import WorkflowError

AnyCall = TypeVar("AnyCall", bound=JobCall[Any])


def in_order(jobs: Sequence[AnyCall]) -> list[AnyCall]:
    """Return the jobs, parents before their children, otherwise in the order given.

    Raises:
        WorkflowError: One is there twice, or they wait for each other in a circle; names it.
    """
    places: dict[tuple[str, str], int] = {}
    by_id: dict[str, list[int]] = {}
    for place, job in enumerate(jobs):
        if (job.queue, job.job_id) in places:
            raise WorkflowError(f"job {job.job_id} is given twice")
        places[job.queue, job.job_id] = place
        by_id.setdefault(job.job_id, []).append(place)
    parents = [
        {
            at
            for each in job.wiring.after
            for at in (by_id.get(each.id, []) if each.queue == "*" else [places.get((each.queue, each.id), -1)])
        }
        - {-1}
        for job in jobs
    ]
    children: dict[int, list[int]] = {}
    for place, its in enumerate(parents):
        for parent in its:
            children.setdefault(parent, []).append(place)
    missing = [len(its) for its in parents]
    free = [place for place, count in enumerate(missing) if count == 0]
    order: list[int] = []
    for place in free:  # grows
        order.append(place)
        for child in children.get(place, ()):
            missing[child] -= 1
            if missing[child] == 0:
                free.append(child)
    if len(order) < len(jobs):
        raise WorkflowError(f"circular dependency between jobs: {_circle(jobs, parents, set(order))}")
    return [jobs[place] for place in order]


def _circle(jobs: Sequence[JobCall[Any]], parents: Sequence[set[int]], outside: set[int]) -> str:
    place = next(place for place in range(len(jobs)) if place not in outside)
    path: list[int] = []
    while place not in path:
        path.append(place)
        place = next(parent for parent in parents[place] if parent not in outside)
    circle = [*path[path.index(place) :], place]
    return " → ".join(f"{jobs[each].function_name} ({jobs[each].job_id})" for each in reversed(circle))
