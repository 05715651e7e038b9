"""The options of a job: the one table of their names, types and meanings, and the checks of their values."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, TypeAlias, TypedDict

import msgspec

from naq_core._suggest import meant
from naq_core.dependency import DependsOn
from naq_core.envelope import NO_OPTIONS, JobOptions
from naq_core.errors import InvalidOptionError, shown
from naq_core.retry import Delay, RetryStrategy, make_policy
from naq_core.storage.subjects import LEVELS, NORMAL
from naq_core.terms import Expiry
from naq_core.values import exact_text, flag, seconds

Priority: TypeAlias = Literal["high", "normal", "low"]
Exceptions: TypeAlias = Sequence[type[BaseException] | str]


class RunOptions(TypedDict, total=False):
    """How attempts are run. A worker applies those of the task also to a job that was enqueued by the function's name."""

    max_retries: int
    """How often a failed attempt is repeated. 0, the default: never."""
    retry_delay: Delay | Sequence[Delay]
    """Seconds (or `timedelta`) before each retry, or a list of them, the last one repeating."""
    retry_strategy: RetryStrategy
    """How a single delay grows: `fixed`, `linear` or `exponential`."""
    max_delay: Delay
    """The longest delay. Default one hour."""
    jitter: bool
    """Draw each delay from its upper half, so that failures do not come back all at once."""
    retry_on: Exceptions
    """Exception classes (or their names); only these are retried."""
    ignore_on: Exceptions
    """Exception classes that are never retried."""
    timeout: Delay | None
    """Seconds one attempt may take; then it is cancelled (async), killed (`process=True`), or, as a thread cannot be stopped,
    given up and its result refused. None, the default: no limit."""
    result_ttl: Delay | None
    """Seconds the result is kept. None, the default: the setting `result_ttl`."""
    process: bool
    """Run in a child process, which can be killed and whose crash affects no other job."""


class TaskOptions(RunOptions, total=False):
    """What a task may declare for its jobs."""

    fast: bool
    """No claim, no record, no result: about twice as fast, for cheap jobs that may run twice after a crash."""
    priority: Priority
    """`high`, `normal` or `low`: which of the queue's waiting jobs a worker takes first."""
    at: datetime | None
    """An aware time before which the job does not start; one that has passed means now. The server itself keeps the time."""
    delay: Delay | None
    """As `at`, in seconds (or a `timedelta`) from the enqueue on."""
    expires: Expiry | None
    """Seconds (or a `timedelta`) from the enqueue on, or an aware time: an attempt that has not been started by then is not
    started any more, and the job ends as expired."""
    unique: str | None
    """A key, within the queue: while a job of it is queued, held or running, no second one is enqueued. A dead job does not
    count, a new one takes its place."""
    on_clash: Literal["refuse", "return", "replace"]
    """What to do then: `refuse` (raise `DuplicateJobError`), `return` the job that is there (`Job.is_new` is False), or
    `replace` it if it waits."""
    debounce: Delay | None
    """Seconds (or a `timedelta`) to wait for another job of the same `unique` key, which then takes this one's place and waits
    again: of a burst of calls only the last is run. Calls while one is running are run after it."""
    allow_failure: bool
    """The job starts when all that it depends on have ended, however."""
    parent_results: bool
    """The job can read its parents' outcomes in `current_job().parents`; see also `result_of`."""
    publish_budget: Delay | None
    """Seconds the enqueue is repeated while the server is away. Default: the setting `publish_budget`, 30 s."""


class EnqueueOptions(TaskOptions, total=False):
    """What can be said of one job: the keywords of `Queue.options`."""

    job_id: str | None
    """An id of your own makes the enqueue idempotent: while a job or its record of that id exists, it is not enqueued or not
    run again."""
    depends_on: DependsOn | None
    """Jobs, their ids, or `Dependency(job, allow_failure=True)`, any number, of any queue: the job starts when all have
    succeeded. When one has not (failed, cancelled, expired, not known), the job is cancelled and says why."""


