"""What a function takes that a decorator has made with `functools.wraps`, and so looks like the function that it wraps."""

import contextlib
import functools
import inspect
import sys
import types
import typing
from collections.abc import Callable
from types import FunctionType
from typing import Any, NamedTuple

# From Python 3.14 on, annotations are evaluated when they are read, and their names may only exist for type checkers.
_FORMAT: dict[str, Any] = {}
if sys.version_info >= (3, 14):
    import annotationlib

    _FORMAT["annotation_format"] = annotationlib.Format.FORWARDREF

    def _written(function: Any) -> dict[str, Any]:
        return annotationlib.get_annotations(function, format=annotationlib.Format.FORWARDREF)

else:

    def _written(function: Any) -> dict[str, Any]:
        return getattr(function, "__annotations__", {})


VARIADIC = frozenset({inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD})
"""Kinds of parameters that need no argument."""
MOST_WRAPPERS = 100


class Face(NamedTuple):
    """Whose parameters a call is to fit."""

    function: Callable[..., Any]
    signature: inspect.Signature
    is_wrapped: bool
    """The function is inside a wrapper of `*args` or `**kwargs`, which may pass on something else than it is given."""


def own_signature(function: Callable[..., Any]) -> inspect.Signature:
    """Return what a callable itself takes, whatever it wraps.

    Its `__signature__` counts, except for one that `functools.wraps` has copied from what it wraps.

    Raises:
        TypeError, ValueError: It is not known, as of some functions in C. Others, of what users have written.
    """
    if isinstance(function, FunctionType) and "__signature__" in function.__dict__:
        wrapped = getattr(function, "__wrapped__", None)
        if wrapped is not None and function.__dict__["__signature__"] is getattr(wrapped, "__signature__", None):
            bare = FunctionType(
                function.__code__, function.__globals__, function.__name__, function.__defaults__, function.__closure__
            )
            bare.__kwdefaults__ = function.__kwdefaults__
            return inspect.signature(bare, follow_wrapped=False, **_FORMAT)
    return inspect.signature(function, follow_wrapped=False, **_FORMAT)


def shown_signature(function: Callable[..., Any]) -> inspect.Signature:
    """Return what a callable says that it takes, as `inspect.signature` does; annotations may be unknown names.

    Raises:
        TypeError, ValueError: It is not known, as of some functions in C.
    """
    return inspect.signature(function, **_FORMAT)


def face_of(function: Callable[..., Any]) -> Face:
    """Return the function whose parameters are meant: the first that says more than `*args` and `**kwargs`.

    Raises:
        TypeError, ValueError: As of `own_signature`.
    """
    signature = own_signature(function)
    is_wrapped = False
    for _ in range(MOST_WRAPPERS):
        wrapped = getattr(function, "__wrapped__", None)
        if wrapped is None or not _takes_anything(signature):
            break
        function = getattr(wrapped, "__naq_function__", wrapped)
        signature, is_wrapped = own_signature(function), True
    return Face(function, signature, is_wrapped)


def annotations_of(function: Callable[..., Any]) -> dict[str, Any]:
    """Return the annotations of a callable, with their `Annotated`; those that cannot be resolved are missing."""
    plain: Any = inspect.unwrap(function.func if isinstance(function, functools.partial) else function)
    if inspect.isclass(plain):
        plain = plain.__init__
    elif not inspect.isroutine(plain):
        plain = type(plain).__call__
    try:
        return typing.get_type_hints(plain, include_extras=True)
    except Exception:  # noqa: BLE001 - one name that cannot be resolved must not hide the others
        found: dict[str, Any] = {}
        for name, annotation in _written(plain).items():
            alone: Any = types.SimpleNamespace(__annotations__={name: annotation})
            with contextlib.suppress(Exception):
                found |= typing.get_type_hints(alone, getattr(plain, "__globals__", {}), include_extras=True)
        return found


def _takes_anything(signature: inspect.Signature) -> bool:
    return {each.kind for each in signature.parameters.values()} <= VARIADIC and bool(signature.parameters)
