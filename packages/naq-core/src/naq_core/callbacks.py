"""Callbacks of a job in the form in which they are kept with it (`docs/adr/0053-callbacks.md`)."""

from typing import Any

import msgspec

from naq_core.call import JobCall
from naq_core.callback_option import EVENTS, LONGEST_CALL, Planned
from naq_core.delivery_options import NO_DELIVERY_OPTIONS
from naq_core.dependency import NO_WIRING
from naq_core.envelope import NO_OPTIONS, Callback, JobOptions
from naq_core.errors import InvalidOptionError
from naq_core.option_set import options_for
from naq_core.previews import preview
from naq_core.serialization import encode_call
from naq_core.signatures import check_call


def with_encoded_callbacks(options: JobOptions, serializer: str) -> JobOptions:
    """Return options with the calls of their callbacks as bytes.

    Args:
        serializer: That of the job.

    Raises:
        InvalidOptionError: A callback has options that it cannot have, or its call is too large.
        InvalidCallError: A function cannot take the outcome as its first argument. EncodeError: It cannot be serialized.
    """
    found: dict[str, tuple[Callback, ...]] = {name: getattr(options, name) for name in EVENTS}
    planned = {name: each for name, each in found.items() if any(isinstance(callback, Planned) for callback in each)}
    if not planned:
        return options
    encoded = {name: tuple(_encoded(each, name, serializer) for each in callbacks) for name, callbacks in planned.items()}
    return msgspec.structs.replace(options, **encoded)


def _encoded(callback: Callback, name: str, serializer: str) -> Callback:
    if not isinstance(callback, Planned):
        return callback
    given = callback.call
    if hasattr(given, "takes_result"):
        job, queue, told = given.job(None) if given.takes_result else given.job(), given.queue, given.takes_result
    elif hasattr(given, "delivery"):
        job, queue, told = given, given.queue, False
    else:
        options = options_for(given)
        job, queue, told = JobCall(given, (None,), options=options), options.queue, True
    return _callback_of(job, queue or "", name, serializer, told=told)


def _callback_of(job: JobCall[Any], queue: str, name: str, serializer: str, *, told: bool) -> Callback:
    _check_options(job, name)
    function, args, kwargs = job.function, job.args, job.kwargs
    if not isinstance(function, str):
        check_call(function, args, kwargs)
    call = encode_call(function, args, kwargs, serializer, (0,) if told else ())
    if len(call.body) > LONGEST_CALL:
        problem = f"at most {LONGEST_CALL:,} are allowed: pass a reference"
        raise InvalidOptionError(name, f"the call of {call.function} has {len(call.body):,} bytes, {problem}")
    options = with_encoded_callbacks(job.options, serializer)
    return Callback(
        call.function,
        call.content_type,
        call.body,
        queue=queue,
        told=told,
        by_value=call.by_value,
        args=preview(args[1:] if told else args, kwargs),
        opt=None if options is NO_OPTIONS else options,
        given=job._given,  # noqa: SLF001 - of a job
        expires_in=job.delivery.expires_in,
        source=call.source,
    )


def _check_options(job: JobCall[Any], name: str) -> None:
    if job.wiring is not NO_WIRING:
        raise InvalidOptionError(
            name, f"{job.function_name} cannot depend on other jobs or wait for a signal: it starts when the job has ended"
        )
    if job.delivery._replace(expires_in=0.0) != NO_DELIVERY_OPTIONS:
        raise InvalidOptionError(
            name, f"{job.function_name} cannot have at, delay, unique or debounce, and of expires only a duration"
        )
