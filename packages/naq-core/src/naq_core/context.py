"""What a running job can know and say about itself."""

from __future__ import annotations

import time
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Mapping, Sized
from contextvars import Context, ContextVar
from datetime import datetime
from typing import Any, TypeVar, overload

import msgspec

from naq_core.control import JobControl, Retry
from naq_core.dependency import ParentOutcome
from naq_core.errors import AttemptTimeoutError, JobCancelledError, NaqError
from naq_core.names import SIGNAL, is_signal
from naq_core.previews import clean_text
from naq_core.record import LogLine
from naq_core.retry import RetryPolicy
from naq_core.sent_signal import Signal, read_signal

LONGEST_LINE = 2000
REPORT_INTERVAL = 0.1
"""Seconds between two reports: a loop of a million steps must not spend its time on telling."""

T = TypeVar("T")

_current: ContextVar[JobContext | None] = ContextVar("naq_current_job", default=None)


class StopFlag:
    """Tells an attempt that its result is not wanted any more; read from any thread."""

    __slots__ = ("is_set", "reason")

    def __init__(self) -> None:
        self.is_set = False
        self.reason: AttemptTimeoutError | None = None
        """The error that the attempt ends with because it was stopped, if it is one."""


class JobContext(msgspec.Struct, frozen=True):
    """The job that runs here."""

    job_id: str
    """The job's id; use it as an idempotency key towards other systems."""
    queue: str
    function: str
    attempt: int
    """1 for the first attempt; a snooze does not count."""
    enqueued_at: datetime
    workflow: str = ""
    """Id of the workflow it belongs to; empty without one."""
    tags: tuple[str, ...] = ()
    headers: Mapping[str, str] = {}
    """Texts that travel with the job, by their names."""
    max_attempts: int = 1
    """How many attempts it may have; an attempt whose worker has died adds one."""
    schedule: str = ""
    """Id of the schedule that has fired it; empty without one."""
    _retry: RetryPolicy = RetryPolicy()
    _fence: int = 0
    _on_fence: Callable[[], None] | None = None
    """Called when the job reads its fence, where it is not claimed yet."""
    _parents: tuple[ParentOutcome, ...] | None = None
    _report: Callable[[float, float | None, str], None] | None = None
    _stop: StopFlag | None = None
    _log: Callable[[LogLine], None] | None = None
    _keeps_logs: bool = False
    """Whether what the job logs through `logging` is kept with it."""

    def __repr__(self) -> str:
        return f"<JobContext of job {self.job_id} on {self.queue!r}, attempt {self.attempt}>"

    @property
    def fence(self) -> int:
        """Grows with every attempt of the job, across workers: let a store refuse writes with a smaller one."""
        if self._on_fence is not None:
            self._on_fence()
        return self._fence

    @property
    def is_cancelled(self) -> bool:
        """Whether this attempt should end now: the job was cancelled or timed out, or the worker is returning it to its queue.

        Async functions are cancelled and processes killed, so this is for functions in threads, which cannot be stopped from
        outside. The result of such a function is discarded.
        """
        return self._stop is not None and self._stop.is_set

    @property
    def timeout_error(self) -> AttemptTimeoutError | None:
        """The error that this attempt ends with if its `timeout` is over; None otherwise. Not for `process=True`."""
        return None if self._stop is None else self._stop.reason

    def will_retry(self, error: BaseException) -> bool:
        """Return whether the job is tried again if this attempt ends with an error, or with `Retry`."""
        if self.attempt >= self.max_attempts:
            return False
        return isinstance(error, Retry) or (not isinstance(error, JobControl) and self._retry.wants(error))

    @property
    def parents(self) -> dict[str, ParentOutcome]:
        """The outcomes of the job's parents, by id.

        Raises:
            NaqError: The job was enqueued without `parent_results=True` (or arguments by `result_of`).
        """
        if self._parents is None:
            raise NaqError("the outcomes of the parents are not available: enqueue the job with parent_results=True")
        return {parent.job_id: parent for parent in self._parents if not is_signal(parent.job_id)}

    @property
    def signal(self) -> Signal:
        """The signal that the job has waited for: its data, and who has sent it.

        Raises:
            NaqError: The job was enqueued without `wait_for`, or the signal is not kept any more.
        """
        for each in self._parents or ():
            if is_signal(each.job_id):
                name = each.job_id.removeprefix(SIGNAL)
                if each.state is None:
                    raise NaqError(f"the data of signal {name} has expired: send the signal with a longer ttl")
                return read_signal(name, each.stored)
        raise NaqError("this job waits for no signal: enqueue it with wait_for=…")

    def progress(self, done: float, total: float | None = None, note: str = "") -> None:
        """Report progress; kept in the job's record, at most a few times a second, and readable while the job runs.

        Callable from async functions, threads and child processes; never blocks.

        Raises:
            JobCancelledError: `is_cancelled`; so that a function in a thread that reports progress ends soon.
        """
        if self.is_cancelled:
            raise JobCancelledError(self.job_id, "this attempt was cancelled or superseded")
        if self._report is not None:
            self._report(float(done), None if total is None else float(total), clean_text(str(note), 500))

    def log(self, message: str, level: str = "INFO") -> None:
        """Keep a line with the job: readable while the job runs (within a second or so) and afterwards.

        What the job logs through `logging`, in its own thread or event loop task, is kept likewise. The newest 200 lines of a
        job, of all its attempts, and 16 KiB are kept. Callable from async functions, threads and child processes; never blocks.
        """
        if self._log is not None:
            line = LogLine(time.time(), str(level), clean_text(str(message), LONGEST_LINE), self.attempt)
            self._log(line)


