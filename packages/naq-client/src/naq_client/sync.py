"""The synchronous façade: the same names as `Queue`, blocking, for code without an event loop."""

from collections.abc import Callable, Coroutine, Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any, Self, TypeVar, Unpack, overload

from naq_client._blocking_loop import SyncJob, blocking_loop, enqueue_blocking
from naq_client._options import QueueOptions
from naq_client._schedule import put
from naq_client._schedule_sync import SyncSchedule
from naq_client.queue import Queue, checked_jobs
from naq_client.signature import Signature
from naq_core.events import Event
from naq_core.job import Job
from naq_core.manage import CancelOutcome
from naq_core.options import EnqueueOptions
from naq_core.queue_policy import QueuePolicy
from naq_core.schedules import Reconciled, ScheduleSpec
from naq_core.settings import ServiceSettings, Settings

R = TypeVar("R")


class EnqueuedManySync(list[SyncJob[Any]]):
    """The jobs of one `enqueue_many`, in order."""

    atomic: bool = False


class SyncQueue:
    """As `Queue`, but blocking. Callable from any thread; in a forked process it opens a connection of its own.

    Args and errors are those of `Queue`.
    """

    def __init__(
        self,
        name: str | None = None,
        nats_url: str | None = None,
        *,
        settings: Settings | None = None,
        **overrides: Unpack[ServiceSettings],
    ) -> None:
        self._queue = Queue(name, nats_url, settings=settings, **overrides)
        self.settings = self._queue.settings
        self.name = self._queue.name
        self._options = SyncQueueOptions(self._queue, self._queue.bare_options)

    def __enter__(self) -> Self:
        blocking_loop().run(self._queue.connection())
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<SyncQueue {self.name!r} at {self.settings.redacted_url()}>"

    @property
    def asynchronous(self) -> Queue:
        """The queue that does the work, on an event loop of its own thread."""
        return self._queue

    def close(self) -> None:
        """Close the connection."""
        blocking_loop().run(self._queue.close())

    def call(self, function: Any, /, *args: Any, **kwargs: Any) -> Job[Any]:
        """Make a job without enqueueing it, for `enqueue_many`."""
        return self._queue.call(function, *args, **kwargs)

    def s(self, function: Any, /, *args: Any, **kwargs: Any) -> Signature[Any]:
        """Return a signature of a plain function, for a chain, a group or a workflow; see `Task.s`."""
        return self._queue.s(function, *args, **kwargs)

    @overload
    def enqueue(self, function: Callable[..., Coroutine[Any, Any, R]], /, *args: Any, **kwargs: Any) -> SyncJob[R]: ...
    @overload
    def enqueue(self, function: Callable[..., R], /, *args: Any, **kwargs: Any) -> SyncJob[R]: ...
    @overload
    def enqueue(self, function: str, /, *args: Any, **kwargs: Any) -> SyncJob[Any]: ...
    def enqueue(self, function: Any, /, *args: Any, **kwargs: Any) -> SyncJob[Any]:
        """Enqueue a call and return the job; see `Queue.enqueue`."""
        return self._options.enqueue(function, *args, **kwargs)

    @overload
    def enqueue_at(
        self, when: datetime, function: Callable[..., Coroutine[Any, Any, R]], /, *args: Any, **kwargs: Any
    ) -> SyncJob[R]: ...
    @overload
    def enqueue_at(self, when: datetime, function: Callable[..., R], /, *args: Any, **kwargs: Any) -> SyncJob[R]: ...
    @overload
    def enqueue_at(self, when: datetime, function: str, /, *args: Any, **kwargs: Any) -> SyncJob[Any]: ...
    def enqueue_at(self, when: datetime, function: Any, /, *args: Any, **kwargs: Any) -> SyncJob[Any]:
        """Enqueue a call that starts at an aware time; see `Queue.enqueue_at`."""
        return self._options.enqueue_at(when, function, *args, **kwargs)

    @overload
    def enqueue_in(
        self, delay: float | timedelta, function: Callable[..., Coroutine[Any, Any, R]], /, *args: Any, **kwargs: Any
    ) -> SyncJob[R]: ...
    @overload
    def enqueue_in(self, delay: float | timedelta, function: Callable[..., R], /, *args: Any, **kwargs: Any) -> SyncJob[R]: ...
    @overload
    def enqueue_in(self, delay: float | timedelta, function: str, /, *args: Any, **kwargs: Any) -> SyncJob[Any]: ...
    def enqueue_in(self, delay: float | timedelta, function: Any, /, *args: Any, **kwargs: Any) -> SyncJob[Any]:
        """Enqueue a call that starts after a delay, in seconds or as a `timedelta`."""
        return self._options.enqueue_in(delay, function, *args, **kwargs)

    def enqueue_many(self, jobs: Iterable[Job[Any]]) -> EnqueuedManySync:
        """Enqueue jobs made by `call()`; see `Queue.enqueue_many`."""
        jobs = checked_jobs(jobs)
        for job in jobs:
            job.encode()  # in this thread; see `enqueue_blocking`
        many = blocking_loop().run(self._queue.enqueue_many(jobs))
        result = EnqueuedManySync(SyncJob(job) for job in many)
        result.atomic = many.atomic
        return result

    def schedule(self, function: Any, /, *args: Any, **kwargs: Any) -> SyncSchedule:
        """Enqueue a call again and again; see `Queue.schedule`."""
        return self._options.schedule(function, *args, **kwargs)

    def reconcile(self, origin: str, declared: Iterable[ScheduleSpec] | None = None) -> Reconciled:
        """Make the stored schedules those that are declared; see `Queue.reconcile`."""
        return blocking_loop().run(self._queue.reconcile(origin, declared))

    def get_schedule(self, schedule_id: str) -> SyncSchedule:
        """Return the handle of a schedule; see `Queue.get_schedule`."""
        return SyncSchedule(blocking_loop().run(self._queue.get_schedule(schedule_id)))

    def job(self, job_id: str) -> SyncJob[Any]:
        """Return a handle of a job by its id; see `Queue.job`."""
        return SyncJob(blocking_loop().run(self._queue.job(job_id)))

    def events(self) -> Iterator[Event]:
        """Yield what happens to this queue's jobs, waiting in between; see `Queue.events`."""
        feed = self._queue.events()

        async def following() -> Event:
            return await anext(feed)

        try:
            while True:
                yield blocking_loop().run(following())
        finally:
            blocking_loop().run(feed.aclose())

    def purge(self) -> int:
        """Delete the waiting jobs; see `Queue.purge`."""
        return blocking_loop().run(self._queue.purge())

    def cancel(self, job_id: str, reason: str = "") -> CancelOutcome:
        """End a job of this queue as cancelled; see `Queue.cancel`."""
        return blocking_loop().run(self._queue.cancel(job_id, reason))

    def retry(self, job_id: str) -> None:
        """Put a dead job back to work; see `Queue.retry`."""
        blocking_loop().run(self._queue.retry(job_id))

    def delete(self, job_id: str) -> None:
        """Delete a job and its record; see `Queue.delete`."""
        blocking_loop().run(self._queue.delete(job_id))

    def signal(self, name: str, data: Any = None, *, sender: str = "", ttl: float | timedelta = timedelta(days=7)) -> bool:
        """Send a signal to the jobs that wait for it; see `Queue.signal`."""
        return blocking_loop().run(self._queue.signal(name, data, sender=sender, ttl=ttl))

    def pause(self, until: datetime | None = None) -> None:
        """Stop the delivery of jobs; see `Queue.pause`."""
        blocking_loop().run(self._queue.pause(until))

    def resume(self) -> None:
        """Deliver jobs again; see `Queue.resume`."""
        blocking_loop().run(self._queue.resume())

    def set_limit(self, limit: int | None) -> None:
        """Limit how many jobs run at once; see `Queue.set_limit`."""
        blocking_loop().run(self._queue.set_limit(limit))

    def set_policy(self, policy: QueuePolicy) -> None:
        """Say how many jobs run at once, in all and of each key; see `Queue.set_policy`."""
        blocking_loop().run(self._queue.set_policy(policy))

    def policy(self) -> QueuePolicy:
        """Return how many jobs may run at once, in all and of each key; see `Queue.policy`."""
        return blocking_loop().run(self._queue.policy())

    def is_paused(self) -> bool:
        """Return whether jobs are held back; see `Queue.is_paused`."""
        return blocking_loop().run(self._queue.is_paused())

    def options(self, **options: Unpack[EnqueueOptions]) -> "SyncQueueOptions":
        """Return an enqueuer with options; see `Queue.options`."""
        return SyncQueueOptions(self._queue, self._queue.options(**options))


