"""A function's call as people and programs write it: `module:function`, and arguments in JSON."""

from collections.abc import Mapping
from typing import Any, TypeAlias

import msgspec
from litestar.exceptions import ValidationException

__all__ = ["SERIALIZER", "Call", "read_call", "read_function"]

SERIALIZER = "json"
"""How every call made here is stored, whatever the settings say: this process handles no pickles. All workers read it."""
LONGEST = 500_000
"""Characters of arguments; what is larger belongs into a program."""

Call: TypeAlias = tuple[list[Any], dict[str, Any]]


def read_function(text: str) -> str:
    """Return the name of a function; nothing is imported here, the worker will.

    Raises:
        ValidationException: It is not `module:function`.
    """
    name = text.strip()
    module, colon, function = name.partition(":")
    if not colon or not all(part.isidentifier() for part in (*module.split("."), *function.split("."))):
        guess = ":".join(name.rsplit(".", 1)) if "." in name and not colon else "shop.mail:send"
        raise ValidationException(f"{name[:100]!r} does not name a function: write module:function, such as {guess[:100]}")
    return name


def read_call(words: Mapping[str, str]) -> Call:
    """Return positional and keyword arguments from `arguments`, a list or an object, or from `args` and `kwargs`.

    Raises:
        ValidationException: They are not JSON, or something else.
    """
    found = _decoded(words.get("arguments", ""), "the arguments")
    args, kwargs = _decoded(words.get("args", ""), "args"), _decoded(words.get("kwargs", ""), "kwargs")
    match found if found is not None else [args or [], kwargs or {}]:
        case [list() as positional, dict() as named]:
            return positional, named
        case list() as positional:
            return positional, {}
        case dict() as named:
            return [], named
        case _:
            raise ValidationException("the arguments must be a JSON list, an object of keywords, or a list of both: [[1], {}]")


def _decoded(text: str, what: str) -> Any:
    if not text.strip():
        return None
    if len(text) > LONGEST:
        raise ValidationException(f"{what} are too long: {len(text):,} characters of at most {LONGEST:,}")
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValidationException(f"{what} must be JSON, a list or an object of keywords: {error}") from error
