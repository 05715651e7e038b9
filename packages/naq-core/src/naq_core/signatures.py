"""What arguments a function takes, so that a call that cannot succeed is refused before it is enqueued."""

import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from types import FunctionType
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

from naq_core._suggest import meant
from naq_core.decorated import own_signature
from naq_core.errors import EncodeError, InvalidCallError
from naq_core.functions import function_name, unwrap
from naq_core.options import ENQUEUE_OPTIONS, SCHEDULE_OPTIONS
from naq_core.resources import needs_of, without_resources
from naq_core.values import exact_text

_LIMITLESS = sys.maxsize


class _Shape(NamedTuple):
    """A signature, as far as a quick check needs it: `Signature.bind` takes several microseconds."""

    signature: inspect.Signature
    positional: tuple[str, ...]
    """Parameters that take positional arguments."""
    most: int
    """How many positional arguments there may be."""
    required: frozenset[str]
    """Parameters without a default."""
    keywords: frozenset[str]
    """Parameters that take keyword arguments."""
    least: int
    """How many positional arguments are enough if there are no keyword arguments."""

    def takes(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
        """Whether the arguments certainly fit."""
        if not kwargs:
            return self.least <= len(args) <= self.most
        given = self.positional[: len(args)]
        names = kwargs.keys()
        return len(args) <= self.most and self.keywords >= names and names.isdisjoint(given) and self.required <= {*given, *names}


_shapes: "WeakKeyDictionary[Callable[..., Any], _Shape | None]" = WeakKeyDictionary()


def check_call(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    """Check arguments against the signature of a function, where it is known.

    A decorated function (`functools.wraps`) has the signature of its wrapper, which may add or take away arguments.

    Raises:
        InvalidCallError: One is missing or surplus; names it.
    """
    shape = _shape_of(function)
    if shape is None or shape.takes(args, kwargs):
        return
    try:
        shape.signature.bind(*args, **kwargs)
    except TypeError as error:
        call = f"{function_name(function)}{shape.signature}"
        raise InvalidCallError(call, f"{error}{_advice(function, shape.signature, kwargs)}") from None


def signature_of(function: Callable[..., Any]) -> inspect.Signature | None:
    """Return the parameters that a call gives arguments for (without resources); None where they are not known."""
    shape = _shape_of(function)
    return None if shape is None else shape.signature


def _shape_of(function: Callable[..., Any]) -> _Shape | None:
    function = unwrap(function)
    if type(function) is not FunctionType:
        return _read(function)  # a bound method, say, is another object each time
    try:
        return _shapes[function]
    except KeyError:
        shape = _shapes[function] = _read(function)
        return shape


def _read(function: Callable[..., Any]) -> _Shape | None:
    try:
        signature = without_resources(function, own_signature(function))
    except Exception:  # noqa: BLE001 - it evaluates what users wrote
        return None
    parameters = signature.parameters.values()
    positional = tuple(each.name for each in parameters if each.kind in {each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD})
    required = frozenset(
        each.name
        for each in parameters
        if each.default is each.empty and each.kind not in {each.VAR_POSITIONAL, each.VAR_KEYWORD}
    )
    return _Shape(
        signature,
        positional,
        _LIMITLESS if any(each.kind is each.VAR_POSITIONAL for each in parameters) else len(positional),
        required,
        frozenset(each.name for each in parameters if each.kind in {each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY}),
        len(required.intersection(positional)) if required.issubset(positional) else _LIMITLESS + 1,
    )


def _advice(function: Callable[..., Any], signature: inspect.Signature, kwargs: Mapping[str, Any]) -> str:
    resources = {need.parameter: need.resource for need in needs_of(unwrap(function))}
    for name in kwargs:
        if name in signature.parameters:
            continue
        if name in resources:
            return f": the worker opens the resource {resources[name].name} for it"
        if found := meant(name, signature.parameters):
            return found
        if found := meant(name, ENQUEUE_OPTIONS):
            return f"{found} Options of a job belong in options(…)"
        if found := meant(name, SCHEDULE_OPTIONS):
            return f"{found} Options of a schedule belong in schedule(…)"
    return ""


def checked_call(function: object, args: object, kwargs: object) -> Any:
    """Return the function or its name; refuse what a worker could not call. Text is a sequence too, but of characters."""
    name = exact_text(function)
    if name is None and not callable(function):
        raise EncodeError(f"{function!r} is not callable: pass a function, or its name as 'module:function'")
    if isinstance(args, str | bytes | bytearray | memoryview) or not isinstance(args, Sequence):
        raise EncodeError(f"args must be a list of positional arguments, not a {type(args).__name__}")
    if kwargs is not None and not (isinstance(kwargs, Mapping) and all(isinstance(name, str) for name in kwargs)):
        raise EncodeError("kwargs must be a mapping of keyword arguments, with names as its keys")
    return function if name is None else name
