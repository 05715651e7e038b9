"""Functions, arguments and results as bytes: cloudpickle by default, JSON where nothing may be unpickled.

Which formats a worker *accepts* is decided by its own `job_serializer`, never by the message (see `docs/serialization.md`).
"""

import math
import pickle
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import msgspec

from naq_core import by_value
from naq_core.errors import DecodeError, EncodeError, UnknownTaskError
from naq_core.functions import (
    allowed_function,
    checked_name,
    function_name,
    import_function,
    importable_name,
    registered_object,
    unwrap,
)
from naq_core.previews import is_plain
from naq_core.source_text import SourceText, source_of
from naq_core.typed_json import convert_arguments, encode_json

PICKLE = "pickle"
JSON = "json"
NO_ARGUMENTS = pickle.dumps(((), {}), protocol=5)


class Call(msgspec.Struct, frozen=True):
    """A function call as bytes."""

    function: str
    """`module:qualname`; only a label when `by_value`."""
    body: bytes
    content_type: str
    by_value: bool
    """The function itself is inside `body` (lambdas, closures, methods, partials, functions of `__main__`)."""
    source: tuple[SourceText, ...] = ()
    """Lines of `__main__` for tracebacks."""


def encode_call(
    function: Callable[..., Any] | str,
    args: Sequence[Any],
    kwargs: Mapping[str, Any],
    serializer: str,
    open_at: Collection[int | str] = (),
) -> Call:
    """Turn a call into bytes.

    Args:
        function: Anything callable, or `"module:qualname"` so that the producer need not have the code.
        args: Positional arguments.
        kwargs: Keyword arguments.
        serializer: `pickle` or `json`.
        open_at: Positions and keywords whose values are still to come, from other jobs.

    Raises:
        EncodeError: Something cannot be serialized, or no worker could import a function of that name; says which.
    """
    if isinstance(function, str):
        name: str | None = checked_name(function if type(function) is str else str.__str__(function))
    elif callable(function):
        function = unwrap(function)
        name = importable_name(function)
    else:
        raise EncodeError(f"{function!r} is not callable: pass a function, or its name as 'module:function'")
    if serializer == JSON:
        if name is None:
            raise EncodeError(
                f"{function_name(function)!r} cannot be named by an import path, which NAQ_JOB_SERIALIZER=json needs: "  # type: ignore[arg-type]  # a string has a name
                "move it to the top level of a module"
            )
        body = encode_json([list(args), dict(kwargs)], f"the arguments of {name}")
        if not isinstance(function, str):
            _check_fit(function, body, open_at)
        return Call(name, body, JSON, by_value=False)
    if serializer != PICKLE:
        raise EncodeError(f"unknown serializer {serializer!r}: use {PICKLE} or {JSON}")
    if name is not None:
        if not args and not kwargs:
            return Call(name, NO_ARGUMENTS, PICKLE, by_value=False)
        return Call(name, encode_pickle((tuple(args), dict(kwargs)), f"the arguments of {name}"), PICKLE, by_value=False)
    label = function_name(function)  # type: ignore[arg-type]  # as above
    body = encode_pickle((function, tuple(args), dict(kwargs)), f"{label} or its arguments")
    return Call(label, body, PICKLE, by_value=True, source=source_of(function))


def _check_fit(function: Callable[..., Any], body: bytes, open_at: Collection[int | str]) -> None:
    """Refuse JSON arguments that the worker could not turn into what the function's annotations say."""
    try:
        convert_arguments(function, *_arguments(decode_json(body, "arguments")), open_at)
    except DecodeError as error:
        raise EncodeError(f"{function_name(function)}: {error}") from None


