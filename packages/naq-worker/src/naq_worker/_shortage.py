"""What the machine is short of: a job that meets this in the worker's own work around it goes back to its queue."""

import contextlib
import errno
import os
from collections.abc import Iterator

THREADS = "threads (ulimit -u, TasksMax= or the pids limit of the container; or the memory for another one)"
_LACKS = {
    errno.EMFILE: "file descriptors of this process (ulimit -n, LimitNOFILE=)",
    errno.ENFILE: "file descriptors of the whole system (fs.file-max)",
    errno.ENOMEM: "memory",
    errno.ENOBUFS: "memory for sockets",
}
_OF_PROCESSES = "processes (ulimit -u, TasksMax= or the pids limit of the container)"
_NO_THREAD = "can't start new thread"  # CPython's; a RuntimeError without an errno


class ShortageError(Exception):
    """The worker's own work around a job cannot be done; says what is missing.

    Args:
        reason: What could not be done, and why.
        may_be_the_jobs: What is missing may be missing because of the job, as of one whose arguments fill the memory.
    """

    def __init__(self, reason: str, *, may_be_the_jobs: bool = False) -> None:
        super().__init__(reason)
        self.may_be_the_jobs = may_be_the_jobs


def lack_of(error: BaseException | None) -> str | None:
    """Return what an error, or a cause of it, says is missing; None where it is an error of another kind."""
    while error is not None:
        if isinstance(error, MemoryError):
            return "memory"
        if isinstance(error, OSError) and error.errno in _LACKS:
            return _LACKS[error.errno]
        if isinstance(error, RuntimeError) and _NO_THREAD in str(error):
            return THREADS
        if isinstance(error, ImportError) and (lack := lack_in(str(error))) is not None:
            return lack
        error = error.__cause__
    return None


def lack_in(text: str) -> str | None:
    """Return what a text says is missing, such as that of the dynamic linker, whose errors have no errno."""
    if MemoryError.__name__ in text:
        return "memory"
    return next((lack for number, lack in _LACKS.items() if os.strerror(number) in text), None)


@contextlib.contextmanager
def noticing(what: str, *, may_be_the_jobs: bool = False) -> Iterator[None]:
    """Raise `ShortageError` in place of an error that comes of a shortage.

    Args:
        what: What cannot be done then, as the beginning of a sentence.
        may_be_the_jobs: As of `ShortageError`.
    """
    try:
        yield
    except BaseException as error:
        if (shortage := shortage_of(what, error, may_be_the_jobs=may_be_the_jobs)) is None:
            raise
        raise shortage from error


def shortage_of(what: str, error: BaseException, *, may_be_the_jobs: bool = False) -> ShortageError | None:
    """Return what `noticing` raises in place of an error, None where it lets the error pass.

    For code that runs once for every job, where a context manager would cost more than the work in it.
    """
    lack = lack_of(error)
    return None if lack is None else ShortageError(_sentence(what, error, lack), may_be_the_jobs=may_be_the_jobs)


@contextlib.contextmanager
def starting(what: str) -> Iterator[None]:
    """Raise `ShortageError` where a process or a thread cannot be started: whatever the reason, the job has no part in it."""
    try:
        with noticing(f"no {what} can start"):
            yield
    except (OSError, RuntimeError) as error:
        lack = _OF_PROCESSES if isinstance(error, BlockingIOError) else None
        raise ShortageError(_sentence(f"no {what} can start", error, lack)) from error


def _sentence(what: str, error: BaseException, lack: str | None) -> str:
    reason = f"{what}: {str(error) or type(error).__name__}"
    return reason if lack is None else f"{reason}. The worker is short of {lack}"
