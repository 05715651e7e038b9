"""Typed tasks: a decorator that keeps the function's signature."""

import functools
from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar, Unpack, overload

from naq_client._blocking_loop import SyncJob, enqueue_blocking
from naq_client._options import job_of
from naq_client._schedule import Schedule, take_schedule
from naq_client._shared import shared_queue
from naq_client.signature import OpenSignature, Signature
from naq_core.batch_form import declare_batch
from naq_core.enqueue.submit import submit
from naq_core.errors import InvalidOptionError, shown
from naq_core.functions import function_name, register
from naq_core.job import Job
from naq_core.layers import check_middleware
from naq_core.layers import declare as declare_middleware
from naq_core.option_kinds import instant
from naq_core.option_set import NO_OPTION_SET, OptionSet
from naq_core.options import OPTIONS, CallOptions, DeclaredOptions, TaskOptions, check_names, names
from naq_core.schedules import declare
from naq_core.signatures import check_call
from naq_core.values import seconds

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")
S = TypeVar("S")
A = TypeVar("A")
C_co = TypeVar("C_co", covariant=True)

CALL_OPTIONS = names(CallOptions)
NONE_IS_A_VALUE = frozenset(name for name, option in OPTIONS.items() if option.is_nullable and name != "queue")
"""Options for which None says something ("no limit"); None for any other one leaves it as decorated."""
WINDOW = 0.1
"""Seconds that the first job of a batch waits for others, by default."""
TASK_OPTIONS = names(TaskOptions) | {"queue"}


