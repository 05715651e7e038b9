"""Gives a function the signature that the parser is to see."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any


def with_parameters(function: Callable[..., Any], like: Callable[..., Any], parameters: Sequence[inspect.Parameter]) -> None:
    """Let a wrapper look like what it wraps, but for its parameters."""
    function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]  # inspect honours it
    function.__annotations__ = {each.name: each.annotation for each in parameters}
    function.__doc__, function.__name__, function.__module__ = like.__doc__, like.__name__, like.__module__
