"""A job's options, checked and bundled as they go onto the wire."""

from collections.abc import Sequence

from naq_core._nats.subjects import LEVELS, NORMAL
from naq_core.envelope import NO_OPTIONS, JobOptions
from naq_core.errors import ConfigurationError, shown
from naq_core.retry import Delay, make_policy
from naq_core.values import exact_text, flag, seconds


def make_options(  # noqa: PLR0913 - one keyword for each option
    *,
    max_retries: int = 0,
    retry_delay: Delay | Sequence[Delay] = 0,
    retry_strategy: str = "fixed",
    max_delay: Delay = 3600.0,
    jitter: bool = False,
    retry_on: Sequence[type[BaseException] | str] = (),
    ignore_on: Sequence[type[BaseException] | str] = (),
    timeout: Delay | None = None,
    result_ttl: Delay | None = None,
    process: bool = False,
    fast: bool = False,
    priority: str = NORMAL,
) -> JobOptions:
    """Check and bundle a job's options; `Queue.options` documents each.

    Raises:
        ConfigurationError: A value has the wrong type or range; names it.
    """
    if timeout is not None and seconds(timeout, "timeout") == 0:
        raise ConfigurationError("timeout", "0 would stop every attempt at once: use None for no limit")
    if result_ttl is not None and seconds(result_ttl, "result_ttl") < 1:
        raise ConfigurationError("result_ttl", f"{shown(result_ttl)} is below 1 s, the server's granularity")
    level = exact_text(priority)
    if level not in LEVELS:
        raise ConfigurationError("priority", f"{shown(priority)} is not one of {', '.join(LEVELS)}")
    options = JobOptions(
        retry=make_policy(max_retries, retry_delay, retry_strategy, max_delay, jitter, retry_on, ignore_on),
        timeout=None if timeout is None else seconds(timeout, "timeout"),
        result_ttl=None if result_ttl is None else seconds(result_ttl, "result_ttl"),
        process=flag(process, "process"),
        fast=flag(fast, "fast"),
        priority=level,
    )
    return NO_OPTIONS if options == NO_OPTIONS else options  # the default is left out on the wire
