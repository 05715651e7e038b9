"""The queue, as a producer sees it."""

from collections.abc import Callable, Coroutine, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, Self, TypeVar, overload

from naq_client._depend import Ties
from naq_client._managed import ManagedQueue
from naq_client._options import QueueOptions
from naq_client._schedule import Schedule
from naq_client._submit import submit_many
from naq_client.signature import Signature
from naq_core.broker import Connection, LoopConnections, queues_of, the_queue
from naq_core.dependency import DependsOn
from naq_core.envelope import NO_OPTIONS
from naq_core.errors import EncodeError
from naq_core.job import Job
from naq_core.names import check_place, check_queue
from naq_core.options import make_options
from naq_core.retry import Delay
from naq_core.schedules import Reconciled, ScheduleSpec, declared_specs, reconcile
from naq_core.settings import Settings
from naq_core.terms import Expiry, make_terms

R = TypeVar("R")


class EnqueuedMany(list[Job[Any]]):
    """The jobs of one `enqueue_many`, in order."""

    atomic: bool = False
    """Stored all or none (up to 1,000), instead of pipelined."""


class Queue(ManagedQueue):
    """Enqueues jobs. Use as `async with Queue("mail") as queue:`, or call `close()` yourself.

    Args:
        name: The queue; by default the setting `default_queue`.
        nats_url: The server; by default the setting `nats_url`.
        settings: Ready settings, instead of those of the environment.
        connection: An open connection to share, or connections of each event loop; it is then not closed with the queue.
        overrides: Any other setting by its name.

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
        **overrides: Any,
    ) -> None:
        if connection is not None:
            settings = connection.settings
        self.settings = settings or Settings.load(nats_url=nats_url, **overrides)
        self.name = check_queue(self.settings.default_queue if name is None else name)
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
            BrokerUnavailableError: Nobody answers. JetStreamDisabledError, ServerTooOldError: Not the server NAQ needs.
        """
        if isinstance(self._connection, LoopConnections):
            return await self._connection.get()
        return await self._connection.here()

    async def close(self) -> None:
        """Close the running event loop's connection, unless it was given."""
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
        return self.bare_options.call(function, *args, **kwargs)

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
        return await self.bare_options.enqueue(function, *args, **kwargs)

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
            function, args, kwargs: As of `enqueue`.

        Raises:
            ConfigurationError: `when` is naive, as nobody would know which time zone is meant; `when.astimezone()` says that
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
        many = EnqueuedMany(jobs)
        for job in many:
            if not isinstance(job, Job):
                raise EncodeError(f"enqueue_many takes jobs made by queue.call(function, …), not {job!r}")
        if many:
            many.atomic = await submit_many(await self.connection(), many)
        return many

    async def schedule(self, function: Callable[..., Any] | Job[Any] | str, /, *args: Any, **kwargs: Any) -> Schedule:
        """Enqueue a call again and again: `await queue.schedule(report, cron="30 9 * * mon-fri", timezone="Europe/Berlin")`.

        A scheduler (`naq scheduler`) has to run for it to fire. Scheduling with the same `schedule_id` again changes that
        schedule; without an id, one is made of what is scheduled and when, so that a program may do this at each start.

        Args:
            function: As of `enqueue`; or a job made by `call()`, where the function itself has a parameter with the name of
                one of the options below.
            args: Its positional arguments.
            kwargs: Its keyword arguments, and the following options.
            cron: Five fields (minute, hour, day, month, weekday), a sixth for seconds at the end, or `@daily` and so on.
            interval: Seconds (or `timedelta`, or "5m") between two firings, counted from `start_at` without drift.
            timezone: IANA name, for cron. Default UTC. `docs/schedules.md` tells what happens when clocks change.
            schedule_id: 1 to 90 letters, digits, `_` or `-`.
            start_at: An aware time before which it does not fire. Default: now.
            end_at: An aware time after which it does not fire.
            max_runs: How often it fires at most.
            jitter: Up to so many seconds later, differently each time.
            overlap: While the job of the firing before has not ended: `allow` (default) another, `skip` this firing, or
                `cancel` the one before.
            misfire: Firings that come later than `grace`: `skip` them, run `once` for all of them (default), or run `all`
                (the newest 1,000).
            grace: Seconds a firing may be late, as no scheduler ran, and still run like any other. Default 60; None: any.
            paused: Make it paused (True) or resume it (False). Default: as it was, a new one fires.

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
            ScheduleNotFoundError: There is none of that id.
        """
        return await Schedule.fetch(await self.connection(), schedule_id)

    async def job(self, job_id: str) -> Job[Any]:
        """Return a handle of a job that somebody enqueued, by its id.

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

    def options(  # noqa: PLR0913 - one keyword for each option
        self,
        *,
        max_retries: int = 0,
        retry_delay: Delay | Sequence[Delay] = 0,
        retry_strategy: str = "fixed",
        max_delay: Delay = 3600.0,
        jitter: bool = False,
        retry_on: Sequence[type[BaseException] | str] = (),
        ignore_on: Sequence[type[BaseException] | str] = (),
        timeout: float | timedelta | None = None,
        result_ttl: float | timedelta | None = None,
        job_id: str | None = None,
        process: bool = False,
        fast: bool = False,
        depends_on: DependsOn | None = None,
        allow_failure: bool = False,
        parent_results: bool = False,
        priority: str = "normal",
        at: datetime | None = None,
        delay: float | timedelta | None = None,
        expires: Expiry | None = None,
        unique: str | None = None,
        on_clash: str = "refuse",
        debounce: float | timedelta | None = None,
    ) -> "QueueOptions":
        """Return an enqueuer with options, whose keywords all belong to the function.

        Args:
            max_retries: How often a failed attempt is repeated. 0, the default: never.
            retry_delay: Seconds (or `timedelta`) before each retry, or a list of them, the last one repeating.
            retry_strategy: How a single delay grows: `fixed`, `linear` or `exponential`.
            max_delay: The longest delay. Default one hour.
            jitter: Draw each delay from its upper half, so that failures do not come back all at once.
            retry_on: Exception classes (or their names); only these are retried.
            ignore_on: Exception classes that are never retried.
            timeout: Seconds one attempt may take; then it is cancelled (async), killed (`process=True`), or, as a thread
                cannot be stopped, given up and its result refused.
            result_ttl: Seconds the result is kept. Default: the setting `result_ttl`.
            job_id: An id of your own makes the enqueue idempotent: while a job or its record of that id exists, it is not
                enqueued or not run again.
            process: Run in a child process, which can be killed and whose crash hurts nobody else.
            fast: No claim, no record, no result: about twice as fast, for cheap jobs that may run twice after a crash.
            depends_on: Jobs, their ids, or `Dependency(job, allow_failure=True)`, any number, of any queue: it starts when all
                have succeeded. When one has not (failed, cancelled, expired, not known), it is cancelled and says why.
            allow_failure: It starts when all of `depends_on` have ended, however.
            parent_results: The job can read in `current_job().parents` what they came to; see also `result_of`.
            priority: `high`, `normal` or `low`: which of the queue's waiting jobs a worker takes first.
            at: An aware time before which it does not start; one that has passed means now. The server itself keeps the time.
            delay: As `at`, in seconds (or a `timedelta`) from the enqueue on.
            expires: Seconds (or a `timedelta`) from the enqueue on, or an aware time: an attempt that has not been started by
                then is not started any more, and the job ends as expired.
            unique: A key, within this queue: while a job of it is queued, held or running, no second one is enqueued. A dead
                one is in nobody's way, a new job takes its place.
            on_clash: What to do then: `refuse` (raise `DuplicateJobError`), `return` the job that is there (`Job.is_new` is
                False), or `replace` it if it waits.
            debounce: Seconds (or a `timedelta`) to wait for another job of the same `unique` key, which then takes this one's
                place and waits anew: of a burst of calls only the last is run. Calls while one is running are run after it.

        Raises:
            ConfigurationError, InvalidNameError: A value is wrong; names it.
        """
        return QueueOptions(
            self,
            make_options(
                max_retries=max_retries,
                retry_delay=retry_delay,
                retry_strategy=retry_strategy,
                max_delay=max_delay,
                jitter=jitter,
                retry_on=retry_on,
                ignore_on=ignore_on,
                timeout=timeout,
                result_ttl=result_ttl,
                process=process,
                fast=fast,
                priority=priority,
            ),
            job_id,
            Ties(depends_on, allow_failure, parent_results),
            make_terms(at=at, delay=delay, expires=expires, unique=unique, on_clash=on_clash, debounce=debounce, job_id=job_id),
        )

    @property
    def bare_options(self) -> "QueueOptions":
        """What enqueues without options, and takes those among the keywords of a call."""
        return QueueOptions(self, NO_OPTIONS, None, seed_form=True)