class SyncQueueOptions:
    """A queue with job options; made by `SyncQueue.options`."""

    __slots__ = ("_options", "_queue")

    def __init__(self, queue: Queue, options: QueueOptions) -> None:
        self._queue = queue
        self._options = options

    def call(self, function: Any, /, *args: Any, **kwargs: Any) -> Job[Any]:
        """Make a job without enqueueing it, for `enqueue_many`."""
        return self._options.call(function, *args, **kwargs)

    def enqueue(self, function: Any, /, *args: Any, **kwargs: Any) -> SyncJob[Any]:
        """Enqueue a call with these options; see `Queue.enqueue`."""
        return enqueue_blocking(self._queue, self._options.call(function, *args, **kwargs))

    def enqueue_at(self, when: datetime, function: Any, /, *args: Any, **kwargs: Any) -> SyncJob[Any]:
        """Enqueue a call that starts at an aware time; see `Queue.enqueue_at`."""
        return enqueue_blocking(self._queue, self._options.later({"at": when}).call(function, *args, **kwargs))

    def enqueue_in(self, delay: float | timedelta, function: Any, /, *args: Any, **kwargs: Any) -> SyncJob[Any]:
        """Enqueue a call that starts after a delay, in seconds or as a `timedelta`."""
        return enqueue_blocking(self._queue, self._options.later({"delay": delay}).call(function, *args, **kwargs))

    def schedule(self, function: Any, /, *args: Any, **kwargs: Any) -> SyncSchedule:
        """Enqueue a call with these options again and again; see `Queue.schedule`."""
        prepared = self._options.prepare_schedule(function, args, kwargs)  # in this thread; see `enqueue_blocking`
        return SyncSchedule(blocking_loop().run(put(self._queue, prepared)))
