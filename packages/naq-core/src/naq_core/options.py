"""The options of a job and of a schedule: the one table of their names, types, checks, defaults and meanings.

`Queue.options`, `Queue.schedule`, `@task`, `task.options`, `naq enqueue`, `naq schedule add`, the dashboard's API and forms, and
`naq.toml` offer what is listed here. A new option is a line here, and a field of the same name in `RetryPolicy`, `JobOptions`,
`DeliveryOptions` or `ScheduleSpec`.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias, TypedDict, get_args

import msgspec

from naq_core import option_kinds as kinds
from naq_core._suggest import meant
from naq_core.callback_option import CALLBACKS, Called
from naq_core.delivery_options import Chosen, Clash, DeliveryOptions
from naq_core.dependency import DependsOn
from naq_core.envelope import JobOptions
from naq_core.errors import InvalidOptionError
from naq_core.retry import Delay, RetryPolicy, RetryStrategy
from naq_core.storage.subjects import LEVELS

Priority: TypeAlias = Literal["high", "normal", "low"]
Exceptions: TypeAlias = Sequence[type[BaseException] | str]
Expiry: TypeAlias = float | timedelta | datetime
"""Seconds (or a `timedelta`) from the enqueue on, or an aware time."""


class Option(NamedTuple):
    """What is known of an option beside its type."""

    kind: kinds.Kind
    """Its check, and how it is read where there is only text or JSON."""
    help: str
    """Its meaning in one line."""
    default: str = ""
    """What holds where it is not given; empty where that goes without saying."""
    field: str = ""
    """The field of `RetryPolicy`, `JobOptions`, `DeliveryOptions`, `OptionSet` or `ScheduleSpec`, if it has another name."""
    flags: tuple[str, ...] = ()
    """How it is spelled on a command line, where `--its-name` would be another option's."""
    is_nullable: bool = False
    """None can be given and means "without"; derived from the type."""

    @property
    def described(self) -> str:
        """Its meaning, how a value is written in text, and what holds where it is not given."""
        example = f" Such as {self.kind.example}." if self.kind.example else ""
        return f"{self.help}{example}{f' Default: {self.default}.' if self.default else ''}"


class RunOptions(TypedDict, total=False):
    """How attempts are run.

    Delays and times to live are seconds or a `timedelta`.
    """

    max_retries: Annotated[int, Option(kinds.WHOLE, "How many times a failed job is retried.", "0")]
    retry_delay: Annotated[
        Delay | Sequence[Delay],
        Option(kinds.DELAYS, "Delay before each retry; of a list one for each retry, the last one repeating.", "0s", "delays"),
    ]
    retry_strategy: Annotated[
        RetryStrategy,
        Option(kinds.choice(get_args(RetryStrategy)), "How a single delay grows from retry to retry.", "fixed", "strategy"),
    ]
    max_delay: Annotated[Delay, Option(kinds.DURATION, "The longest delay before a retry.", "1h")]
    jitter: Annotated[
        bool,
        Option(
            kinds.FLAG,
            "Draw each delay from its upper half, so that failures do not all come back at once.",
            flags=("--retry-jitter",),
        ),
    ]
    retry_on: Annotated[Exceptions, Option(kinds.EXCEPTIONS, "Retry after these exceptions only (class names).", "all")]
    ignore_on: Annotated[Exceptions, Option(kinds.EXCEPTIONS, "Never retry after these exceptions (class names).")]
    timeout: Annotated[
        Delay | None,
        Option(
            kinds.TIMEOUT,
            "Time limit of one attempt: it is cancelled (async), killed (process), or given up (a thread cannot be stopped).",
            "no limit",
            flags=("--job-timeout",),
        ),
    ]
    result_ttl: Annotated[Delay | None, Option(kinds.TTL, "How long the result is kept.", "the setting result_ttl")]
    process: Annotated[
        bool, Option(kinds.FLAG, "Run in a child process, which can be killed and whose crash affects no other job.")
    ]
    on_success: Annotated[
        Called | Sequence[Called],
        Option(CALLBACKS, "Enqueue these calls when the job has succeeded; the outcome is their first argument."),
    ]
    on_failure: Annotated[
        Called | Sequence[Called],
        Option(CALLBACKS, "Enqueue these calls when the job has ended without success: dead, cancelled or expired."),
    ]
    on_dead: Annotated[
        Called | Sequence[Called],
        Option(CALLBACKS, "Enqueue these calls when the job has failed for good, with its retries used up."),
    ]