class CallOptions(EnqueueOptions, total=False):
    """The keywords of `Task.options`."""

    queue: str | None
    """Where the job goes."""


class ScheduleOptions(TypedDict, total=False):
    """When a task's schedule fires; `Queue.schedule` documents each."""

    cron: str
    interval: float | timedelta | str
    timezone: str
    schedule_id: str
    start_at: datetime | None
    end_at: datetime | None
    max_runs: int | None
    schedule_jitter: float | timedelta | str
    overlap: Literal["allow", "skip", "cancel"]
    misfire: Literal["skip", "once", "all"]
    grace: float | timedelta | str | None


class DeclaredOptions(TaskOptions, ScheduleOptions, total=False):
    """The keywords of `@task`."""

    queue: str | None
    """Where the task's jobs go, unless the call names another queue. Default: the setting `default_queue`."""


def names(table: Any) -> frozenset[str]:
    """Return the names of a table's options."""
    return frozenset(table.__annotations__)


RUN_OPTIONS = names(RunOptions)
JOB_OPTIONS = RUN_OPTIONS | {"fast", "priority"}
"""Those that go into `JobOptions`."""
ENQUEUE_OPTIONS = names(EnqueueOptions)
SCHEDULE_OPTIONS = names(ScheduleOptions)
_POLICY_FIELDS = {
    "max_retries": "max_retries",
    "retry_delay": "delays",
    "retry_strategy": "strategy",
    "max_delay": "max_delay",
    "jitter": "jitter",
    "retry_on": "retry_on",
    "ignore_on": "ignore_on",
}


def check_names(given: Iterable[str], known: Collection[str], what: str) -> None:
    """Refuse options that do not exist.

    Args:
        what: Whose options they are, for the message.

    Raises:
        InvalidOptionError: Names the option and what was probably meant.
    """
    for name in sorted(set(given).difference(known)):
        text = meant(name, known) or f"; the options are {', '.join(sorted(known))}"
        raise InvalidOptionError(name, f"is not an option of {what}{text}")


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
    """Check and bundle how a job is run; `EnqueueOptions` documents each.

    Raises:
        InvalidOptionError: A value has the wrong type or range; names it.
    """
    if timeout is not None and seconds(timeout, "timeout") == 0:
        raise InvalidOptionError("timeout", "0 would stop every attempt at once: use None for no limit")
    if result_ttl is not None and seconds(result_ttl, "result_ttl") < 1:
        raise InvalidOptionError("result_ttl", f"{shown(result_ttl)} is below 1 s, the server's granularity")
    level = exact_text(priority)
    if level not in LEVELS:
        raise InvalidOptionError("priority", f"{shown(priority)} is not one of {', '.join(LEVELS)}")
    options = JobOptions(
        retry=make_policy(max_retries, retry_delay, retry_strategy, max_delay, jitter, retry_on, ignore_on),
        timeout=None if timeout is None else seconds(timeout, "timeout"),
        result_ttl=None if result_ttl is None else seconds(result_ttl, "result_ttl"),
        process=flag(process, "process"),
        fast=flag(fast, "fast"),
        priority=level,
    )
    return NO_OPTIONS if options == NO_OPTIONS else options  # the default is left out on the wire


def fill_options(options: JobOptions, given: Collection[str], declared: JobOptions, declares: Iterable[str]) -> JobOptions:
    """Return the options of a job with what its task declares for those that the enqueuer did not give.

    Args:
        given: Names of the run options that the enqueuer gave.
        declares: Names of the options that the task declares.
    """
    left = [name for name in declares if name in RUN_OPTIONS and name not in given]
    policy: Mapping[str, Any] = {
        _POLICY_FIELDS[name]: getattr(declared.retry, _POLICY_FIELDS[name]) for name in left if name in _POLICY_FIELDS
    }
    rest: Mapping[str, Any] = {name: getattr(declared, name) for name in left if name not in _POLICY_FIELDS}
    return msgspec.structs.replace(options, retry=msgspec.structs.replace(options.retry, **policy), **rest)
