"""The queue, as a producer sees it."""

from collections.abc import Callable, Coroutine, Iterable
from datetime import datetime, timedelta
from typing import Any, Self, TypeVar, Unpack, overload

from naq_client._managed import ManagedQueue
from naq_client._options import QueueOptions, job_of, with_named_options
from naq_client._schedule import Schedule
from naq_client.signature import Signature
from naq_core.enqueue.submit import in_budget, submit, submit_many
from naq_core.errors import EncodeError, InvalidOptionError
from naq_core.job import Job
from naq_core.names import check_place, check_queue
from naq_core.option_set import NO_OPTION_SET, OptionSet
from naq_core.options import ENQUEUE_OPTIONS, EnqueueOptions, check_names
from naq_core.schedules import Reconciled, ScheduleSpec, declared_specs, reconcile
from naq_core.settings import ServiceSettings, Settings
from naq_core.storage.connection import Connection
from naq_core.storage.loops import LoopConnections
from naq_core.storage.records import queues_of, the_queue
from naq_core.values import members

R = TypeVar("R")


class EnqueuedMany(list[Job[Any]]):
    """The jobs of one `enqueue_many`, in order."""

    atomic: bool = False
    """Stored all or none (up to 1,000), instead of pipelined."""


class Queue(ManagedQueue):
    """Enqueues jobs. Use as `async with Queue("mail") as queue:`, or call `close()` yourself.

    Args:
        name: The queue. A name given here wins over the queue that a task declares; without one, tasks go to theirs and all else
            to the queue of the setting `default_queue`.
        nats_url: The server; by default the setting `nats_url`.
        settings: Ready settings, instead of those of the environment.
        connection: An open connection to share, or connections of each event loop; it is then not closed with the queue.
        overrides: Any other setting by its name, such as `publish_budget=2`; it wins over the ready settings.

    Raises:
        InvalidNameError, ConfigurationError: A name or setting is wrong.
    """

    def __init__(
        self,
        name: str | None = None,
        nats_url: str | None = None,
        *,
        settings: Settings | None = None,
        connection: Connection | LoopConnections | None = None,
        **overrides: Unpack[ServiceSettings],
    ) -> None:
        if connection is not None:
            if not isinstance(connection, Connection | LoopConnections):
                raise InvalidOptionError(
                    "connection", f"takes an open Connection, not a {type(connection).__name__}; an address is nats_url"
                )
            if settings is not None or nats_url is not None or overrides:
                name_of = "settings" if settings is not None else "nats_url" if nats_url is not None else min(overrides)
                raise InvalidOptionError(name_of, "cannot be given with a connection, which has its own settings")
            settings = connection.settings
        self.settings = Settings.choose(settings, type(self), nats_url=nats_url, **overrides)
        self.name = check_queue(self.settings.default_queue if name is None else name)
        self.is_named = name is not None
        """Whether it was given a name, which wins over the queue that a task declares."""
        self._is_shared = connection is not None
        self._connection = connection or LoopConnections(self.settings, f"naq-client-{self.name}")

    async def __aenter__(self) -> Self:
        await self.connection()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<Queue {self.name!r} at {self.settings.redacted_url()}>"

    async def connection(self) -> Connection:
        """Return the running event loop's open connection, opening it the first time.

        A connection that `close()` has not closed ends with its event loop.

        Raises:
            EventLoopError: The connection was given, and belongs to another event loop.
            BrokerUnavailableError: The server cannot be reached.
            JetStreamDisabledError, ServerTooOldError: Not the server NAQ needs.
        """
        if isinstance(self._connection, LoopConnections):
            return await self._connection.get()
        return await self._connection.here()

    async def close(self) -> None:
        """Close the running event loop's connection, unless it was given.

        Calls that wait for a result, and later ones of its jobs and schedules, raise `ConnectionClosedError`. The next `enqueue`
        opens another connection.
        """
        if not self._is_shared:
            await self._connection.close()

    @overload
    def call(self, function: Callable[..., Coroutine[Any, Any, R]], /, *args: Any, **kwargs: Any) -> Job[R]: ...
    @overload
    def call(self, function: Callable[..., R], /, *args: Any, **kwargs: Any) -> Job[R]: ...
    @overload
    def call(self, function: str, /, *args: Any, **kwargs: Any) -> Job[Any]: ...
    def call(self, function: Any, /, *args: Any, **kwargs: Any) -> Job[Any]:
        """Make a job without enqueueing it, for `enqueue_many`."""
        given = with_named_options(NO_OPTION_SET, function, kwargs) if kwargs else NO_OPTION_SET
        job = job_of(self, function, args, kwargs, given)
        job.check()
        return job

    def s(self, function: Any, /, *args: Any, **kwargs: Any) -> Signature[Any]:
        """Return a signature of a plain function, for a chain, a group or a workflow; see `Task.s`."""
        return self.bare_options.s(function, *args, **kwargs)

    @overload
    async def enqueue(self, function: Callable[..., Coroutine[Any, Any, R]], /, *args: Any, **kwargs: Any) -> Job[R]: ...
    @overload
    async def enqueue(self, function: Callable[..., R], /, *args: Any, **kwargs: Any) -> Job[R]: ...
    @overload
    async def enqueue(self, function: str, /, *args: Any, **kwargs: Any) -> Job[Any]: ...
    async def enqueue(self, function: Any, /, *args: Any, **kwargs: Any) -> Job[Any]:
        """Enqueue a call of `function` and return the job.

        The names of options (`max_retries=3`) may stand among the keywords where the function has no such parameter;
        `options()` has no such limit. When this returns, the job is stored.

        Args:
            function: Anything callable, or its name as `"module:function"`, so that the producer need not have the code.
            args: Its positional arguments.
            kwargs: Its keyword arguments.

        Raises:
            EncodeError: Function or arguments cannot be serialized; nothing was sent.
            PayloadTooLargeError: They are larger than the server accepts; nothing was sent.
            EnqueueUnknownError: The server went away in between; enqueue again with the error's job id.
        """
        job = self.call(function, *args, **kwargs)
        await submit(self, job)
        return job

    @overload
    async def enqueue_at(
        self, when: datetime, function: Callable[..., Coroutine[Any, Any, R]], /, *args: Any, **kwargs: Any
    ) -> Job[R]: ...
    @overload
    async def enqueue_at(self, when: datetime, function: Callable[..., R], /, *args: Any, **kwargs: Any) -> Job[R]: ...
    @overload
    async def enqueue_at(self, when: datetime, function: str, /, *args: Any, **kwargs: Any) -> Job[Any]: ...
    async def enqueue_at(self, when: datetime, function: Any, /, *args: Any, **kwargs: Any) -> Job[Any]:
        """Enqueue a call that starts at a time: the server keeps it until then, and no process of yours has to run.

        Args:
            when: An aware datetime, such as `datetime.now(UTC) + timedelta(hours=1)`. One that has passed means now.
            function: As of `enqueue`.
            args: As of `enqueue`.
            kwargs: As of `enqueue`.

        Raises:
            InvalidOptionError: `when` is naive, so its time zone is ambiguous; `when.astimezone()` says that
                local time is.
        """
        return await self.bare_options.enqueue_at(when, function, *args, **kwargs)

    @overload
    async def enqueue_in(
        self, delay: float | timedelta, function: Callable[..., Coroutine[Any, Any, R]], /, *args: Any, **kwargs: Any
    ) -> Job[R]: ...
    @overload
    async def enqueue_in(self, delay: float | timedelta, function: Callable[..., R], /, *args: Any, **kwargs: Any) -> Job[R]: ...
    @overload
    async def enqueue_in(self, delay: float | timedelta, function: str, /, *args: Any, **kwargs: Any) -> Job[Any]: ...
    async def enqueue_in(self, delay: float | timedelta, function: Any, /, *args: Any, **kwargs: Any) -> Job[Any]:
        """Enqueue a call that starts after a delay, in seconds or as a `timedelta`; see `enqueue_at`."""
        return await self.bare_options.enqueue_in(delay, function, *args, **kwargs)

    async def enqueue_many(self, jobs: Iterable[Job[Any]]) -> EnqueuedMany:
        """Enqueue jobs made by `call()` (or a task's `call()`): up to 1,000 all or none, more in a pipeline.

        Returns:
            The jobs; `.atomic` says which of the two it was.

        Raises:
            DuplicateJobError: A chosen `job_id` of an atomic batch exists; nothing was enqueued.
            EnqueueUnknownError: Names the jobs that may be missing.
        """
        many = EnqueuedMany(checked_jobs(jobs))
        if many:
            many.atomic = await in_budget(self, many, lambda connection: submit_many(connection, many))
        return many

    async def schedule(self, function: Callable[..., Any] | Job[Any] | str, /, *args: Any, **kwargs: Any) -> Schedule:
        """Enqueue a call again and again: `await queue.schedule(report, cron="30 9 * * mon-fri", timezone="Europe/Berlin")`.

        A scheduler (`naq scheduler`) has to run for it to fire. Scheduling with the same `schedule_id` again changes that
        schedule; without an id, one is made of what is scheduled and when, so that a program may do this at each start.

        Args:
            function: As of `enqueue`; or a job made by `call()`, where the function itself has a parameter with the name of
                one of the options below.
            args: Its positional arguments.
            kwargs: Its keyword arguments, and the options of `naq_core.options.ScheduleOptions`, which documents each: cron or
                interval, timezone, schedule_id, start_at, end_at, max_runs, jitter, overlap, misfire and grace (None: any
                delay). `docs/schedules.md` says what happens when clocks change. `paused=True` makes it paused, False resumes
                it; by default it stays as it was, and a new one fires.

        Raises:
            InvalidScheduleError: A value is wrong; names it and what is allowed. Nothing was stored.
            EncodeError, PayloadTooLargeError: The call cannot be stored. BrokerError: Unknown whether it was; do it again.
        """
        return await self.bare_options.schedule(function, *args, **kwargs)

    async def reconcile(self, origin: str, declared: Iterable[ScheduleSpec] | None = None) -> Reconciled:
        """Make the stored schedules those that are declared: add, change and remove; to be called at a program's start.

        Args:
            origin: Names the list, such as the program: only schedules of the same origin are removed.
            declared: Made by `scheduled(…)`; by default those of all `@task(cron=…)` in modules imported so far.

        Raises:
            InvalidScheduleError: Two have the same id. BrokerError: It is unknown how far it came; do it again.
        """
        if declared is None:
            found = declared_specs(self.settings)
            declared = [spec for specs in found.values() for spec in specs]
        return await reconcile(await self.connection(), origin, declared)

    async def get_schedule(self, schedule_id: str) -> Schedule:
        """Return the handle of a schedule, of whatever queue.

        Raises:
            ScheduleNotFoundError: There is no schedule with this id.
        """
        return await Schedule.fetch(await self.connection(), schedule_id)

    async def job(self, job_id: str) -> Job[Any]:
        """Return a handle of an existing job, by its id.

        The job is looked for in this queue, then in all others; `Job.queue` says where it was found. An unknown id is no error
        yet: the handle is of this queue, and its methods raise `JobNotFoundError` while there is no such job.

        Args:
            job_id: The id, or `id@queue`.

        Raises:
            InvalidNameError: This can be no id.
            AmbiguousJobError: This queue has no such job, and several others have one of this id.
        """
        connection = await self.connection()
        job_id, queue = check_place(job_id)
        if queue == "*":
            queue = the_queue(job_id, await queues_of(connection, job_id), self.name) or self.name
        job: Job[Any] = Job("", job_id=job_id, queue=queue, serializer=self.settings.job_serializer)
        job.bind(connection)
        return job

    def options(self, **options: Unpack[EnqueueOptions]) -> "QueueOptions":
        """Return an enqueuer with options, whose keywords all belong to the function.

        What is not given is as the task declares (`@task(…)`), else the default.

        Args:
            options: Those of `naq_core.options.EnqueueOptions`, which documents each.

        Raises:
            InvalidOptionError, InvalidNameError: An option does not exist, or its value is wrong.
        """
        check_names(options, ENQUEUE_OPTIONS, "a queue's options()")
        return QueueOptions(self, OptionSet(options))

    @property
    def bare_options(self) -> "QueueOptions":
        """What enqueues without options, and takes those among the keywords of a call."""
        return QueueOptions(self, NO_OPTION_SET, seed_form=True)


def checked_jobs(jobs: Iterable[Job[Any]]) -> list[Job[Any]]:
    """Return the jobs of an `enqueue_many`.

    Raises:
        InvalidOptionError, EncodeError: They are no list, or one is no job.
    """
    found = members(jobs, "jobs", "a list of jobs made by queue.call(function, …)")
    for job in found:
        if not isinstance(job, Job):
            raise EncodeError(f"enqueue_many takes jobs made by queue.call(function, …), not {job!r}")
    return found