def running_job() -> JobContext | None:
    """Return the context of the job that this code runs in, None outside."""
    return _current.get()


def current_job() -> JobContext:
    """Return the context of the job that this code runs in.

    Raises:
        NaqError: Called outside a job.
    """
    context = _current.get()
    if context is None:
        raise NaqError("current_job() was called outside a job; a function with batch=… has current_batch()")
    return context


def job_in(context: Context) -> JobContext | None:
    """Return the job of another context than the current one."""
    return context.get(_current)


def set_current_job(context: JobContext | None) -> None:
    """Enter a job (for workers; each attempt runs in its own copy of the context, so there is nothing to leave)."""
    _current.set(context)


@overload
def track(iterable: AsyncIterable[T], total: float | None = None, note: str = "") -> AsyncIterator[T]: ...
@overload
def track(iterable: Iterable[T], total: float | None = None, note: str = "") -> Iterator[T]: ...
def track(iterable: Any, total: float | None = None, note: str = "") -> Any:
    """Iterate, and report as the job's progress how many items are done.

    As in `for row in track(rows): ...`; outside a job it only iterates.

    Args:
        iterable: Anything to loop over, with `for` or `async for`.
        total: How many there will be; by default its length, where it has one.
        note: What is being done, for people.

    Raises:
        JobCancelledError: While iterating, in a thread: the job was cancelled or its time is over.
    """
    if total is None and isinstance(iterable, Sized):
        total = len(iterable)
    if isinstance(iterable, AsyncIterable):
        return _track_async(iterable, total, note)
    return _track(iterable, total, note)


class _Steps:
    """Counts, and reports now and then."""

    def __init__(self, total: float | None, note: str) -> None:
        self._job = running_job()
        self._total = total
        self._note = note
        self._done = 0
        self._next = time.monotonic() + REPORT_INTERVAL
        self.report()

    def report(self) -> None:
        if self._job is not None:
            self._job.progress(self._done, self._total, self._note)

    def step(self) -> None:
        self._done += 1
        if self._job is not None and time.monotonic() >= self._next:
            self.report()
            self._next = time.monotonic() + REPORT_INTERVAL


def _track(iterable: Iterable[T], total: float | None, note: str) -> Iterator[T]:
    steps = _Steps(total, note)
    for item in iterable:
        yield item
        steps.step()
    steps.report()


async def _track_async(iterable: AsyncIterable[T], total: float | None, note: str) -> AsyncIterator[T]:
    steps = _Steps(total, note)
    async for item in iterable:
        yield item
        steps.step()
    steps.report()
