"""The call of a new job or schedule."""

from typing import Any

import msgspec
from litestar.exceptions import ValidationException

from naq_core.written_calls import read_function

__all__ = ["SERIALIZER", "check_call"]

SERIALIZER = "json"
"""How every call made here is stored, whatever the settings say: this process handles no pickles. All workers read it."""
LONGEST = 500_000
"""Characters of arguments; what is larger belongs into a program."""


def check_call(function: str, args: list[Any], kwargs: dict[str, Any]) -> str:
    """Return the name of the function that is called; nothing is imported here, the worker will.

    Raises:
        ValidationException: It is not `module:function`, or the arguments are too long.
    """
    length = len(msgspec.json.encode((args, kwargs)))
    if length > LONGEST:
        raise ValidationException(f"the arguments are too long: {length:,} characters of at most {LONGEST:,}")
    try:
        return read_function(function)
    except ValueError as error:
        raise ValidationException(str(error)) from error
