"""How the jobs of a task are run together: what `@task(batch=…)` declares."""

import inspect
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

from naq_core.decorated import annotations_of, own_signature
from naq_core.errors import InvalidOptionError
from naq_core.functions import unwrap
from naq_core.resources import without_resources
from naq_core.values import seconds, whole

MOST = 10_000
"""Jobs in one call."""
LONGEST_WINDOW = 60.0


class BatchForm(NamedTuple):
    """How the jobs of a task are run together."""

    size: int
    """The most jobs of one call."""
    window: float
    """Seconds that the first job waits for others."""
    parameter: str
    """Of the function: the list."""


def declare_batch(function: Callable[..., Any], size: object, window: object) -> None:
    """Let the jobs of a function be run together.

    Raises:
        InvalidOptionError: A value is wrong, or the function does not take one list.
    """
    size = whole(size, "batch", 1, MOST)
    wait = seconds(window, "window") if isinstance(window, int | float | timedelta) else -1.0
    if not 0 <= wait <= LONGEST_WINDOW:
        raise InvalidOptionError("window", f"must be from 0 to {LONGEST_WINDOW:g} seconds, not {window!r}")
    parameters = list(without_resources(function, own_signature(function)).parameters.values())
    kinds = {inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD}
    if len(parameters) != 1 or parameters[0].kind not in kinds:
        raise InvalidOptionError("batch", "the function must take one argument (beside resources): the list of those of the jobs")
    function.__naq_batch__ = BatchForm(size, wait, parameters[0].name)  # type: ignore[attr-defined]  # of a function


def batch_of(function: Callable[..., Any]) -> BatchForm | None:
    """Return how the jobs of a function are run together; None where each is run alone."""
    return getattr(unwrap(function), "__naq_batch__", None)


def item_face(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return what a job of a batch task takes and gives, for type conversion: one item of the list, and one of the results."""
    form = batch_of(function)
    if form is None:
        return function
    annotations = annotations_of(unwrap(function))

    def face(*args: Any) -> Any: ...

    item = _element(annotations.get(form.parameter, Any))
    parameter = inspect.Parameter(form.parameter, inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=item)
    face.__annotations__ = {form.parameter: item, "return": _element(annotations.get("return", Any))}
    face.__signature__ = inspect.Signature([parameter])  # type: ignore[attr-defined]  # of a function
    return face


def _element(kind: Any) -> Any:
    """Return the type of the elements of a list, or of the values of a mapping, without exceptions."""
    if isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union:
        parts = [_element(part) for part in typing.get_args(kind) if part is not type(None)]
        return parts[0] if len(parts) == 1 else Any
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if not (isinstance(origin, type) and issubclass(origin, Sequence | Mapping) and arguments):
        return Any
    element = arguments[1] if issubclass(origin, Mapping) else arguments[0]
    if isinstance(element, types.UnionType) or typing.get_origin(element) is typing.Union:
        kept = [part for part in typing.get_args(element) if not (isinstance(part, type) and issubclass(part, BaseException))]
        return typing.Union[tuple(kept)] if kept else Any  # noqa: UP007 - of types that are known here only
    return element


def item_of(form: BatchForm, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Return the argument of one job."""
    return args[0] if args else kwargs[form.parameter]
