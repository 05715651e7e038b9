"""The unique key that chosen arguments of a call make."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from naq_core.errors import InvalidCallError, InvalidOptionError
from naq_core.functions import function_name, unwrap
from naq_core.signatures import signature_of

_encode = msgspec.json.Encoder(order="deterministic").encode


def key_of(
    function: Callable[..., Any] | str, args: Sequence[Any], kwargs: Mapping[str, Any], chosen: Sequence[str] | Callable[..., Any]
) -> str:
    """Return the key of a call: the function's name, and the values of the arguments that were chosen.

    Raises:
        InvalidOptionError: An argument is not there, or cannot be written as JSON.
        InvalidCallError: The arguments do not fit the function's signature.
    """
    if callable(chosen):
        name, values = function_name(chosen), {"": chosen(*args, **kwargs)}
    else:
        name, values = "", _values(function, args, kwargs, chosen)
    parts = [_part(key, value, name) for key, value in values.items()]
    return f"{function if isinstance(function, str) else function_name(function)}({', '.join(parts)})"


def _part(argument: str, value: Any, chooser: str) -> str:
    try:
        text = _encode(value).decode()
    except (TypeError, ValueError, RecursionError) as error:
        what = f"what {chooser} returned" if chooser else f"argument {argument!r}"
        problem = f"{what} is a {type(value).__name__} and cannot be part of a key: choose values that JSON can hold"
        raise InvalidOptionError("unique_by", problem) from error
    return f"{argument}={text}" if argument else text


def _values(
    function: Callable[..., Any] | str, args: Sequence[Any], kwargs: Mapping[str, Any], names: Sequence[str]
) -> dict[str, Any]:
    if not names:
        return {}
    given = kwargs if isinstance(function, str) else _by_name(function, args, kwargs)
    for name in names:
        if name not in given:
            hint = "; give it by its name, as the function's parameters are not known here" if isinstance(function, str) else ""
            raise InvalidOptionError("unique_by", f"the call has no argument {name!r}{hint}")
    return {name: given[name] for name in names}


def _by_name(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Mapping[str, Any]:
    signature = signature_of(unwrap(function))
    if signature is None:
        return kwargs
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError as error:
        raise InvalidCallError(f"{function_name(function)}{signature}", str(error)) from None
    bound.apply_defaults()
    rest = next((each.name for each in signature.parameters.values() if each.kind is inspect.Parameter.VAR_KEYWORD), None)
    return {**bound.arguments, **(bound.arguments[rest] if rest is not None else {})}
