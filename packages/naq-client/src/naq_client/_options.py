"""A queue with job options: what `Queue.options` returns, and what every `Queue.enqueue` goes through."""

from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from datetime import datetime, timedelta
from types import FunctionType
from typing import TYPE_CHECKING, Any, TypeVar, overload
from weakref import WeakKeyDictionary

from naq_client._schedule import Prepared, Schedule, prepare, put
from naq_client.signature import Signature
from naq_core.decorated import shown_signature
from naq_core.enqueue.submit import submit
from naq_core.errors import InvalidOptionError
from naq_core.functions import unwrap
from naq_core.job import Job
from naq_core.option_kinds import instant
from naq_core.option_set import NO_OPTION_SET, OptionSet, options_for
from naq_core.options import ENQUEUE_OPTIONS, RUN_OPTIONS
from naq_core.resources import without_resources
from naq_core.values import seconds

if TYPE_CHECKING:
    from naq_client.queue import Queue

R = TypeVar("R")

OPTION_NAMES = RUN_OPTIONS | {"allow_failure", "depends_on", "fast", "job_id", "parent_results"}
"""Options that are taken from among a function's arguments where it has no such parameter."""
OTHER_OPTIONS = ENQUEUE_OPTIONS - OPTION_NAMES
"""Options that never are."""


