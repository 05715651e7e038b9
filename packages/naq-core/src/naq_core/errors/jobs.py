"""Errors about one job."""

from collections.abc import Sequence
from datetime import datetime

from naq_core.errors.base import NaqError


class JobError(NaqError):
    """Something about one job."""

    def __init__(self, job_id: str, message: str) -> None:
        self.job_id = job_id
        super().__init__(f"job {job_id}: {message}")


class JobNotFoundError(JobError, LookupError):
    """Neither a job nor a record of that id exists (any more).

    Attributes:
        elsewhere: Other queues that have a job of this id, where one queue alone was asked.
    """

    def __init__(self, job_id: str, queue: str = "*", elsewhere: Sequence[str] = ()) -> None:
        self.elsewhere = tuple(elsewhere)
        where = "no such job" if queue == "*" else f"no such job in queue {queue!r}"
        if elsewhere:
            super().__init__(job_id, f"{where}; there is one in queue {' and '.join(map(repr, elsewhere))}")
        else:
            super().__init__(job_id, f"{where}; it never existed, was deleted, or its record has expired")


class AmbiguousJobError(JobError, ValueError):
    """An id was given alone, and jobs of several queues have it; nothing was done.

    Attributes:
        queues: The queues, in the order of their names.
    """

    def __init__(self, job_id: str, queues: Sequence[str]) -> None:
        self.queues = tuple(queues)
        names = ", ".join(map(repr, queues))
        super().__init__(job_id, f"the queues {names} have a job with this id: specify one, as in {job_id}@{queues[0]}")


class DuplicateJobError(JobError):
    """A live job with this id exists, or one was enqueued within the window of its key.

    Attributes:
        until: The end of that window; None if a live job is in the way.
    """

    def __init__(self, job_id: str, until: datetime | None = None) -> None:
        self.until = until
        what = "a live job with this id exists"
        if until is not None:
            what = f"one was enqueued with this key, which is in use until {until:%Y-%m-%dT%H:%M:%SZ} (unique_for, throttle)"
        super().__init__(job_id, f"{what}; nothing was enqueued")


class BatchResultError(NaqError, ValueError):
    """What a function with `batch=…` returned does not say which result is whose."""


class JobStateError(JobError):
    """The job is in a state in which this cannot be done with it; nothing was changed."""

    def __init__(self, job_id: str, state: str, problem: str) -> None:
        self.state = str(state)
        self.problem = problem
        super().__init__(job_id, f"is {self.state}; nothing was changed: {problem}")


class TransitionError(JobStateError):
    """A move that `naq_core.transitions.MOVES` does not list."""

    def __init__(self, job_id: str, state: str, wanted: str) -> None:
        super().__init__(job_id, state, f"a job in this state cannot become {wanted}")


class JobFailedError(JobError):
    """The job failed for good; carries what its last attempt raised, as text.

    The traceback in the worker is a note too (`__notes__`), so that a program that does not catch this error prints it.
    """

    def __init__(self, job_id: str, error_type: str, error_message: str, error_traceback: str = "") -> None:
        self.error_type = error_type
        self.error_message = error_message
        self.error_traceback = error_traceback
        super().__init__(job_id, f"failed with {error_type}: {error_message}")
        if error_traceback:
            self.add_note(f"\nIn the worker:\n{error_traceback.rstrip()}")


class JobCancelledError(JobError):
    """The job was cancelled."""

    def __init__(self, job_id: str, reason: str = "") -> None:
        self.reason = reason
        super().__init__(job_id, f"was cancelled{f': {reason}' if reason else ''}")


class JobExpiredError(JobError):
    """The job was not started before its expiry."""

    def __init__(self, job_id: str, reason: str = "") -> None:
        super().__init__(job_id, f"expired before it was started{reason and ': '}{reason}")


class AttemptTimeoutError(JobError, TimeoutError):
    """An attempt took longer than the job's `timeout` and was stopped; this is what its record says."""

    def __init__(self, job_id: str, seconds: float) -> None:
        self.seconds = seconds
        super().__init__(job_id, f"the attempt exceeded its timeout of {seconds:g} s")


class JobTimeoutError(JobError, TimeoutError):
    """The job had not ended when the caller's patience did; it goes on regardless."""

    def __init__(self, job_id: str, seconds: float) -> None:
        self.seconds = seconds
        super().__init__(job_id, f"has not ended within {seconds:g} s (it continues)")


class EnqueueSkippedError(NaqError):
    """Middleware has left out an enqueue, or has caught its error: the jobs are not stored."""

    def __init__(self, job_ids: list[str]) -> None:
        self.job_ids = job_ids
        names = ", ".join(job_ids[:3]) + (f" and {len(job_ids) - 3} more" if len(job_ids) > 3 else "")
        super().__init__(f"{names} not stored: middleware returned before its yield, or suppressed the error of the enqueue")
