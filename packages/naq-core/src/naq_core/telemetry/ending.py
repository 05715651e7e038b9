"""How an attempt has ended, as its middleware sees it."""

from asyncio import CancelledError
from types import TracebackType
from typing import Any, Literal, NamedTuple, TypeAlias

from naq_core.control import Cancel, Retry, Snooze, as_control
from naq_core.errors import AttemptTimeoutError
from naq_core.middleware import Attempt

Outcome: TypeAlias = Literal["succeeded", "retried", "snoozed", "cancelled", "failed", "timed_out", "interrupted"]


class Ending(NamedTuple):
    """The end of one attempt."""

    outcome: Outcome
    """`interrupted`: the job was cancelled from outside, or goes back to its queue as the worker stops."""
    error: BaseException | None = None
    """Why it failed; None if it did not. A job that asks for `Retry`, `Snooze` or `Cancel` has not failed."""
    is_final: bool = True
    """Whether the job has ended with it."""


def own_frames(error: BaseException) -> TracebackType | None:
    """Return the traceback of an error without NAQ's frames around the function."""
    frames = error.__traceback__
    while frames is not None and frames.tb_next is not None and _is_around(frames.tb_frame.f_globals):
        frames = frames.tb_next
    return frames


def _is_around(module: dict[str, Any]) -> bool:
    """By the package: the name of a child process's module is `__main__`."""
    return str(module.get("__package__")).partition(".")[0] in {"naq_core", "naq_worker", "asyncio", "contextlib"}


def ending_of(attempt: Attempt, raised: BaseException | None) -> Ending:
    """Return how an attempt has ended.

    Args:
        raised: What was raised at the `yield`; None if nothing was.
    """
    job = attempt.job
    control = as_control(attempt.result if raised is None else raised)
    if control is None and raised is None:
        return Ending("succeeded")
    if isinstance(control, Snooze):
        return Ending("snoozed", is_final=False)
    if isinstance(control, Cancel):
        return Ending("cancelled")
    error = control or raised
    assert error is not None  # noqa: S101 - one of the two is there
    if isinstance(error, CancelledError) and job.is_cancelled:
        if job.timeout_error is None:
            return Ending("interrupted", is_final=False)
        late = AttemptTimeoutError(job.job_id, job.timeout_error.seconds).with_traceback(error.__traceback__)
        return Ending("timed_out", late, is_final=not job.will_retry(late))
    if job.will_retry(error):
        return Ending("retried", None if isinstance(error, Retry) else error, is_final=False)
    return Ending("failed", error)
