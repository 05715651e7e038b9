"""When a failed job is tried again: a pure function of the attempt."""

import random
from collections.abc import Sequence
from datetime import timedelta
from typing import Any, Literal, TypeAlias

import msgspec

from naq_core.errors import ConfigurationError

RetryStrategy: TypeAlias = Literal["fixed", "linear", "exponential"]
Delay: TypeAlias = float | timedelta
STRATEGIES = ("fixed", "linear", "exponential")


def seconds(value: Delay, name: str) -> float:
    """Return a delay in seconds.

    Raises:
        ConfigurationError: It is neither a `timedelta` nor a finite, non-negative number.
    """
    number = value.total_seconds() if isinstance(value, timedelta) else value
    if isinstance(number, bool) or not isinstance(number, int | float) or not 0 <= number < 1e9:
        raise ConfigurationError(name, f"{value!r} is not a delay: use a timedelta or seconds from 0 to 1e9")
    return float(number)


class RetryPolicy(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """How often and when a failed attempt is repeated.

    The delay before retry *n* (1, 2, …) is `delays[n-1]`, the last one repeating; a single delay grows by its strategy:
    `fixed` d, `linear` d·n, `exponential` d·2^(n-1). It is then capped by `max_delay` and, with `jitter`, drawn evenly from
    its upper half.
    """

    max_retries: int = 0
    delays: tuple[float, ...] = (0.0,)
    strategy: RetryStrategy = "fixed"
    max_delay: float = 3600.0
    jitter: bool = False
    retry_on: tuple[str, ...] = ()
    """Names of exception classes; when given, only these and their subclasses are retried."""
    ignore_on: tuple[str, ...] = ()
    """Names of exception classes that are never retried; stronger than `retry_on`."""

    def delay(self, retry: int) -> float:
        """Return the seconds to wait before retry number `retry` (the first is 1)."""
        if len(self.delays) > 1 or self.strategy == "fixed":
            base = self.delays[min(retry, len(self.delays)) - 1]
        elif self.strategy == "linear":
            base = self.delays[0] * retry
        else:
            base = self.delays[0] * 2.0 ** min(retry - 1, 60)
        base = min(base, self.max_delay)
        return base * random.uniform(0.5, 1.0) if self.jitter else base  # noqa: S311 - spreading load, not a secret

    def wants(self, error: BaseException) -> bool:
        """Return whether the policy's filters let this error be retried (the count is the caller's)."""
        names: set[str] = set()
        for cls in type(error).__mro__:
            names.update((cls.__name__, f"{cls.__module__}.{cls.__qualname__}"))
        if names.intersection(self.ignore_on):
            return False
        return not self.retry_on or bool(names.intersection(self.retry_on))


def make_policy(
    max_retries: int = 0,
    retry_delay: Delay | Sequence[Delay] = 0,
    retry_strategy: str = "fixed",
    max_delay: Delay = 3600.0,
    jitter: bool = False,
    retry_on: Sequence[type[BaseException] | str] = (),
    ignore_on: Sequence[type[BaseException] | str] = (),
) -> RetryPolicy:
    """Build a policy from what users write, checking each value.

    Raises:
        ConfigurationError: A value has the wrong type or range; names it.
    """
    if isinstance(max_retries, bool) or not isinstance(max_retries, int) or max_retries < 0:
        raise ConfigurationError("max_retries", f"{max_retries!r} is not a whole number from 0 up")
    if retry_strategy not in STRATEGIES:
        raise ConfigurationError("retry_strategy", f"{retry_strategy!r} is not one of {', '.join(STRATEGIES)}")
    given: Sequence[Any] = (retry_delay,) if isinstance(retry_delay, int | float | timedelta) else retry_delay
    if isinstance(given, str) or not isinstance(given, Sequence) or not given:
        raise ConfigurationError("retry_delay", f"{retry_delay!r} is not a delay or a non-empty list of delays")
    return RetryPolicy(
        max_retries=max_retries,
        delays=tuple(seconds(each, "retry_delay") for each in given),
        strategy=retry_strategy,  # type: ignore[arg-type]  # checked above
        max_delay=seconds(max_delay, "max_delay"),
        jitter=bool(jitter),
        retry_on=_class_names(retry_on, "retry_on"),
        ignore_on=_class_names(ignore_on, "ignore_on"),
    )


def _class_names(classes: Any, name: str) -> tuple[str, ...]:
    if isinstance(classes, type | str):
        classes = (classes,)
    names = []
    for each in classes:
        if isinstance(each, str):
            names.append(each)
        elif isinstance(each, type) and issubclass(each, BaseException):
            names.append(f"{each.__module__}.{each.__qualname__}")
        else:
            raise ConfigurationError(name, f"{each!r} is not an exception class or the name of one")
    return tuple(names)
