"""When a failed job is tried again: a pure function of the attempt."""

import random
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any, Literal, TypeAlias

import msgspec

from naq_core.decoding import Count, Duration
from naq_core.errors import ConfigurationError, shown
from naq_core.values import exact_text, flag, seconds, whole

RetryStrategy: TypeAlias = Literal["fixed", "linear", "exponential"]
Delay: TypeAlias = float | timedelta
STRATEGIES = ("fixed", "linear", "exponential")


class RetryPolicy(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """How often and when a failed attempt is repeated.

    The delay before retry *n* (1, 2, …) is `delays[n-1]`, the last one repeating; a single delay grows by its strategy:
    `fixed` d, `linear` d·n, `exponential` d·2^(n-1). It is then capped by `max_delay` and, with `jitter`, drawn evenly from
    its upper half.
    """

    max_retries: Count = 0
    delays: tuple[Duration, ...] = (0.0,)
    strategy: RetryStrategy = "fixed"
    max_delay: Duration = 3600.0
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
    strategy = exact_text(retry_strategy)
    if strategy not in STRATEGIES:
        raise ConfigurationError("retry_strategy", f"{shown(retry_strategy)} is not one of {', '.join(STRATEGIES)}")
    given: Sequence[Any] = (retry_delay,) if isinstance(retry_delay, int | float | timedelta) else retry_delay
    if isinstance(given, str | bytes | bytearray | memoryview) or not isinstance(given, Sequence) or not given:
        raise ConfigurationError("retry_delay", f"{shown(retry_delay)} is not a delay or a non-empty list of delays")
    return RetryPolicy(
        max_retries=whole(max_retries, "max_retries", 0),
        delays=tuple(seconds(each, "retry_delay") for each in given),
        strategy=strategy,  # type: ignore[arg-type]  # checked above
        max_delay=seconds(max_delay, "max_delay"),
        jitter=flag(jitter, "jitter"),
        retry_on=_class_names(retry_on, "retry_on"),
        ignore_on=_class_names(ignore_on, "ignore_on"),
    )


def _class_names(classes: Any, name: str) -> tuple[str, ...]:
    if isinstance(classes, type | str):
        classes = (classes,)
    if not isinstance(classes, Iterable):
        raise ConfigurationError(name, f"{shown(classes)} is not a list of exception classes or their names")
    names = []
    for each in classes:
        text = exact_text(each)
        if text is not None and text.isprintable() and text and not any(map(str.isspace, text)):
            names.append(text)
        elif isinstance(each, type) and issubclass(each, BaseException):
            names.append(f"{each.__module__}.{each.__qualname__}")
        else:
            raise ConfigurationError(name, f"{shown(each)} is not an exception class or the name of one")
    return tuple(names)
