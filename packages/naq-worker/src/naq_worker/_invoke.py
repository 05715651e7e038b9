"""Calling a job's function and turning whatever it does into an outcome; used in the worker and in child processes."""

import contextlib
import functools
import inspect
import os
import traceback
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from types import FunctionType, TracebackType
from typing import Any

from naq_core.context import JobContext
from naq_core.control import Cancel, JobControl, Retry, Snooze, as_control
from naq_core.dependency import ParentOutcome, fill_in
from naq_core.envelope import Envelope
from naq_core.errors import EncodeError
from naq_core.layers import Layer, around, around_plain, origin_of
from naq_core.middleware import Attempt
from naq_core.outcome import outcome_of
from naq_core.previews import clean_text, preview_result
from naq_core.retry import RetryPolicy
from naq_core.serialization import JSON, Call, decode_call, encode_result
from naq_core.source_text import SourceText, known
from naq_core.typed_json import convert_arguments
from naq_worker._shortage import ShortageError, shortage_of
from naq_worker.outcome import Cancelled, Completed, Failed, Outcome, Short, Snoozed

TRACEBACK_LIMIT = 20_000
MESSAGE_LIMIT = 2_000
_BETWEEN = {
    "naq_core.layers",
    "naq_core.middleware",
    "naq_core.opened",
    "naq_core.resources",
    "asyncio.runners",
    "asyncio.base_events",
    "contextlib",
}
"""Other modules that may be between the worker, or the child process, and the job's function."""


def prepare(
    envelope: Envelope, parents: tuple[ParentOutcome, ...] | None, serializer: str, allowed: Sequence[str]
) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
    """Return a job's function and its arguments, with the results of its parents in their places.

    Raises:
        DecodeError, UnknownTaskError: As `decode_call`; or JSON arguments do not fit the function's annotations.
        ShortageError: There is no memory for it, or no file descriptor to import its module.
    """
    try:
        call = Call(envelope.fn, envelope.body, envelope.ct, envelope.by_value, envelope.source)
        function, args, kwargs = decode_call(call, serializer, allowed)
        if parents is not None and envelope.fill:
            args, kwargs = fill_in(envelope, parents, args, kwargs)
        told = envelope.end if envelope.end is not None and envelope.end.told else None
        if envelope.ct == JSON:
            args, kwargs = convert_arguments(function, args, kwargs, () if told is None else (0,))
        if told is not None:
            args = (outcome_of(told, serializer), *args[1:])
    except BaseException as error:
        if (shortage := shortage_of("the job cannot be read", error, may_be_the_jobs=True)) is None:
            raise
        raise shortage from error
    return function, args, kwargs


def context_of(
    envelope: Envelope,
    queue: str,
    attempt: int,
    fence: int,
    crashes: int,
    parents: tuple[ParentOutcome, ...] | None,
    **hooks: Any,
) -> JobContext:
    """Return what the function sees of its job.

    Args:
        crashes: How many attempts have ended with their worker; they use up no retry.
        hooks: Fields of the context that say where reports and lines go, and what stops the job.
    """
    options = envelope.opt
    return JobContext(
        job_id=envelope.id,
        queue=queue,
        function=envelope.fn,
        attempt=attempt,
        _fence=fence,
        enqueued_at=datetime.fromtimestamp(envelope.at, UTC),
        workflow=envelope.workflow,
        tags=options.tags,
        headers=options.headers,
        max_attempts=options.retry.max_retries + 1 + crashes,
        schedule=envelope.schedule,
        _retry=options.retry,
        _parents=parents,
        **hooks,
    )


def is_async(function: Callable[..., Any]) -> bool:
    """Return whether calling it gives a coroutine: async functions, partials of them, objects with an async `__call__`."""
    if type(function) is FunctionType:  # nearly always, and inspect takes ten times as long
        return bool(function.__code__.co_flags & inspect.CO_COROUTINE)
    while isinstance(function, functools.partial):
        function = function.func
    call = getattr(type(function), "__call__", None)  # noqa: B004 - the class's, to look inside
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call)