class Task(Generic[P, R, C_co]):
    """A function that can be enqueued; calling it calls the function.

    Its own attributes are slots, so that `functools.wraps` does not copy them: a decorated task is what it was decorated to be.
    """

    __slots__ = ("__dict__", "__naq_function__", "__naq_options__", "__weakref__", "_declared", "_given")

    def __init__(self, function: Callable[P, C_co], declared: OptionSet, given: OptionSet = NO_OPTION_SET) -> None:
        functools.update_wrapper(self, function)
        self.__naq_function__ = function
        self._declared = declared
        self._given = given
        self.__naq_options__ = given.over(declared)

    @property
    def queue(self) -> str | None:
        """Where its jobs go; None: to the default queue."""
        return self.__naq_options__.queue

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> C_co:
        """Call the function here."""
        return self.__naq_function__(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<Task {function_name(self.__naq_function__)}>"

    def call(self, *args: P.args, **kwargs: P.kwargs) -> Job[R]:
        """Make a job without enqueueing it, for `Queue.enqueue_many`."""
        job: Job[R] = job_of(shared_queue(self.queue), self, args, kwargs)
        job.check()
        job.serializer = None  # that of the queue through which it is enqueued
        return job

    @overload
    def s(self, *args: P.args, **kwargs: P.kwargs) -> Signature[R]: ...
    @overload
    def s(  # type: ignore[misc]  # a task is such a callable
        self: Callable[Concatenate[A, Q], Coroutine[Any, Any, S]], *args: Q.args, **kwargs: Q.kwargs
    ) -> OpenSignature[A, S]: ...
    @overload
    def s(self: Callable[Concatenate[A, Q], S], *args: Q.args, **kwargs: Q.kwargs) -> OpenSignature[A, S]: ...
    def s(self, *args: Any, **kwargs: Any) -> Any:
        """Return a signature: a call for a chain, a group or a workflow.

        In a chain it gets the result of what runs before it as its first argument, which is then left out here.
        """
        return Signature(lambda *all_args: self.call(*all_args, **kwargs), args, takes_result=True, queue=self.queue)

    def si(self, *args: P.args, **kwargs: P.kwargs) -> Signature[R]:
        """Return a signature that takes no result in a chain: its arguments are complete.

        Raises:
            InvalidCallError: They are not.
        """
        check_call(self.__naq_function__, args, kwargs)
        return Signature(lambda *all_args: self.call(*all_args, **kwargs), args, takes_result=False, queue=self.queue)

    async def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> Job[R]:
        """Enqueue a call and return the job; raises as `Queue.enqueue` does."""
        queue = shared_queue(self.queue)
        job: Job[R] = job_of(queue, self, args, kwargs)
        await submit(queue, job)
        return job

    async def enqueue_at(self, when: datetime, /, *args: P.args, **kwargs: P.kwargs) -> Job[R]:
        """Enqueue a call that starts at an aware time; see `Queue.enqueue_at`."""
        instant(when, "when")  # None would mean at once
        return await self._later({"at": when}).enqueue(*args, **kwargs)

    async def enqueue_in(self, delay: float | timedelta, /, *args: P.args, **kwargs: P.kwargs) -> Job[R]:
        """Enqueue a call that starts after a delay, in seconds or as a `timedelta`."""
        seconds(delay, "delay")
        return await self._later({"delay": delay}).enqueue(*args, **kwargs)

    def _later(self, time: dict[str, Any]) -> "Task[P, R, C_co]":
        return Task(self.__naq_function__, self._declared, OptionSet({**self._given.given, **time}))

    async def schedule(self, *args: Any, **kwargs: Any) -> Schedule:
        """Enqueue a call again and again, with this task's options: `await report.schedule("daily", cron="30 9 * * *")`.

        Args and errors are those of `Queue.schedule`.
        """
        return await shared_queue(self.queue).options().schedule(self, *args, **kwargs)

    def enqueue_sync(self, *args: P.args, **kwargs: P.kwargs) -> SyncJob[R]:
        """Enqueue from code without an event loop, from any thread."""
        queue = shared_queue(self.queue)
        return enqueue_blocking(queue, job_of(queue, self, args, kwargs))

    def options(self, **options: Unpack[CallOptions]) -> "Task[P, R, C_co]":
        """Return the same task with other options (those of `Queue.options`, and `queue`); the rest stays as decorated.

        Raises:
            InvalidOptionError, InvalidNameError: An option does not exist, or its value is wrong.
        """
        check_names(options, CALL_OPTIONS, "a task's options()")
        named = {name: value for name, value in options.items() if value is not None or name in NONE_IS_A_VALUE}
        given = OptionSet(named).over(self._given)
        return Task(self.__naq_function__, self._declared, given)


class _Decorator(Protocol):
    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> Task[P, R, Coroutine[Any, Any, R]]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> Task[P, R, R]: ...


class _BatchDecorator(Protocol):
    """Makes tasks whose jobs take one item of the list that the function takes, and give one of its results."""

    @overload
    def __call__(
        self, function: Callable[[list[A]], Coroutine[Any, Any, Sequence[R | Exception] | Mapping[str, R | Exception]]], /
    ) -> Task[[A], R, Any]: ...
    @overload
    def __call__(self, function: Callable[[list[A]], Coroutine[Any, Any, None]], /) -> Task[[A], None, Any]: ...
    @overload
    def __call__(
        self, function: Callable[[list[A]], Sequence[R | Exception] | Mapping[str, R | Exception]], /
    ) -> Task[[A], R, Any]: ...
    @overload
    def __call__(self, function: Callable[[list[A]], None], /) -> Task[[A], None, Any]: ...


@overload
def task(function: Callable[P, Coroutine[Any, Any, R]], /) -> Task[P, R, Coroutine[Any, Any, R]]: ...
@overload
def task(function: Callable[P, R], /) -> Task[P, R, R]: ...
@overload
def task(*, batch: int, window: float | timedelta = ..., **options: Unpack[DeclaredOptions]) -> _BatchDecorator: ...
@overload
def task(**options: Unpack[DeclaredOptions]) -> _Decorator: ...
def task(function: Any = None, /, **options: Any) -> Any:
    """Make a function a task: `@task`, or `@task(queue="mail", max_retries=3)`.

    Its name is registered, so that workers with `NAQ_JOB_SERIALIZER=json` run it.

    They hold however the task is enqueued: by its own methods, by those of a queue, in a workflow or on a schedule. What is said
    where it is enqueued wins over them: first `queue.options(…)` and the name of a queue, then `task.options(…)`.

    Args:
        options: As of `Queue.options`, but `job_id` and `depends_on`; and `queue`, where its jobs go. With `cron="…"` or
            `interval=…`, and then any option of `Queue.schedule` (its `jitter` as `schedule_jitter`), the task is scheduled too,
            without arguments, by `naq scheduler --imports <module>` or `Queue.reconcile`. With `middleware=[…]` (classes,
            instances, or names as `"module:name"`) these are around its enqueues and attempts, inside of those of the settings.
            With `batch=100` (and `window=0.5`, seconds that the first job waits for others; by default 0.1) the function is
            called once for up to 100 jobs, with the list of their arguments, and returns the results (`docs/batches.md`).

    Raises:
        InvalidOptionError, InvalidNameError, InvalidScheduleError: An option does not exist, or its value is wrong.
    """
    schedule = take_schedule(options)
    middleware = check_middleware(options.pop("middleware", ()))
    batch = (options.pop("batch"), options.pop("window", WINDOW)) if "batch" in options else None
    check_names(options, TASK_OPTIONS, "@task")
    declared = OptionSet(options)
    if batch is not None and declared.job.process:
        raise InvalidOptionError("batch", "cannot be combined with process=True: a child process runs one job")

    if function is not None and not callable(function):
        raise InvalidOptionError("@task", f"decorates a function, not {shown(function)}; options have names: @task(queue=…)")

    def decorate(plain: Callable[..., Any]) -> Task[..., Any, Any]:
        register(plain, function_name(plain))
        if batch is not None:
            declare_batch(plain, *batch)
        if middleware:
            declare_middleware(plain, middleware)
        if schedule is not None:
            declare(plain, declared, schedule)
        return Task(plain, declared)

    return decorate if function is None else decorate(function)


__all__ = ["Task", "task"]