class RepeatedOptions(RunOptions, total=False):
    """What the jobs of a schedule may have."""

    priority: Annotated[
        Priority, Option(kinds.choice(LEVELS), "Which of the queue's waiting jobs a worker takes first.", "normal")
    ]
    expires: Annotated[
        Expiry | None,
        Option(
            kinds.EXPIRY,
            "Latest start, as a duration from the enqueue or a time; a job not started by then ends as expired.",
            "never",
        ),
    ]

    key: Annotated[
        str | Callable[..., str] | None,
        Option(
            kinds.OWNER,
            "Whose job it is, such as a customer: of one key so many run at once as the queue's policy says, by default one, in "
            "order. In programs also a function of the job's arguments.",
        ),
    ]
    tags: Annotated[Sequence[str], Option(kinds.TAGS, "Words to find and group jobs by.", flags=("--tag",))]
    headers: Annotated[
        Mapping[str, str],
        Option(
            kinds.HEADERS,
            "Names and values that travel with the job, such as a tenant or a trace context; all who see the job see them.",
            flags=("--header",),
        ),
    ]


class TaskOptions(RepeatedOptions, total=False):
    """What a task may declare for its jobs."""

    fast: Annotated[
        bool,
        Option(
            kinds.FLAG, "No claim, no record, no result: about twice as fast, for cheap jobs that may run twice after a crash."
        ),
    ]
    claim: Annotated[
        Literal["late", "first"],
        Option(
            kinds.choice(("late", "first")),
            "Claim the job before it starts (first), or start at once if no other worker can have it, and claim it if it still "
            "runs after claim_after (late).",
            "late",
        ),
    ]
    at: Annotated[datetime | None, Option(kinds.MOMENT, "Earliest start, as a time; one in the past means at once.")]
    delay: Annotated[
        Delay | None, Option(kinds.DURATION, "Earliest start, as a duration from the enqueue.", flags=("--in", "--delay"))
    ]
    unique: Annotated[
        str | None,
        Option(kinds.KEY, "A key within the queue: no second job is enqueued while one with this key waits or runs."),
    ]
    unique_by: Annotated[
        Chosen | None,
        Option(
            kinds.CHOSEN,
            "Make the unique key of the function and these arguments: their names or, in programs, a function of the arguments.",
        ),
    ]
    unique_for: Annotated[
        Delay | None,
        Option(kinds.TTL, "Keep the unique key in use for this time from the enqueue, also when the job has ended."),
    ]
    throttle: Annotated[
        Delay | None,
        Option(
            kinds.TTL,
            "Run the function (or the unique key) at most once in this time: a further enqueue returns the existing job.",
        ),
    ]
    on_clash: Annotated[
        Literal["refuse", "return", "replace"],
        Option(
            kinds.clash(Clash),
            "If the unique key is in use: refuse, return the existing job, or replace it if it is waiting.",
            "refuse",
        ),
    ]
    debounce: Annotated[
        Delay | None,
        Option(
            kinds.WAIT,
            "Start after this time without another job of the same unique key; a newer one replaces this one.",
        ),
    ]
    wait_for: Annotated[
        str | Callable[..., str] | None,
        Option(
            kinds.SIGNAL,
            "Hold the job until the signal of this name is sent, such as by a person who approves. In programs also a function "
            "of the job's arguments.",
        ),
    ]
    allow_failure: Annotated[bool, Option(kinds.FLAG, "Start once the jobs of depends_on have ended, even if they failed.")]
    parent_results: Annotated[bool, Option(kinds.FLAG, "Let the job read its parents' outcomes in current_job().parents.")]
    publish_budget: Annotated[
        Delay | None,
        Option(
            kinds.DURATION,
            "How long the enqueue is repeated while the server is away.",
            "the setting publish_budget",
            "budget",
        ),
    ]


