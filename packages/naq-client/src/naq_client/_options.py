"""A queue with job options: what `Queue.options` returns, and what every `Queue.enqueue` goes through."""

import inspect
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar, overload

from naq_client._depend import UNTIED, Ties, take_ties
from naq_client._schedule import Prepared, Schedule, prepare, put
from naq_client._submit import submit
from naq_client.signature import Signature
from naq_core.envelope import JobOptions
from naq_core.errors import ConfigurationError
from naq_core.job import Job
from naq_core.options import make_options
from naq_core.serialization import unwrap
from naq_core.terms import NO_TERMS, TERM_NAMES, Terms, after_delay, at_time

if TYPE_CHECKING:
    from naq_client.queue import Queue

R = TypeVar("R")

OPTION_NAMES = frozenset(
    {
        "allow_failure",
        "depends_on",
        "fast",
        "ignore_on",
        "jitter",
        "job_id",
        "max_delay",
        "max_retries",
        "parent_results",
        "process",
        "result_ttl",
        "retry_delay",
        "retry_on",
        "retry_strategy",
        "timeout",
    }
)

OTHER_OPTIONS = frozenset({"priority", *TERM_NAMES})
"""Options that are never taken from among a function's arguments."""


class QueueOptions:
    """A queue with job options; made by `Queue.options`."""

    __slots__ = ("_job_id", "_options", "_queue", "_seed_form", "_terms", "_ties")

    def __init__(
        self,
        queue: "Queue",
        options: JobOptions,
        job_id: str | None,
        ties: Ties = UNTIED,
        terms: Terms = NO_TERMS,
        *,
        seed_form: bool = False,
    ) -> None:
        self._queue = queue
        self._options = options
        self._job_id = job_id
        self._seed_form = seed_form
        self._ties = ties
        self._terms = terms

    @overload
    def call(self, function: Callable[..., Coroutine[Any, Any, R]], /, *args: Any, **kwargs: Any) -> Job[R]: ...
    @overload
    def call(self, function: Callable[..., R], /, *args: Any, **kwargs: Any) -> Job[R]: ...
    @overload
    def call(self, function: str, /, *args: Any, **kwargs: Any) -> Job[Any]: ...
    def call(self, function: Any, /, *args: Any, **kwargs: Any) -> Job[Any]:
        """Make a job without enqueueing it, for `enqueue_many`."""
        options, job_id, ties = self._options, self._job_id, self._ties
        if self._seed_form and kwargs and not OPTION_NAMES.isdisjoint(kwargs):
            given = split_options(function, kwargs)
            job_id = given.pop("job_id", None)
            ties = take_ties(given)
            options = make_options(**given) if given else options
        if self._seed_form and kwargs and not OTHER_OPTIONS.isdisjoint(kwargs):
            check_meant(function, kwargs)
        return Job(
            function,
            args,
            kwargs,
            job_id=job_id,
            queue=self._queue.name,
            serializer=self._queue.settings.job_serializer,
            options=options,
            terms=self._terms,
            **ties._asdict(),
        )

    def s(self, function: Any, /, *args: Any, **kwargs: Any) -> Signature[Any]:
        """Return a signature with these options; see `Task.s`."""
        return Signature(lambda *all_args: self.call(function, *all_args, **kwargs), args, takes_result=True)

    @overload
    async def enqueue(self, function: Callable[..., Coroutine[Any, Any, R]], /, *args: Any, **kwargs: Any) -> Job[R]: ...
    @overload
    async def enqueue(self, function: Callable[..., R], /, *args: Any, **kwargs: Any) -> Job[R]: ...
    @overload
    async def enqueue(self, function: str, /, *args: Any, **kwargs: Any) -> Job[Any]: ...
    async def enqueue(self, function: Any, /, *args: Any, **kwargs: Any) -> Job[Any]:
        """Enqueue a call with these options; see `Queue.enqueue`."""
        job = self.call(function, *args, **kwargs)
        await submit(await self._queue.connection(), job)
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
        """Enqueue a call that starts at a time; see `Queue.enqueue_at`."""
        return await self.later(at_time(when)).enqueue(function, *args, **kwargs)

    @overload
    async def enqueue_in(
        self, delay: float | timedelta, function: Callable[..., Coroutine[Any, Any, R]], /, *args: Any, **kwargs: Any
    ) -> Job[R]: ...
    @overload
    async def enqueue_in(self, delay: float | timedelta, function: Callable[..., R], /, *args: Any, **kwargs: Any) -> Job[R]: ...
    @overload
    async def enqueue_in(self, delay: float | timedelta, function: str, /, *args: Any, **kwargs: Any) -> Job[Any]: ...
    async def enqueue_in(self, delay: float | timedelta, function: Any, /, *args: Any, **kwargs: Any) -> Job[Any]:
        """Enqueue a call that starts after a delay; see `Queue.enqueue_in`."""
        return await self.later(after_delay(delay)).enqueue(function, *args, **kwargs)

    def later(self, terms: Terms) -> "QueueOptions":
        """Return the same options with another time to start."""
        return QueueOptions(
            self._queue, self._options, self._job_id, self._ties, self._terms.postponed(terms), seed_form=self._seed_form
        )

    async def schedule(self, function: Callable[..., Any] | Job[Any] | str, /, *args: Any, **kwargs: Any) -> Schedule:
        """Enqueue a call with these options again and again; see `Queue.schedule`."""
        return await put(self._queue, self.prepare_schedule(function, args, kwargs))

    def prepare_schedule(
        self, function: Callable[..., Any] | Job[Any] | str, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Prepared:
        """Check and encode what `schedule` stores."""
        return prepare(self.call, function, args, kwargs)


def split_options(function: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
    """Take the job options out of `kwargs`, where they cannot be meant for the function.

    Raises:
        ConfigurationError: It cannot be told for whom a keyword is.
    """
    named = OPTION_NAMES.intersection(kwargs)
    parameters = _parameters(function)
    if parameters is None:
        name = min(named)
        raise ConfigurationError(
            name, f"may be an option or an argument of {function!r}: write queue.options({name}=…).enqueue(…)"
        )
    return {name: kwargs.pop(name) for name in named if name not in parameters}


def check_meant(function: Any, kwargs: Mapping[str, Any]) -> None:
    """Refuse an option among the arguments of a function that cannot take it, before a worker does.

    Raises:
        ConfigurationError: It is one of those that only `options()` takes.
    """
    parameters = _parameters(function)
    for name in sorted(OTHER_OPTIONS.intersection(kwargs)):
        if parameters is not None and name not in parameters:
            raise ConfigurationError(name, f"is no parameter of {function!r}: write queue.options({name}=…).enqueue(…)")


def _parameters(function: Any) -> Collection[str] | None:
    """Return the names a function takes; None where it cannot be known, or takes any."""
    try:
        parameters = None if isinstance(function, str) else inspect.signature(unwrap(function)).parameters
    except (TypeError, ValueError):
        return None
    if parameters is None or any(each.kind is each.VAR_KEYWORD for each in parameters.values()):
        return None
    return parameters
