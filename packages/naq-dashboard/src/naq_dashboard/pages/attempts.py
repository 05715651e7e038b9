"""The attempts of a job that failed, and how each differs from the one before."""

from dataclasses import dataclass
from difflib import unified_diff
from itertools import pairwise

from naq_core.record import AttemptError
from naq_core.views import JobView
from naq_dashboard.languages import _

__all__ = ["FailedAttempt", "attempts"]

MOST_LINES = 200
"""Of a difference; the beginning tells what it is."""


@dataclass(frozen=True, slots=True)
class FailedAttempt:
    """Why an attempt did not succeed."""

    error: AttemptError
    before: int | None = None
    """The number of the attempt that it is compared with; None for the first."""
    is_same: bool = False
    """Whether that one failed in exactly the same way."""
    difference: str = ""
    """Lines of the error before with `-`, and of this one with `+`; empty where one of the tracebacks is not kept."""


def attempts(view: JobView) -> list[FailedAttempt]:
    """Return why attempts did not succeed, the newest first."""
    if not view.errors:
        return []
    found = [FailedAttempt(view.errors[0]), *(_compared(old, new) for old, new in pairwise(view.errors))]
    return found[::-1]


def _compared(old: AttemptError, new: AttemptError) -> FailedAttempt:
    if (old.type, old.message) == (new.type, new.message) and (not old.traceback or old.traceback == new.traceback):
        return FailedAttempt(new, old.attempt, is_same=True)
    if not old.traceback and new.traceback:  # only the tracebacks of the newest are kept
        return FailedAttempt(new, old.attempt)
    before, after = (_("attempt %(number)s") % {"number": each.attempt} for each in (old, new))
    lines = list(unified_diff(_lines(old), _lines(new), before, after, lineterm="", n=1))
    return FailedAttempt(new, old.attempt, difference="\n".join(lines[:MOST_LINES]))


def _lines(error: AttemptError) -> list[str]:
    return [*error.traceback.splitlines(), f"{error.type}: {error.message}"]
