"""When a failed job is tried again: a pure function of the attempt."""

import random
from datetime import timedelta
from typing import Literal, TypeAlias

import msgspec

from naq_core.decoding import Count, Duration
from naq_core.errors import DecodeError, UnknownTaskError

RetryStrategy: TypeAlias = Literal["fixed", "linear", "exponential"]
Delay: TypeAlias = float | timedelta


class RetryPolicy(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """How often and when a failed attempt is repeated.

    The delay before retry *n* (1, 2, …) is `delays[n-1]`, the last one repeating; a single delay grows by its strategy:
    `fixed` d, `linear` d·n, `exponential` d·2^(n-1). It is then capped by `max_delay` and, with `jitter`, drawn evenly from
    its upper half.
    """

    max_retries: Count = 0
    """How many times a failed job is retried."""
    delays: tuple[Duration, ...] = (0.0,)
    """Seconds before each retry, the last one repeating."""
    strategy: RetryStrategy = "fixed"
    """How a single delay grows: fixed, linear or exponential."""
    max_delay: Duration = 3600.0
    """The longest delay, in seconds."""
    jitter: bool = False
    """Draw each delay from its upper half."""
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
        """Return whether the policy's filters let this error be retried (the count is the caller's).

        A job that cannot be read, or whose function is not there, is never retried.
        """
        if isinstance(error, DecodeError | UnknownTaskError):
            return False
        names: set[str] = set()
        for cls in type(error).__mro__:
            names.update((cls.__name__, f"{cls.__module__}.{cls.__qualname__}"))
        if names.intersection(self.ignore_on):
            return False
        return not self.retry_on or bool(names.intersection(self.retry_on))
