"""A misspelt parameter is refused: `?stat=dead` would else list every job."""

from difflib import get_close_matches
from functools import cache
from typing import Annotated, Any, get_args, get_origin, get_type_hints

from litestar.connection import ASGIConnection
from litestar.exceptions import ValidationException
from litestar.handlers import BaseRouteHandler
from litestar.params import QueryParameter

__all__ = ["check_query", "query_names"]

HARMLESS = frozenset({"_"})
"""What clients add to get past a cache."""


def check_query(connection: ASGIConnection[Any, Any, Any, Any], handler: BaseRouteHandler) -> None:
    """Guard of the API: a query parameter that the operation does not know is an error. Probes may add what they like.

    Raises:
        ValidationException: There is one; names it and those that are known.
    """
    given = connection.query_params.keys() - HARMLESS
    if not given or handler.opt.get("public"):
        return
    known = list(query_names(handler).values())
    for name in sorted(given - set(known)):
        close = get_close_matches(name, known, n=1)
        meant = f" (did you mean {close[0]}?)" if close else ""
        rest = f"use {', '.join(known)}" if known else "this operation has no parameters"
        raise ValidationException(f"unknown parameter {name[:60]!r}{meant}; {rest}")


def query_names(handler: BaseRouteHandler) -> dict[str, str]:
    """Return the query parameters of an operation: as they are called in its functions, and as they stand in an address."""
    found = dict(_of_function(handler.fn))
    for each in handler.resolve_dependencies().values():
        found |= _of_function(each.dependency)
    return found


@cache
def _of_function(function: Any) -> dict[str, str]:
    found: dict[str, str] = {}
    for name, hint in get_type_hints(function, include_extras=True).items():
        if get_origin(hint) is Annotated:
            for each in get_args(hint)[1:]:
                if isinstance(each, QueryParameter):
                    found[name] = each.name or name
    return found