class QueueOptions:
    """A queue with job options; made by `Queue.options`."""

    __slots__ = ("_options", "_queue", "_seed_form")

    def __init__(self, queue: "Queue", options: OptionSet, *, seed_form: bool = False) -> None:
        self._queue = queue
        self._options = options
        self._seed_form = seed_form

    @overload
    def call(self, function: Callable[..., Coroutine[Any, Any, R]], /, *args: Any, **kwargs: Any) -> Job[R]: ...
    @overload
    def call(self, function: Callable[..., R], /, *args: Any, **kwargs: Any) -> Job[R]: ...
    @overload
    def call(self, function: str, /, *args: Any, **kwargs: Any) -> Job[Any]: ...
    def call(self, function: Any, /, *args: Any, **kwargs: Any) -> Job[Any]:
        """Make a job without enqueueing it, for `enqueue_many`."""
        job = self._make(function, *args, **kwargs)
        job.check()
        return job

    def _make(self, function: Any, /, *args: Any, **kwargs: Any) -> Job[Any]:
        """Make a job whose arguments are checked when it is encoded."""
        given = with_named_options(self._options, function, kwargs) if self._seed_form and kwargs else self._options
        return job_of(self._queue, function, args, kwargs, given)

    def s(self, function: Any, /, *args: Any, **kwargs: Any) -> Signature[Any]:
        """Return a signature with these options; see `Task.s`."""
        named = self._queue.name if self._queue.is_named else options_for(function, self._options).queue
        return Signature(lambda *all_args: self.call(function, *all_args, **kwargs), args, takes_result=True, queue=named)

    @overload
    async def enqueue(self, function: Callable[..., Coroutine[Any, Any, R]], /, *args: Any, **kwargs: Any) -> Job[R]: ...
    @overload
    async def enqueue(self, function: Callable[..., R], /, *args: Any, **kwargs: Any) -> Job[R]: ...
    @overload
    async def enqueue(self, function: str, /, *args: Any, **kwargs: Any) -> Job[Any]: ...
    async def enqueue(self, function: Any, /, *args: Any, **kwargs: Any) -> Job[Any]:
        """Enqueue a call with these options; see `Queue.enqueue`."""
        job = self.call(function, *args, **kwargs)
        await submit(self._queue, job)
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
        return await self.later({"at": when}).enqueue(function, *args, **kwargs)

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
        return await self.later({"delay": delay}).enqueue(function, *args, **kwargs)

    def later(self, time: Mapping[str, Any]) -> "QueueOptions":
        """Return the same options with a time to start, `at` or `delay`."""
        return QueueOptions(self._queue, with_time(self._options, time), seed_form=self._seed_form)

    async def schedule(self, function: Callable[..., Any] | Job[Any] | str, /, *args: Any, **kwargs: Any) -> Schedule:
        """Enqueue a call with these options again and again; see `Queue.schedule`."""
        return await put(self._queue, self.prepare_schedule(function, args, kwargs))

    def prepare_schedule(
        self, function: Callable[..., Any] | Job[Any] | str, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> Prepared:
        """Check and encode what `schedule` stores."""
        return prepare(self._make, function, args, kwargs)


def job_of(
    queue: "Queue", function: Any, args: Sequence[Any], kwargs: Mapping[str, Any], given: OptionSet = NO_OPTION_SET
) -> Job[Any]:
    """Make the job of a call whose keywords all belong to the function; they are checked when it is encoded."""
    options = options_for(function, given)
    return Job(
        function,
        args,
        kwargs,
        queue=queue.name if queue.is_named or options.queue is None else options.queue,
        serializer=queue.settings.job_serializer,
        options=options,
    )


def with_named_options(given: OptionSet, function: Any, kwargs: dict[str, Any]) -> OptionSet:
    """Take the options among the keywords of a call out of `kwargs`, and return them with those given.

    Raises:
        InvalidOptionError: A keyword is ambiguous, or an option that only `options()` takes.
    """
    if not OPTION_NAMES.isdisjoint(kwargs):
        given = OptionSet({**given.given, **split_options(function, kwargs)})
    if not OTHER_OPTIONS.isdisjoint(kwargs):
        check_meant(function, kwargs)
    return given


def with_time(options: OptionSet, time: Mapping[str, Any]) -> OptionSet:
    """Return options with a time to start, `at` or `delay`.

    Raises:
        InvalidOptionError: They have a time of their own.
    """
    if options.has_time:
        raise InvalidOptionError("at", "the options already set a time: call enqueue, or remove at, delay and debounce")
    if "at" in time:
        instant(time["at"], "when")  # None would mean at once
    else:
        seconds(time["delay"], "delay")
    return OptionSet({**options.given, **time})


def split_options(function: Any, kwargs: dict[str, Any]) -> dict[str, Any]:
    """Take the job options out of `kwargs`, where they cannot be meant for the function.

    Raises:
        InvalidOptionError: A keyword is ambiguous.
    """
    named = OPTION_NAMES.intersection(kwargs)
    parameters = _parameters(function)
    if parameters is None:
        name = min(named)
        raise InvalidOptionError(
            name, f"may be an option or an argument of {function!r}: write queue.options({name}=…).enqueue(…)"
        )
    return {name: kwargs.pop(name) for name in named if name not in parameters}


def check_meant(function: Any, kwargs: Mapping[str, Any]) -> None:
    """Refuse an option among the arguments of a function that cannot take it, before a worker does.

    Raises:
        InvalidOptionError: It is one of those that only `options()` takes.
    """
    parameters = _parameters(function)
    for name in sorted(OTHER_OPTIONS.intersection(kwargs)):
        if parameters is not None and name not in parameters:
            raise InvalidOptionError(name, f"is not a parameter of {function!r}: write queue.options({name}=…).enqueue(…)")


_known: "WeakKeyDictionary[FunctionType, Collection[str] | None]" = WeakKeyDictionary()


def _parameters(function: Any) -> Collection[str] | None:
    """Return the names a function takes; None where it cannot be known, or takes any."""
    function = unwrap(function)
    if type(function) is not FunctionType:
        return _read_parameters(function)
    try:
        return _known[function]
    except KeyError:
        found = _known[function] = _read_parameters(function)  # slower than an enqueue
        return found


def _read_parameters(function: Any) -> Collection[str] | None:
    try:
        parameters = None if isinstance(function, str) else without_resources(function, shown_signature(function)).parameters
    except (TypeError, ValueError):
        return None
    if parameters is None or any(each.kind is each.VAR_KEYWORD for each in parameters.values()):
        return None
    return frozenset(parameters)  # not the parameters: a default may hold the function, which then would never be freed
