"""The policy of a queue, how many of its jobs may run at once in all and of each key; and the key of a call."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from naq_core.errors import InvalidOptionError, shown
from naq_core.functions import function_name
from naq_core.values import exact_text, whole

MOST_LIMIT = 10_000
MOST_KEY_LIMIT = 1000
LONGEST_KEY = 512
"""Characters."""


class QueuePolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How many jobs of a queue may run at once, over all workers; the defaults are those of every queue."""

    limit: int | None = None
    """Of the whole queue, from 1 to 10,000; None: as many as the workers have slots for."""
    key_limit: int = 1
    """Of each key, from 1 to 1,000. With 1 the jobs of a key run in the order of their enqueues."""

    def __post_init__(self) -> None:
        if self.limit is not None:
            whole(self.limit, "limit", 1, MOST_LIMIT)
        whole(self.key_limit, "key_limit", 1, MOST_KEY_LIMIT)


def check_policy(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parts of a policy that a table of a settings file names.

    Raises:
        InvalidOptionError: A name or a value is wrong; names it.
    """
    values = {str(name).replace("-", "_"): value for name, value in given.items()}
    unknown = values.keys() - set(QueuePolicy.__struct_fields__)
    if unknown:
        raise InvalidOptionError(min(unknown), f"is not part of a policy; use {' or '.join(QueuePolicy.__struct_fields__)}")
    QueuePolicy(**values)
    return values


def made_key(make: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    """Return the key that a function makes of a job's arguments.

    Raises:
        InvalidOptionError: It returns none, or does not take these arguments.
    """
    try:
        key = make(*args, **kwargs)
    except TypeError as error:
        raise InvalidOptionError("key", f"{function_name(make)} does not take the arguments of this job: {error}") from error
    text = exact_text(key)
    if text is None or not 0 < len(text) <= LONGEST_KEY:
        problem = f"{function_name(make)} returned {shown(key)}: a key is text of 1 to {LONGEST_KEY} characters"
        raise InvalidOptionError("key", problem)
    return text