def decode_call(
    call: Call, serializer: str, allowed: Sequence[str] = ()
) -> tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]:
    """Turn bytes back into function, positional and keyword arguments.

    Args:
        serializer: What this process accepts. `json` never unpickles and runs registered or allow-listed functions only.
        allowed: The allow-list; when given, it binds in every mode.

    Raises:
        DecodeError: The bytes are not a call, or of a format that is not accepted here.
        UnknownTaskError: The function cannot be found, or may not be run here.
    """
    if serializer == JSON:
        if call.content_type != JSON or call.by_value:
            raise DecodeError(f"this worker does not accept a {call.content_type} payload: it has NAQ_JOB_SERIALIZER=json")
        function = unwrap(find_function(call.function, serializer, allowed))
        return function, *_arguments(decode_json(call.body, "arguments"))
    if call.content_type not in {PICKLE, JSON}:
        raise DecodeError(f"unknown content type {call.content_type!r}")
    if call.by_value:
        if allowed:
            raise UnknownTaskError(call.function, "is not in NAQ_ALLOWED_FUNCTIONS")
        decoded = decode_pickle(call.body, "function")
        if not (isinstance(decoded, tuple) and len(decoded) == 3 and callable(decoded[0])):
            raise DecodeError("the payload is not a function with arguments")
        return decoded[0], *_arguments(decoded[1:])
    function = unwrap(find_function(call.function, serializer, allowed))
    if call.body == NO_ARGUMENTS:
        return function, (), {}
    decode = decode_json if call.content_type == JSON else decode_pickle
    return function, *_arguments(decode(call.body, "arguments"))


def find_function(name: str, serializer: str, allowed: Sequence[str] = ()) -> Callable[..., Any]:
    """Return what a job that names its function runs: the function, or the task, or what decorators have made of it.

    Args:
        serializer, allowed: As of `decode_call`.

    Raises:
        UnknownTaskError: It cannot be found, or may not be run here.
    """
    if serializer == JSON:
        function = registered_object(name) or allowed_function(name, allowed)
        if function is None:
            raise UnknownTaskError(name, "is neither a registered task nor in NAQ_ALLOWED_FUNCTIONS")
        return function
    if allowed and allowed_function(name, allowed) is None:
        raise UnknownTaskError(name, "is not in NAQ_ALLOWED_FUNCTIONS")
    return import_function(name)


def _arguments(decoded: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    if isinstance(decoded, list | tuple) and len(decoded) == 2:
        args, kwargs = decoded
        if (
            isinstance(args, list | tuple)
            and isinstance(kwargs, dict)
            and (not kwargs or all(isinstance(key, str) for key in kwargs))
        ):
            return tuple(args), kwargs
    raise DecodeError("the payload is not a list of arguments and a mapping of keyword arguments")


def encode_pickle(value: Any, what: str) -> bytes:
    """Pickle a value with cloudpickle, or with the much faster plain pickle where that gives the same.

    Raises:
        EncodeError: It cannot be pickled.
    """
    try:
        if is_plain(value):
            return pickle.dumps(value, protocol=5)
        return by_value.dumps(value)
    except Exception as error:
        raise EncodeError(f"{what} cannot be pickled: {type(error).__name__}: {error}") from error


def decode_pickle(data: bytes, what: str) -> Any:
    """Unpickle.

    Raises:
        DecodeError: The bytes are no pickle, or need code that is not here.
    """
    try:
        return pickle.loads(data)  # noqa: S301 - the default serializer; SECURITY.md says what that means
    except (Exception, SystemExit) as error:
        raise DecodeError(f"the {what} cannot be unpickled here: {type(error).__name__}: {error}") from error


def decode_json(data: bytes, what: str) -> Any:
    """Decode JSON.

    Raises:
        DecodeError: It is not JSON.
    """
    try:
        return msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError) as error:
        raise DecodeError(f"the {what} is not valid JSON: {error}") from error


def encode_result(value: Any, serializer: str) -> tuple[str, bytes]:
    """Return content type and bytes of a result; plain values become JSON in either mode, readable without unpickling.

    Raises:
        EncodeError: It cannot be serialized.
    """
    if serializer == JSON:
        return JSON, encode_json(value, "the result")
    if _is_json_scalar(value):
        try:
            return JSON, msgspec.json.encode(value)
        except UnicodeEncodeError:
            pass  # lone surrogates are no UTF-8: pickle keeps them
    return PICKLE, encode_pickle(value, "the result")


def _is_json_scalar(value: Any) -> bool:
    kind = type(value)
    if kind is int:
        return bool(-(2**63) <= value < 2**63)
    return value is None or kind is bool or kind is str or (kind is float and math.isfinite(value))


def decode_result(content_type: str, data: bytes, serializer: str) -> Any:
    """Return a stored result.

    Raises:
        DecodeError: Not decodable here, or a pickle where only JSON is accepted.
    """
    if content_type == JSON:
        return decode_json(data, "result")
    if content_type != PICKLE:
        raise DecodeError(f"unknown content type {content_type!r} of a result")
    if serializer == JSON:
        raise DecodeError("the result is a pickle, which NAQ_JOB_SERIALIZER=json does not read")
    return decode_pickle(data, "result")
