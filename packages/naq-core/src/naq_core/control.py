"""What a job's function may raise or return to say what happens next."""

from datetime import timedelta
from typing import Any

from naq_core.values import seconds


class JobControl(Exception):  # noqa: N818 - instructions, not errors
    """Base of the instructions below; each may be raised or returned."""

    # Exceptions are unpickled by calling the class with `args`: keep them so that instructions survive a child process.


class Retry(JobControl):
    """This attempt failed: try again, within `max_retries`.

    Args:
        delay: Seconds or `timedelta` to wait; by default what the job's retry policy says.
        reason: Kept in the job's record.
    """

    def __init__(self, delay: float | timedelta | None = None, reason: str = "") -> None:
        super().__init__(delay, reason)
        self.delay = None if delay is None else seconds(delay, "Retry.delay")
        self.reason = str(reason)


class Snooze(JobControl):
    """Not now: run again after `delay`, without using up an attempt."""

    def __init__(self, delay: float | timedelta, reason: str = "") -> None:
        super().__init__(delay, reason)
        self.delay = seconds(delay, "Snooze.delay")
        self.reason = str(reason)


class Cancel(JobControl):
    """Give up without failing: the job ends as `cancelled` and is not retried."""

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason)
        self.reason = str(reason)


def as_control(value: Any) -> JobControl | None:
    """Return `value` if it is an instruction, so that returning one works like raising it."""
    return value if isinstance(value, JobControl) else None