async def within(layers: Sequence[Layer], attempt: Attempt, process: int) -> Any:
    """Call an async function within its middleware, and return the result.

    Args:
        process: As of `end_copy`: the middleware is not left a second time in what the function has forked.
    """

    async def call() -> None:
        try:
            attempt.result = await attempt.call()
        finally:
            end_copy(process)

    await around(layers, attempt, call)
    return attempt.result


def within_plain(layers: Sequence[Layer], attempt: Attempt, process: int) -> None:
    """Call a plain function within the plain ones of its middleware, and keep the result in the attempt; as `within`."""

    def call() -> None:
        try:
            attempt.result = attempt.call()
        finally:
            end_copy(process)

    around_plain([layer for layer in layers if not layer.is_async], attempt, call)


def end_copy(process: int) -> None:
    """End this process if it is not the given one: a job has forked it, and the copy came back from the job's function.

    It would go on as the worker: with its connection, beside it, and beyond its end.
    """
    if os.getpid() != process:
        with contextlib.suppress(OSError):  # logging may hold a lock that no thread of the copy will release
            os.write(2, b"naq: a process that a job had forked returned from the job's function, and was ended\n")
        os._exit(1)


def of_value(value: Any, serializer: str) -> Outcome:
    """Return the outcome of a function that returned."""
    control = as_control(value)
    if control is not None:
        return of_control(control)
    try:
        content_type, data = encode_result(value, serializer)
    except BaseException as error:
        shortage = shortage_of("the result cannot be serialized", error, may_be_the_jobs=True)
        if shortage is None and not isinstance(error, EncodeError):
            raise
        return of_error(shortage or error, None)
    return Completed(content_type, data, preview_result(value, len(data)))


def of_control(control: JobControl) -> Outcome:
    """Return the outcome of a job that said what is to happen."""
    match control:
        case Retry(delay=delay, reason=reason):
            return Failed("Retry", clean_text(reason, MESSAGE_LIMIT) or "the job asked to be retried", delay=delay)
        case Snooze(delay=delay, reason=reason):
            return Snoozed(delay, clean_text(reason, MESSAGE_LIMIT))
        case Cancel(reason=reason):
            return Cancelled(clean_text(reason, MESSAGE_LIMIT))
        case _:
            return Failed(type(control).__name__, clean_text(str(control), MESSAGE_LIMIT))


def of_error(error: BaseException, policy: RetryPolicy | None, source: Sequence[SourceText] = ()) -> Outcome:
    """Return the outcome of a function that raised.

    Args:
        policy: Its filters decide whether the error may be retried; None means never.
        source: Lines of the function that its traceback may show.
    """
    if isinstance(error, JobControl):
        return of_control(error)
    if isinstance(error, ShortageError):
        return Short(str(error), may_be_the_jobs=error.may_be_the_jobs)
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    try:
        message = str(error)
    except BaseException as broken:  # noqa: BLE001 - a foreign __str__ must not hide that the job failed
        message = f"<no message: {type(broken).__name__}>"
    if origin := origin_of(error):
        message = f"{message} ({origin})" if message else origin
    retry = policy is not None and policy.wants(error)
    # All of it would keep our frames, and the outcome that is in them, alive.
    BaseException.with_traceback(error, _since_the_call(error))
    return Failed(name, clean_text(message, MESSAGE_LIMIT), format_traceback(error, source), retry=retry, error=error)


def format_traceback(error: BaseException, source: Sequence[SourceText] = ()) -> str:
    """Return the traceback as text, bounded; it begins with the job's own frames, where there are any."""
    try:
        with known(source):
            text = "".join(traceback.format_exception(type(error), error, _since_the_call(error), limit=-50))
    except BaseException:  # noqa: BLE001 - as above
        return ""
    return clean_text(text, TRACEBACK_LIMIT)


def _since_the_call(error: BaseException) -> TracebackType | None:
    """Leave out the worker's own frames: they are the same for every job and irrelevant to the error."""
    frames = error.__traceback__
    while frames is not None and frames.tb_next and _is_ours(frames.tb_frame.f_globals):
        frames = frames.tb_next
    return frames  # the last one stays: a function in C, or one that was called wrongly, has none


def _is_ours(module: Mapping[str, Any]) -> bool:
    """By the package: the name of a child process's module is `__main__`."""
    return str(module.get("__package__")).partition(".")[0] == "naq_worker" or module.get("__name__") in _BETWEEN
