"""A call as people write it: a function's name, and its arguments in JSON. For NAQ's own packages; may change in any release."""

from typing import Any, TypeAlias

import msgspec

__all__ = ["WrittenCall", "read_function", "read_json", "read_json_arguments"]

WrittenCall: TypeAlias = tuple[list[Any], dict[str, Any]]
"""Positional and keyword arguments."""


def read_function(text: str) -> str:
    """Return the name of a function, without white space around it; nothing is imported.

    Raises:
        ValueError: It is not `module:function`; says what was probably meant.
    """
    name = text.strip()
    module, colon, function = name.partition(":")
    if not colon or not all(part.isidentifier() for part in (*module.split("."), *function.split("."))):
        guess = ":".join(name.rsplit(".", 1)) if "." in name and not colon else "shop.mail:send"
        raise ValueError(f"{name[:100]!r} does not name a function: write module:function, such as {guess[:100]}")
    return name


def read_json(text: str) -> Any:
    """Return a value that is written as JSON.

    Raises:
        ValueError: It is not JSON. The message begins with a verb.
    """
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(f"must be JSON, and text in quotes: {error}") from error


def read_json_arguments(text: str | bytes) -> WrittenCall:
    """Return the arguments of a list, an object of keywords, or a list of both (`[[1], {"b": 2}]`), in JSON.

    Raises:
        ValueError: It is something else. The message begins with a verb.
    """
    try:
        found = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(f"must be JSON, a list or an object of keywords: {error}") from error
    match found:
        case [list() as args, dict() as kwargs]:
            return args, kwargs
        case list() as args:
            return args, {}
        case dict() as kwargs:
            return [], kwargs
        case _:
            raise ValueError(f"must be a list, an object of keywords, or [list, object], not {type(found).__name__}")
