"""The policy of a queue: how many of its jobs may run at once, and start in a time, in all and of each key; the key of a call."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from naq_core.errors import InvalidOptionError, shown
from naq_core.functions import function_name
from naq_core.rates import Rate, make_rate
from naq_core.values import exact_text, whole
from naq_core.wording import counted

MOST_LIMIT = 10_000
MOST_KEY_LIMIT = 1000
MOST_WEIGHT = 100
MOST_WEIGHTS = 1000
LONGEST_KEY = 512
"""Characters."""


class QueuePolicy(msgspec.Struct, frozen=True, kw_only=True):
    """How many jobs of a queue may run at once, and start in a time, over all workers; the defaults are those of every queue."""

    limit: int | None = None
    """How many jobs of the whole queue run at once, from 1 to 10,000; None: as many as the workers have slots for."""
    rate: str | None = None
    """How many jobs of the whole queue start in a time, such as `10/s`, `100/min` or `5000/h`; None: as many as come."""
    burst: int | None = None
    """How many may start at once after a time in which none did, from 1 to 10,000. None: 1 up to a rate of one a second, else one
    more than 100 ms bring."""
    key_limit: int = 1
    """How many jobs of each key run at once, from 1 to 1,000. With 1 the jobs of a key run in the order of their enqueues."""
    key_rate: str | None = None
    """How many jobs of each key start in a time, as `rate`."""
    key_burst: int | None = None
    """As `burst`, of `key_rate`."""
    weights: Mapping[str, int] = {}
    """Keys that get so many times the others' share, from 1 to 100: they run so many times `key_limit` jobs at once."""

    def __post_init__(self) -> None:
        if self.limit is not None:
            whole(self.limit, "limit", 1, MOST_LIMIT)
        whole(self.key_limit, "key_limit", 1, MOST_KEY_LIMIT)
        self._rates()
        if not isinstance(self.weights, Mapping) or len(self.weights) > MOST_WEIGHTS:
            raise InvalidOptionError("weights", f"must map up to {MOST_WEIGHTS:,} keys to their weights")
        for key, weight in self.weights.items():
            if not isinstance(key, str) or not 0 < len(key) <= LONGEST_KEY:
                raise InvalidOptionError("weights", f"{shown(key)} cannot be a key: use text of 1 to {LONGEST_KEY} characters")
            whole(weight, f"weights: {key}", 1, MOST_WEIGHT)

    def _rates(self) -> tuple[Rate | None, Rate | None]:
        return make_rate(self.rate, self.burst), make_rate(self.key_rate, self.key_burst, "key_rate", "key_burst")

    @property
    def rates(self) -> tuple[Rate | None, Rate | None]:
        """The rate of the whole queue, and that of each key."""
        return self._rates()


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


def rate_text(rate: str | None, burst: int | None) -> str:
    """Return a rate in words for people, empty without one."""
    return "" if rate is None else rate if burst is None else f"{rate}, {burst} at once"


def policy_text(policy: QueuePolicy) -> str:
    """Return a policy in words, to follow the name of a queue."""
    parts = [f"runs at most {counted(policy.key_limit, 'job')} of each key at once"]
    if policy.key_rate:
        parts.append(f"starts those of a key at {rate_text(policy.key_rate, policy.key_burst)}")
    if policy.rate:
        parts.append(f"starts jobs at {rate_text(policy.rate, policy.burst)}")
    if policy.weights:
        weights = ", ".join(f"{key} {weight}" for key, weight in policy.weights.items())
        parts.append(f"weights keys ({weights})")
    return f"{'; it '.join(parts)}, across all workers"


def made_key(make: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    """Return the key that a function makes of a job's arguments.

    Raises:
        InvalidOptionError: It returns none, or does not take these arguments.
    """
    text = exact_text(key := made_of("key", make, args, kwargs))
    if text is None or not 0 < len(text) <= LONGEST_KEY:
        problem = f"{function_name(make)} returned {shown(key)}: a key is text of 1 to {LONGEST_KEY} characters"
        raise InvalidOptionError("key", problem)
    return text


def made_of(option: str, make: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """Return what the function that was given for an option makes of a job's arguments.

    Raises:
        InvalidOptionError: It does not take these arguments.
    """
    try:
        return make(*args, **kwargs)
    except TypeError as error:
        raise InvalidOptionError(option, f"{function_name(make)} does not take the arguments of this job: {error}") from error