class EnqueueOptions(TaskOptions, total=False):
    """What can be said of one job: the keywords of `Queue.options`."""

    job_id: Annotated[
        str | None,
        Option(kinds.JOB_ID, "Your own id: no second job is enqueued while a job or record with this id exists.", "a new one"),
    ]
    depends_on: Annotated[
        DependsOn | None,
        Option(kinds.JOBS, "Jobs that must succeed first (id or id@queue); if one does not, the job is cancelled."),
    ]


class CallOptions(EnqueueOptions, total=False):
    """The keywords of `Task.options`."""

    queue: Annotated[str | None, Option(kinds.QUEUE, "The queue.", "the setting default_queue", flags=("--queue", "-Q"))]


class ScheduleOptions(TypedDict, total=False):
    """When a schedule fires: the keywords of `Queue.schedule`, which calls `schedule_jitter` `jitter`. Give cron or interval."""

    cron: Annotated[
        str | None,
        Option(kinds.CRON, "When it fires: minute, hour, day, month and weekday, optionally seconds last, or a macro."),
    ]
    interval: Annotated[
        float | timedelta | str | None, Option(kinds.INTERVAL, "Time between two runs, without drift.", flags=("--every",))
    ]
    timezone: Annotated[str, Option(kinds.ZONE, "The time zone of cron, as an IANA name.", "UTC")]
    schedule_id: Annotated[
        str | None,
        Option(kinds.SCHEDULE_ID, "The schedule's id.", "derived from the function and the time", flags=("--id",)),
    ]
    start_at: Annotated[
        datetime | None,
        Option(kinds.TIME, "First possible run; an interval counts from it.", "now", flags=("--start",)),
    ]
    end_at: Annotated[datetime | None, Option(kinds.TIME, "Last possible run.", "never", flags=("--end",))]
    max_runs: Annotated[int | None, Option(kinds.COUNT, "The total number of runs.", "no limit")]
    schedule_jitter: Annotated[
        float | timedelta | str, Option(kinds.SPAN, "Delay each run by a random time up to this.", "0s", "jitter")
    ]
    overlap: Annotated[
        Literal["allow", "skip", "cancel"],
        Option(
            kinds.choice(("allow", "skip", "cancel")),
            "If the previous run has not ended: run beside it (allow), skip this run, or cancel the previous one.",
            "allow",
        ),
    ]
    misfire: Annotated[
        Literal["skip", "once", "all"],
        Option(
            kinds.choice(("skip", "once", "all")),
            "Runs missed by more than the grace: skip them, run once for all of them, or run them all (the newest 1,000).",
            "once",
        ),
    ]
    grace: Annotated[
        float | timedelta | str | None, Option(kinds.SPAN, "How late a run may start without counting as missed.", "60s")
    ]


class DeclaredOptions(TaskOptions, ScheduleOptions, total=False):
    """The keywords of `@task`."""

    queue: str | None
    """Where the task's jobs go, unless the call names another queue. Default: the setting `default_queue`."""
    middleware: Sequence[Any]
    """What is run around the task's enqueues and attempts: classes, instances, or names as `"module:name"`."""


def names(table: Any) -> frozenset[str]:
    """Return the names of a table's options."""
    return frozenset(table.__annotations__)


def _listed(table: Any) -> dict[str, Option]:
    found = {}
    for name, annotation in table.__annotations__.items():
        kind, option = get_args(annotation)
        found[name] = option._replace(field=option.field or name, is_nullable=type(None) in get_args(kind))
    return found


