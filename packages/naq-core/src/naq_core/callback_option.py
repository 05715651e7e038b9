"""What `on_success`, `on_failure` and `on_dead` take: calls, as programs and as people write them."""

from collections.abc import Callable
from datetime import datetime
from typing import Any, Protocol, TypeAlias

import msgspec

from naq_core.envelope import Callback
from naq_core.errors import InvalidOptionError, shown
from naq_core.option_kinds import Kind
from naq_core.values import exact_text
from naq_core.written_calls import read_function, read_json_arguments

EVENTS = ("on_success", "on_failure", "on_dead")
MOST_CALLBACKS = 8
LONGEST_CALL = 64 * 1024
"""Bytes of a callback's call: it is kept in the message of the job."""
OUTCOME = "<outcome>"


class Signed(Protocol):
    """What is needed of a `Signature`."""

    queue: str | None
    """Where its job goes, if that was said."""
    takes_result: bool

    def job(self, *first: Any) -> Any:
        """Make a job of it."""


class Made(Protocol):
    """What is needed of a `Job` that was made by `call()`."""

    @property
    def job_id(self) -> str: ...  # noqa: D102 - as a job's
    @property
    def delivery(self) -> Any: ...  # noqa: D102 - as a job's


Called: TypeAlias = Callable[..., Any] | Signed | Made | Callback | str
"""A task or function, a signature, a job that was made and not enqueued, what `webhook` returns, or a function's name."""


class Planned(Callback, frozen=True):
    """A callback whose call is encoded with the job that it is for, as the serializer is that job's."""

    call: Any = None


def _callbacks(value: Any, name: str) -> tuple[Callback, ...]:
    given = value if isinstance(value, list | tuple) else (value,)
    if len(given) > MOST_CALLBACKS:
        raise InvalidOptionError(name, f"must be at most {MOST_CALLBACKS} calls, not {len(given)}")
    return tuple(_callback(each, name) for each in given)


def _callback(value: Any, name: str) -> Callback:
    if isinstance(value, Callback):
        return value
    written = exact_text(value)
    if written is not None:
        return _written(written, name)
    is_call = callable(getattr(value, "job", None)) and hasattr(value, "takes_result")
    is_job = hasattr(value, "job_id") and hasattr(value, "delivery")
    if not (is_call or is_job or callable(value)):
        problem = f"{shown(value)} is not a task, a signature, a job or the name of a function (as text: shop.orders:notify)"
        raise InvalidOptionError(name, problem)
    return Planned("", "", b"", call=value)


def _written(text: str, name: str) -> Callback:
    """Return the callback of `module:function`, which arguments in JSON may follow."""
    function, _, rest = text.strip().partition(" ")
    try:
        function = read_function(function)
        args, kwargs = read_json_arguments(rest) if rest.strip() else ([], {})
    except ValueError as error:
        raise InvalidOptionError(name, f"{error} (arguments may follow in JSON)") from None
    body = msgspec.json.encode([[None, *args], kwargs])
    if len(body) > LONGEST_CALL:
        raise InvalidOptionError(name, f"the call of {function} has {len(body):,} bytes: at most {LONGEST_CALL:,} are allowed")
    shown_args = [msgspec.json.encode(each).decode() for each in args]
    shown_args += [f"{key}={msgspec.json.encode(each).decode()}" for key, each in kwargs.items()]
    return Callback(function, "json", body, args=", ".join(shown_args)[:200], given=())


def _read(value: Any, now: datetime) -> Any:
    """Return callbacks from text, one a line, or from a list of texts."""
    del now
    parts = [value] if isinstance(value, str) else value
    if not isinstance(parts, list | tuple) or not all(isinstance(part, str) for part in parts):
        return value
    return [line for part in parts for each in part.splitlines() if (line := each.strip())] or value


CALLBACKS = Kind(
    _callbacks,
    _read,
    {"type": ["array", "string"], "items": {"type": "string"}},
    is_list=True,
    example='shop.orders:notify, or with arguments in JSON shop.orders:notify ["ops"]',
)
