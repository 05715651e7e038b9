"""Progress of a loop, reported by the loop itself."""

import time
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator, Sized
from typing import Any, TypeVar, overload

from naq_core.context import running_job

T = TypeVar("T")

INTERVAL = 0.1
"""Seconds between two reports: a loop of a million steps must not spend its time on telling."""


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
        self._next = time.monotonic() + INTERVAL
        self.report()

    def report(self) -> None:
        if self._job is not None:
            self._job.progress(self._done, self._total, self._note)

    def step(self) -> None:
        self._done += 1
        if self._job is not None and time.monotonic() >= self._next:
            self.report()
            self._next = time.monotonic() + INTERVAL


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