OPTIONS: Mapping[str, Option] = _listed(CallOptions)
"""Every option of a job, by its name."""
RUN_OPTIONS = names(RunOptions)
WORKER_OPTIONS = RUN_OPTIONS | {"claim", "expires", "key", "wait_for"}
"""What a worker takes from the task for a job that was enqueued by the function's name."""
UNKNOWN_BY_NAME = frozenset({"at", "delay", "debounce", "throttle", "unique", "unique_by"})
"""What decides at the enqueue whether and when a job is stored: a worker comes too late for it."""
REPEATED_OPTIONS = names(RepeatedOptions)
ENQUEUE_OPTIONS = names(EnqueueOptions)
SCHEDULE_KEYWORDS: Mapping[str, str] = {name: option.field for name, option in _listed(ScheduleOptions).items()}
"""The keywords of `@task` for its schedule, and what `Queue.schedule` calls them."""
SCHEDULE_OPTIONS: Mapping[str, Option] = {option.field: option for option in _listed(ScheduleOptions).values()}
"""Every option of a schedule, by its keyword of `Queue.schedule`, which is also its field of `ScheduleSpec`."""
HOLDERS: tuple[Collection[str], ...] = (
    RetryPolicy.__struct_fields__,
    JobOptions.__struct_fields__,
    {*DeliveryOptions._fields, "expires", "throttle"},
)
"""The fields of what holds options; any other option is held by `OptionSet`."""


OF_OTHER_QUEUES = {
    "countdown": "delay",
    "eta": "at",
    "time_limit": "timeout",
    "soft_time_limit": "timeout",
    "job_timeout": "timeout",
    "defer_by": "delay",
    "defer_until": "at",
    "scheduled": "at",
    "ttl": "expires",
    "max_tries": "max_retries",
    "default_retry_delay": "retry_delay",
    "min_backoff": "retry_delay",
    "max_backoff": "max_delay",
    "autoretry_for": "retry_on",
    "dont_autoretry_for": "ignore_on",
    "routing_key": "queue",
    "queue_name": "queue",
    "task_id": "job_id",
}
"""Names of options of Celery, RQ, arq, SAQ and dramatiq, and the option that comes closest."""


def check_names(given: Iterable[str], known: Collection[str], what: str) -> None:
    """Refuse options that do not exist.

    Args:
        what: Whose options they are, for the message.

    Raises:
        InvalidOptionError: Names the option and what was probably meant.
    """
    for name in sorted(set(given).difference(known)):
        same = OF_OTHER_QUEUES.get(name)
        text = (
            f"; did you mean {same}?" if same in known else meant(name, known) or f"; the options are {', '.join(sorted(known))}"
        )
        raise InvalidOptionError(name, f"is not an option of {what}{text}")


def read_options(written: Mapping[str, object], now: datetime, table: Mapping[str, Option] = OPTIONS) -> dict[str, Any]:
    """Return options as a program gives them, from text or JSON, as people and other programs write them.

    Args:
        written: By their names.
        now: What durations of times count from.
        table: The options that there are.
    """
    return {name: table[name].kind.read(value, now) for name, value in written.items()}


def with_given(given: tuple[str, ...] | None, names: Iterable[str]) -> tuple[str, ...] | None:
    """Return the names of the worker options that an enqueuer gave, with more; None stays None, as all count as given then."""
    return None if given is None else tuple(sorted({*given, *WORKER_OPTIONS.intersection(names)}))


def changed_options(options: JobOptions, other: JobOptions, names: Iterable[str]) -> JobOptions:
    """Return options with those of these names taken from others; names of what `JobOptions` does not hold are passed over."""
    fields = [OPTIONS[name].field for name in names]
    policy: dict[str, Any] = {field: getattr(other.retry, field) for field in fields if field in HOLDERS[0]}
    rest: dict[str, Any] = {field: getattr(other, field) for field in fields if field in HOLDERS[1]}
    return msgspec.structs.replace(options, retry=msgspec.structs.replace(options.retry, **policy), **rest)


def fill_options(options: JobOptions, given: Collection[str], declared: JobOptions, declares: Iterable[str]) -> JobOptions:
    """Return the options of a job with what its task declares for those that the enqueuer did not give.

    Args:
        given: Names of the worker options that the enqueuer gave.
        declares: Names of the options that the task declares.
    """
    left = [name for name in declares if name in WORKER_OPTIONS and name not in given]
    return changed_options(options, declared, left)
