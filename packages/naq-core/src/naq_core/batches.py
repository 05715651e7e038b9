"""Tasks whose jobs are run together, one call for many: `@task(batch=100, window=0.5)` (`docs/batches.md`)."""

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, NamedTuple

from naq_core.batch_form import batch_of, item_of
from naq_core.context import JobContext, running_job
from naq_core.errors import BatchResultError, NaqError
from naq_core.functions import unwrap


class JobBatch(NamedTuple):
    """The jobs that one call is for."""

    jobs: tuple[JobContext, ...]
    """In the order of the list that the function was given."""


_current: ContextVar[JobBatch | None] = ContextVar("naq_current_batch", default=None)


def current_batch() -> JobBatch:
    """Return the jobs that this call of a batch task is for.

    Raises:
        NaqError: Called outside the function of a batch task.
    """
    batch = _current.get()
    if batch is None:
        raise NaqError("current_batch() was called outside the function of a task with batch=…")
    return batch


def enter_batch(jobs: Sequence[JobContext]) -> None:
    """Begin a call (for workers; each has a context of its own, so there is nothing to leave)."""
    _current.set(JobBatch(tuple(jobs)))


def results_of_batch(returned: Any, jobs: Sequence[JobContext]) -> list[Any]:
    """Return the result of each job, from what the function returned for all of them; an exception is that job's failure.

    Raises:
        BatchResultError: It cannot be told which result is whose.
    """
    if returned is None:
        return [None] * len(jobs)
    if isinstance(returned, Mapping):
        ids = [job.job_id for job in jobs]
        if foreign := [key for key in returned if key not in ids]:
            raise BatchResultError(f"the mapping has results for {foreign[0]!r}, which is not the id of a job of this call")
        missing = BatchResultError("the mapping that the function returned has no result for this job")
        return [returned.get(job_id, missing) for job_id in ids]
    if isinstance(returned, str | bytes | bytearray) or not isinstance(returned, Sequence):
        kind = type(returned).__name__
        raise BatchResultError(f"the function must return a list of results, a mapping by job id, or None, not a {kind}")
    if len(returned) != len(jobs):
        raise BatchResultError(f"the function returned {len(returned):,} results for {len(jobs):,} jobs")
    return list(returned)


def alone(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that runs one job: of a batch task one that calls it for this job only, of any other the function."""
    form = batch_of(function)
    if form is None:
        return function
    plain = unwrap(function)

    def given(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        job = running_job()
        enter_batch(() if job is None else (job,))
        return [item_of(form, args, kwargs)], {name: value for name, value in kwargs.items() if name != form.parameter}

    if inspect.iscoroutinefunction(plain):

        @functools.wraps(plain)
        async def one(*args: Any, **kwargs: Any) -> Any:
            items, rest = given(args, kwargs)
            return _only(await plain(items, **rest))

        return one

    @functools.wraps(plain)
    def one_plain(*args: Any, **kwargs: Any) -> Any:
        items, rest = given(args, kwargs)
        return _only(plain(items, **rest))

    return one_plain


def _only(returned: Any) -> Any:
    """Return the one result, or raise what stands for it."""
    if isinstance(returned, Mapping) and len(returned) == 1:
        returned = list(returned.values())
    elif isinstance(returned, Sequence) and len(returned) != 1:
        raise BatchResultError(f"the function returned {len(returned):,} results for 1 job")
    result = None if returned is None else results_of_batch(returned, [None])[0]  # type: ignore[list-item]  # only counted
    if isinstance(result, Exception):
        raise result
    return result
