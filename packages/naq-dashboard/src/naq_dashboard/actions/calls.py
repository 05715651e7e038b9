"""A function's call as people and programs write it: `module:function`, and arguments in JSON."""

from typing import Any, TypeAlias

import msgspec
from litestar.exceptions import ValidationException

__all__ = ["SERIALIZER", "Call", "check_length", "read_arguments", "read_function"]

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


def read_arguments(text: str) -> Call:
    """Return positional and keyword arguments from a list, an object, or a list of both, in JSON; of empty text none.

    Raises:
        ValidationException: It is something else.
    """
    try:
        found = msgspec.json.decode(text) if text.strip() else []
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValidationException(f"the arguments must be JSON, a list or an object of keywords: {error}") from error
    match found:
        case [list() as positional, dict() as named]:
            return positional, named
        case list() as positional:
            return positional, {}
        case dict() as named:
            return [], named
        case _:
            raise ValidationException("the arguments must be a JSON list, an object of keywords, or a list of both: [[1], {}]")


def check_length(args: list[Any], kwargs: dict[str, Any]) -> None:
    """Refuse arguments that are too long.

    Raises:
        ValidationException: They are.
    """
    length = len(msgspec.json.encode((args, kwargs)))
    if length > LONGEST:
        raise ValidationException(f"the arguments are too long: {length:,} characters of at most {LONGEST:,}")
