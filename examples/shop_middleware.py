"""The middleware of `middleware.py`, and the functions that run within it; clients and workers import it."""

import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextvars import ContextVar

from naq_core import Snooze
from naq_core.middleware import Attempt, Enqueue

tenant: ContextVar[str] = ContextVar("tenant", default="nobody")


class Tenant:
    """Takes the tenant along: from where a job is enqueued to where it runs, and to the jobs that it enqueues."""

    def enqueue(self, jobs: Sequence[Enqueue]) -> Iterator[None]:
        """Write it into the job's headers."""
        for job in jobs:
            job.headers.setdefault("tenant", tenant.get())
        yield

    def attempt(self, attempt: Attempt) -> Iterator[None]:
        """Set it for the function, also in a thread or a child process."""
        token = tenant.set(attempt.job.headers.get("tenant", "nobody"))
        yield
        tenant.reset(token)


class Maintenance:
    """Puts off the first attempt of what may not run now."""

    def __init__(self) -> None:
        self._seen: set[str] = set()

    async def attempt(self, attempt: Attempt) -> AsyncIterator[None]:
        """Snooze once: the attempt does not count."""
        if attempt.job.function.endswith(":clean_up") and attempt.job.job_id not in self._seen:
            self._seen.add(attempt.job.job_id)
            raise Snooze(0.1, "not during the day")
        yield


class Timing:
    """Adds to the result how long it took, and turns one error into a result."""

    def attempt(self, attempt: Attempt) -> Iterator[None]:
        """Look at the clock twice."""
        begun = time.perf_counter()
        try:
            yield
        except ZeroDivisionError as error:
            attempt.result = f"nothing to share: {error}"
        seconds = time.perf_counter() - begun
        attempt.result = {"result": attempt.result, "quick": seconds < 60}


def share(amount: float, people: int) -> str:
    """Divide, for the tenant of the job."""
    return f"{tenant.get()}: {amount / people:g} each"


async def clean_up() -> str:
    """Pretend to work for a tenant."""
    return f"cleaned up for {tenant.get()}"
