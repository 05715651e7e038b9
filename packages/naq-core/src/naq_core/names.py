"""Names that become tokens of NATS subjects, and new job ids."""

import os
import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from time import time_ns

from naq_core.errors import InvalidNameError
from naq_core.platforms import at_fork
from naq_core.values import exact_text

_QUEUE = re.compile(r"[A-Za-z0-9_-]{1,64}")
_QUEUE_PATTERN = re.compile(r"[A-Za-z0-9_*-]{1,64}")
_NEW_ID = re.compile(r"[0-9a-f]{28}")
_JOB_ID = re.compile(r"[A-Za-z0-9_=-]{1,128}")
_WORKER_NAME = re.compile(r"[A-Za-z0-9-]{1,64}")
_SCHEDULE_ID = re.compile(r"[A-Za-z0-9_-]{1,90}")
_SIGNAL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_=:@.+-]{0,127}")

SIGNAL = "signal:"
"""Before the name of a signal where the id of a parent may stand; no id can begin so."""
MOST_LISTED = 10
"""Names that `listed` writes out."""

_tails: list[str] = []
"""Random halves of ids to come: one system call for 256 of them. Taking one needs no lock, which a fork could leave held."""


def listed(names: Sequence[str]) -> str:
    """Return names for a line that people read: the first ten, and how many more there are."""
    shown = ", ".join(names[:MOST_LISTED])
    return shown if len(names) <= MOST_LISTED else f"{shown} and {len(names) - MOST_LISTED:,} more"


def check_queue(name: object) -> str:
    """Return `name` as a plain `str` if it can name a queue.

    Raises:
        InvalidNameError: It is not 1 to 64 letters, digits, `_` or `-` (a dot, a star or a space would change the subject).
    """
    text = name if type(name) is str else exact_text(name)
    if text is None or not _QUEUE.fullmatch(text):
        raise InvalidNameError("queue name", name, "use 1 to 64 letters, digits, '_' or '-'")
    return text


def check_queue_or_any(name: object) -> str:
    """Return a queue's name, or `*`, which means whichever queue a job is in.

    Raises:
        InvalidNameError: It is neither.
    """
    return "*" if name == "*" else check_queue(name)


def check_queue_pattern(name: object) -> str:
    """Return `name` as a plain `str` if it can name a queue, or is a pattern: a name with `*`, for any characters, in it.

    Raises:
        InvalidNameError: It is neither.
    """
    text = name if type(name) is str else exact_text(name)
    if text is None or not _QUEUE_PATTERN.fullmatch(text):
        raise InvalidNameError("queue name", name, "use 1 to 64 letters, digits, '_' or '-', and '*' for any characters")
    return text


def is_pattern(name: str) -> bool:
    """Return whether a checked name stands for all queues that match it."""
    return "*" in name


def matches(pattern: str, queue: str) -> bool:
    """Return whether a queue has this name, or matches this pattern."""
    return fnmatchcase(queue, pattern)


def is_queue(text: str) -> bool:
    """Return whether text could name a queue."""
    return bool(_QUEUE.fullmatch(text))


def check_job_id(job_id: object) -> str:
    """Return `job_id` as a plain `str` if it can identify a job.

    Raises:
        InvalidNameError: It is not 1 to 128 letters, digits, `_`, `-` or `=`.
    """
    text = job_id if type(job_id) is str else exact_text(job_id)
    if text is None or not _JOB_ID.fullmatch(text):
        raise InvalidNameError("job id", job_id, "use 1 to 128 letters, digits, '_', '-' or '='")
    return text


def check_place(job_id: object, queue: object = "*") -> tuple[str, str]:
    """Return the id and the queue of a job; the queue is `*` where it is not said.

    Args:
        job_id: The id, or the id with its queue: `order-1@emails`.
        queue: The queue's name, or `*`, which means whichever queue the job is in.

    Raises:
        InvalidNameError: One of them is no name, or two different queues are named.
    """
    text = job_id if type(job_id) is str else exact_text(job_id)
    queue = check_queue_or_any(queue)
    if text is None or "@" not in text:
        return check_job_id(job_id), queue
    text, _, named = text.rpartition("@")
    if queue not in {"*", check_queue(named)}:
        raise InvalidNameError("job id", job_id, f"it names a different queue than {queue!r}")
    return check_job_id(text), named


def is_job_id(text: str) -> bool:
    """Return whether text could identify a job."""
    return bool(_JOB_ID.fullmatch(text))


def check_workflow_id(workflow_id: object) -> str:
    """Return `workflow_id` as a plain `str` if it can identify a workflow.

    Raises:
        InvalidNameError: It is not 1 to 128 letters, digits, `_`, `-` or `=`.
    """
    return _checked("workflow id", workflow_id, _JOB_ID, "use 1 to 128 letters, digits, '_', '-' or '='")


def check_schedule_id(schedule_id: object) -> str:
    """Return `schedule_id` as a plain `str` if it can name a schedule.

    Raises:
        InvalidNameError: It is not 1 to 90 letters, digits, `_` or `-`.
    """
    return _checked("schedule id", schedule_id, _SCHEDULE_ID, "use 1 to 90 letters, digits, '_' or '-'")


def check_signal(name: object) -> str:
    """Return `name` as a plain `str` if it can name a signal.

    Raises:
        InvalidNameError: It is not 1 to 128 letters, digits, `_`, `-`, `=`, `:`, `@`, `.` or `+`, with a letter or digit first.
    """
    rule = "use 1 to 128 letters, digits, '_', '-', '=', ':', '@', '.' or '+', beginning with a letter or a digit"
    return _checked("signal name", name, _SIGNAL, rule)


def is_signal(parent_id: str) -> bool:
    """Return whether what stands in the place of a parent's id is a signal."""
    return parent_id.startswith(SIGNAL)


def check_parent_id(parent_id: str) -> str:
    """Return the id of a job, or a signal in its place.

    Raises:
        InvalidNameError: It is neither.
    """
    return check_signal_id(parent_id) if is_signal(parent_id) else check_job_id(parent_id)


def check_signal_id(parent_id: str) -> str:
    """Return what stands for a signal in the place of a parent's id.

    Raises:
        InvalidNameError: It is something else.
    """
    return SIGNAL + check_signal(parent_id.removeprefix(SIGNAL) if is_signal(parent_id) else "")


def check_worker_name(name: object) -> str:
    """Return `name` as a plain `str` if the ids of workers can begin with it.

    Raises:
        InvalidNameError: It is not 1 to 64 letters, digits or `-`.
    """
    return _checked("worker name", name, _WORKER_NAME, "use 1 to 64 letters, digits or '-'")


def _checked(kind: str, name: object, pattern: re.Pattern[str], rule: str) -> str:
    text = exact_text(name)
    if text is None or not pattern.fullmatch(text):
        raise InvalidNameError(kind, name, rule)
    return text


def is_new_id(job_id: str) -> bool:
    """Return whether an id looks like one that `new_id` made, which is never used twice."""
    return _NEW_ID.fullmatch(job_id) is not None


def new_id() -> str:
    """Return a new id of 28 hexadecimal digits that sorts by its time of making (48 bits of milliseconds, 64 random bits)."""
    while True:
        try:
            return f"{time_ns() // 1_000_000:012x}{_tails.pop()}"
        except IndexError:
            fresh = os.urandom(2048).hex()
            _tails.extend(fresh[at : at + 16] for at in range(0, len(fresh), 16))


at_fork(after_in_child=_tails.clear)  # a forked child must not make its parent's ids
