"""Typed tasks: a decorator that keeps the function's signature."""

import functools
from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar, overload

from naq_client._depend import UNTIED, Ties, take_ties
from naq_client._portal import SyncJob, enqueue_blocking
from naq_client._schedule import Schedule, prepare, put, take_schedule
from naq_client._shared import shared_queue
from naq_client._submit import submit
from naq_client.signature import Signature
from naq_core.envelope import JobOptions
from naq_core.job import Job
from naq_core.names import check_job_id, check_queue
from naq_core.options import make_options
from naq_core.retry import Delay
from naq_core.schedules import declare
from naq_core.serialization import function_name, register
from naq_core.terms import NO_TERMS, instant, make_terms, take_terms
from naq_core.values import seconds

P = ParamSpec("P")
Q = ParamSpec("Q")
R = TypeVar("R")
C_co = TypeVar("C_co", covariant=True)

NOTHING: Mapping[str, Any] = MappingProxyType({})


class Task(Generic[P, R, C_co]):
    """A function that can be enqueued; calling it calls the function."""

    def __init__(
        self,
        function: Callable[P, C_co],
        queue: str | None,
        options: JobOptions,
        job_id: str | None = None,
        ties: Ties = UNTIED,
        terms: Mapping[str, Any] = NOTHING,
    ) -> None:
        functools.update_wrapper(self, function)
        self.__naq_function__ = function
        self.queue = None if queue is None else check_queue(queue)
        self._options = options
        self._job_id = None if job_id is None else check_job_id(job_id)
        self._ties = ties
        self._given_terms = terms
        self._terms = make_terms(**terms, job_id=job_id) if terms else NO_TERMS

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> C_co:
        """Call the function here."""
        return self.__naq_function__(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<Task {function_name(self.__naq_function__)}>"

    def call(self, *args: P.args, **kwargs: P.kwargs) -> Job[R]:
        """Make a job without enqueueing it, for `Queue.enqueue_many`."""
        return self._job(args, kwargs, None)

    def _job(self, args: tuple[Any, ...], kwargs: dict[str, Any], serializer: str | None) -> Job[R]:
        return Job(
            self.__naq_function__,
            args,
            kwargs,
            job_id=self._job_id,
            queue=shared_queue(self.queue).name,
            serializer=serializer,
            options=self._options,
            terms=self._terms,
            **self._ties._asdict(),
        )

    @overload
    def s(self, *args: P.args, **kwargs: P.kwargs) -> Signature[R]: ...
    @overload
    def s(self: "Task[Concatenate[Any, Q], R, C_co]", *args: Q.args, **kwargs: Q.kwargs) -> Signature[R]: ...
    def s(self, *args: Any, **kwargs: Any) -> Signature[R]:
        """Return a signature: a call for a chain, a group or a workflow.

        In a chain it gets the result of what runs before it as its first argument, which is then left out here.
        """
        return Signature(lambda *all_args: self.call(*all_args, **kwargs), args, takes_result=True)

    def si(self, *args: P.args, **kwargs: P.kwargs) -> Signature[R]:
        """Return a signature that takes no result in a chain: its arguments are complete."""
        return Signature(lambda *all_args: self.call(*all_args, **kwargs), args, takes_result=False)

    async def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> Job[R]:
        """Enqueue a call and return the job; raises as `Queue.enqueue` does."""
        queue = shared_queue(self.queue)
        job = self._job(args, kwargs, queue.settings.job_serializer)
        await submit(await queue.connection(), job)
        return job

    async def enqueue_at(self, when: datetime, /, *args: P.args, **kwargs: P.kwargs) -> Job[R]:
        """Enqueue a call that starts at an aware time; see `Queue.enqueue_at`."""
        instant(when, "when")  # None would mean at once
        return await self._later({"at": when}).enqueue(*args, **kwargs)

    async def enqueue_in(self, delay: float | timedelta, /, *args: P.args, **kwargs: P.kwargs) -> Job[R]:
        """Enqueue a call that starts after a delay, in seconds or as a `timedelta`."""
        seconds(delay, "delay")
        return await self._later({"delay": delay}).enqueue(*args, **kwargs)

    def _later(self, terms: dict[str, Any]) -> "Task[P, R, C_co]":
        merged = {**self._given_terms, **terms}
        return Task(self.__naq_function__, self.queue, self._options, self._job_id, self._ties, merged)

    async def schedule(self, *args: Any, **kwargs: Any) -> Schedule:
        """Enqueue a call again and again, with this task's options: `await report.schedule("daily", cron="30 9 * * *")`.

        Args and errors are those of `Queue.schedule`.
        """
        prepared = prepare(lambda _, *a, **k: self.call(*a, **k), self.__naq_function__, args, kwargs)
        return await put(shared_queue(self.queue), prepared)

    def enqueue_sync(self, *args: P.args, **kwargs: P.kwargs) -> SyncJob[R]:
        """Enqueue from code without an event loop, from any thread."""
        queue = shared_queue(self.queue)
        return enqueue_blocking(queue, self._job(args, kwargs, queue.settings.job_serializer))

    def options(  # noqa: PLR0913 - one keyword for each option
        self,
        *,
        queue: str | None = None,
        job_id: str | None = None,
        max_retries: int | None = None,
        retry_delay: Delay | Sequence[Delay] | None = None,
        timeout: float | timedelta | None = None,
        result_ttl: float | timedelta | None = None,
        process: bool | None = None,
        fast: bool | None = None,
        priority: str | None = None,
        **more: Any,
    ) -> "Task[P, R, C_co]":
        """Return the same task with other options (those of `Queue.options`, and `queue`); the rest stays as decorated."""
        given = {
            "max_retries": max_retries,
            "retry_delay": retry_delay,
            "timeout": timeout,
            "result_ttl": result_ttl,
            "process": process,
            "fast": fast,
            "priority": priority,
        }
        merged = {
            **_scalars(self._options),
            **{key: value for key, value in given.items() if value is not None},
            **more,
        }
        ties = take_ties(merged)
        terms = {**self._given_terms, **take_terms(merged)}
        return Task(
            self.__naq_function__,
            self.queue if queue is None else queue,
            make_options(**merged),
            job_id,
            ties,
            terms,
        )


def _scalars(options: JobOptions) -> dict[str, Any]:
    retry = options.retry
    return {
        "max_retries": retry.max_retries,
        "retry_delay": retry.delays,
        "retry_strategy": retry.strategy,
        "max_delay": retry.max_delay,
        "jitter": retry.jitter,
        "retry_on": retry.retry_on,
        "ignore_on": retry.ignore_on,
        "timeout": options.timeout,
        "result_ttl": options.result_ttl,
        "process": options.process,
        "fast": options.fast,
        "priority": options.priority,
    }


class _Decorator(Protocol):
    @overload
    def __call__(self, function: Callable[P, Coroutine[Any, Any, R]], /) -> Task[P, R, Coroutine[Any, Any, R]]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> Task[P, R, R]: ...


@overload
def task(function: Callable[P, Coroutine[Any, Any, R]], /) -> Task[P, R, Coroutine[Any, Any, R]]: ...
@overload
def task(function: Callable[P, R], /) -> Task[P, R, R]: ...
@overload
def task(*, queue: str | None = None, **options: Any) -> _Decorator: ...
def task(function: Any = None, /, *, queue: str | None = None, **options: Any) -> Any:
    """Make a function a task: `@task`, or `@task(queue="mail", max_retries=3)`.

    Its name is registered, so that workers with `NAQ_JOB_SERIALIZER=json` run it.

    Args:
        queue: Where its jobs go; by default the setting `default_queue`.
        options: As of `Queue.options`, but `job_id`. With `cron="…"` or `interval=…`, and then any option of `Queue.schedule`
            (its `jitter` as `schedule_jitter`), the task is scheduled too, without arguments, by
            `naq scheduler --imports <module>` or `Queue.reconcile`.

    Raises:
        ConfigurationError, InvalidNameError, InvalidScheduleError: A value is wrong; names it.
    """
    terms = take_terms(options)
    if terms:
        make_terms(**terms)
    schedule = take_schedule(options)
    checked = make_options(**options)

    def decorate(plain: Callable[..., Any]) -> Task[..., Any, Any]:
        register(plain, function_name(plain))
        if schedule is not None:
            declare(plain, queue, checked, schedule, terms=make_terms(**terms))
        return Task(plain, queue, checked, terms=terms)

    return decorate if function is None else decorate(function)


__all__ = ["Task", "task"]
