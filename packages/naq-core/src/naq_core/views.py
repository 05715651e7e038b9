"""What the inspection operations return: one schema for `naq … --json`, the dashboard's API and programs.

Times are aware datetimes (UTC); as JSON (`encode_view`) they are RFC 3339 text.
"""

from datetime import datetime
from typing import Any

import msgspec

from naq_core.decoding import Duration
from naq_core.record import AttemptError, JobState, LogLine, Progress


class JobView(msgspec.Struct, kw_only=True):
    """A job as people see it, put together from its message and its record. Nothing in it was unpickled to be shown."""

    job_id: str
    queue: str
    function: str = ""
    state: JobState
    priority: str = "normal"
    attempt: int = 0
    """The attempt that runs or was last; 0 before the first."""
    max_attempts: int | None = None
    """None where only the record is left, which does not know."""
    crashes: int = 0
    enqueued_at: datetime | None = None
    due_at: datetime | None = None
    """When a held or retrying job is next due; None while it waits on other jobs."""
    expires_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    worker: str = ""
    arguments: str = ""
    """A preview as text, made by the producer."""
    result: str | None = None
    """A preview as text, made by the worker; None before success."""
    result_type: str = ""
    result_size: int = 0
    reason: str = ""
    errors: list[AttemptError] = []
    logs: list[LogLine] = []
    progress: Progress | None = None
    parents: list[str] = []
    children: list[str] = []
    workflow: str = ""
    schedule: str = ""
    tags: tuple[str, ...] = ()
    headers: dict[str, str] = {}
    key: str = ""
    """Whose job it is: of one key only so many run at once. Not known of a job of which only the record is left."""
    waits_for_key: bool = False
    """It is held until its key has room, or the rate of its key allows its start."""
    waits_for_rate: bool = False
    """It is held until the rate of its queue allows its start."""
    callbacks: dict[str, list[str]] = {}
    """The calls that are enqueued at its end, as text, by `on_success`, `on_failure` and `on_dead`. Only those that were given at
    the enqueue, and not known of a job of which only the record is left."""
    signal: str = ""
    """The signal that it waits for, or has waited for. Not known of a job of which only the record is left."""
    sequence: int = 0
    """The stream sequence it was read at: the order of lists, and what pages continue from."""


class JobFilter(msgspec.Struct, kw_only=True, frozen=True):
    """Which jobs are meant; empty fields match everything."""

    states: frozenset[JobState] = frozenset()
    queue: str = ""
    """A queue, or several separated by commas."""
    function: str = ""
    """A function's name, or a part of it."""
    worker: str = ""
    workflow: str = ""
    schedule: str = ""
    text: str = ""
    """Found in the id, the arguments preview or the last error's message."""
    error: str = ""
    """The last error's type."""
    tags: tuple[str, ...] = ()
    """Words that it has, all of them."""
    headers: tuple[tuple[str, str], ...] = ()
    """Names and values of headers that it has, all of them."""
    arguments: tuple[tuple[str, str], ...] = ()
    """Paths and values of arguments, such as `("customer", "4711")` or `("0.id", "5")`: all of a JSON job that is still
    stored, else those that the preview spells out."""
    since: datetime | None = None
    """Enqueued at or after."""
    until: datetime | None = None

    @property
    def queues(self) -> tuple[str, ...]:
        """The queues that are meant; none: all."""
        return tuple(self.queue.split(",")) if self.queue else ()

    @property
    def place(self) -> str:
        """The queue for a subject: a wildcard where not exactly one is meant."""
        return self.queue if len(self.queues) == 1 else "*"


class JobPage(msgspec.Struct, kw_only=True):
    """Some jobs of a list, newest first."""

    jobs: list[JobView]
    cursor: str | None = None
    """Hand it back for the next page; None after the last one."""
    scanned: int = 0
    """How many entries were looked at to find these: a search is bounded, and says so."""


class SignalPage(msgspec.Struct, kw_only=True):
    """Jobs that wait for a signal, the one that has waited longest first."""

    jobs: list[JobView]
    has_more: bool = False
    """There are more than were asked for."""


class JobCount(msgspec.Struct, kw_only=True):
    """How many jobs a filter matches."""

    count: int
    is_exact: bool = True
    """False where the search was bounded: there are at least `count`."""
    scanned: int = 0


class WaitingKey(msgspec.Struct, kw_only=True):
    """A key for which jobs wait."""

    key: str
    waiting: int
    """How many jobs wait for it. Those that were cancelled meanwhile count until its next job starts."""
    ahead: list[str] = []
    """The ids of the jobs they wait for: those that have its places. Empty where they wait for a worker or a rate."""


class QueueView(msgspec.Struct, kw_only=True):
    """A queue: how many jobs it has in each state, and what the server says of its consumers."""

    queue: str
    queued: int = 0
    """Ready jobs that no worker has."""
    waiting: int = 0
    """The old name of `queued`, for one release more."""
    by_priority: dict[str, int] = {}
    running: int = 0
    """Delivered and not yet settled, including short back-offs."""
    held: int = 0
    """Jobs that wait for their time, for other jobs, for their key, for a rate or in a back-off."""
    waiting_for_key: int = 0
    """How many of these wait for their key, or the rate of it."""
    waiting_for_rate: int = 0
    """How many of these wait for the rate of the queue."""
    keys: list[WaitingKey] = []
    """Some of the keys for which jobs wait: those of the jobs that wait longest. Of a single queue, not in lists."""
    dead: int = 0
    redelivered: int = 0
    paused: bool = False
    paused_until: datetime | None = None
    limit: int | None = None
    """The most jobs that may run at once over all workers."""
    key_limit: int = 1
    """The most jobs of one key that may run at once over all workers."""
    rate: str | None = None
    """How many jobs may start in a time over all workers, such as `10/s`."""
    burst: int | None = None
    """How many may start at once after a time in which none did; None: as many as the rate suggests."""
    key_rate: str | None = None
    """As `rate`, of each key."""
    key_burst: int | None = None
    """As `burst`, of each key."""
    weights: dict[str, int] = {}
    """Keys that get so many times the others' share."""
    oldest_at: datetime | None = None
    """When the oldest queued job was stored."""
    workers: int = 0


class Problem(msgspec.Struct, kw_only=True):
    """Something that is broken, and what to do about it."""

    kind: str
    """What is wrong, as a word for programs: no-leader, schedule-late, schedule-dying, schedule-ahead, no-worker, worker-silent,
    worker-gone, worker-versions, worker-clock, queue-unserved, queue-paused, queue-dead, signal-due."""
    subject: str
    """What it concerns: queue, schedule, worker, signal; scheduler, workers, versions."""
    name: str = ""
    """Which one; empty where it concerns all."""
    severity: str
    """problem: something does not work; warning: it may be meant so."""
    found: str
    """The rest of a sentence that begins with the subject."""
    advice: str
    since: datetime | None = None
    """When it began, as far as that is known."""


class BrokerView(msgspec.Struct, kw_only=True):
    """The server and NAQ's streams on it."""

    url: str
    server: str
    version: str
    cluster: str = ""
    rtt: float = 0.0
    """Seconds."""
    namespace: str = ""
    streams: list[dict[str, Any]] = []
    """name, messages, bytes, replicas, leader, first and last sequence."""


class Event(msgspec.Struct, kw_only=True):
    """Something that happened to a job, as the server republished it."""

    kind: str
    """started, progress, retrying, returned, succeeded, failed, cancelled, expired; enqueued, held, dead, kept, released; gap."""
    at: datetime
    queue: str
    job_id: str
    state: JobState | None = None
    function: str = ""
    attempt: int = 0
    worker: str = ""
    progress: Progress | None = None
    sequence: int = 0
    """The stream sequence of what changed; 0 of a gap."""


class ScheduleView(msgspec.Struct, kw_only=True):
    """A recurring schedule."""

    schedule_id: str
    queue: str
    function: str
    arguments: str = ""
    cron: str | None = None
    interval: float | None = None
    """Seconds."""
    timezone: str = "UTC"
    overlap: str = "allow"
    misfire: str = "once"
    grace: float | None = None
    jitter: float = 0.0
    start_at: datetime | None = None
    end_at: datetime | None = None
    max_runs: int | None = None
    paused: bool = False
    runs: int = 0
    missed: int = 0
    """Missed runs, by the misfire policy."""
    last_at: datetime | None = None
    """The nominal time of the last firing."""
    last_job: str = ""
    fired_at: datetime | None = None
    """When its last run was enqueued, by its times and not by hand."""
    next_at: datetime | None = None
    """None while paused or after the last run."""
    late: float = 0.0
    """Seconds since its next run was due, where that is more than a scheduler takes to fire it; else 0."""
    origin: str = ""
    """Where it is declared (code, file); empty where it was made by hand."""
    created_at: datetime | None = None
    anchor: datetime | None = None
    """What an interval without a start counts from."""
    watermark: datetime | None = None
    """Every nominal time up to this one is dealt with."""
    unreadable: str = ""
    """Why nothing more is known of it; empty where it can be read."""


class Firing(msgspec.Struct, kw_only=True):
    """One entry of a schedule's history."""

    at: datetime
    """The nominal time; of a manual one when it was asked for."""
    kind: str = "fired"
    """fired, manual, backfilled (for times that had passed), skipped (the previous run had not ended) or missed (too late, by
    policy)."""
    job_id: str = ""
    """Empty where no job was made."""
    late: Duration = 0.0
    """Seconds between the time at which the job was due and its enqueue."""
    count: int = 1
    """How many times in a row this happened; `at` is the last time."""
    state: JobState | None = None
    """What became of the job, as far as its record is kept."""


class SchedulerView(msgspec.Struct, kw_only=True):
    """The scheduler that leads, and what there is for it to do."""

    owner: str = ""
    """The name of the leader; empty where no scheduler leads."""
    host: str = ""
    pid: int = 0
    since: datetime | None = None
    """When it became the leader; None where it does not say, as it is of an older version."""
    fired_at: datetime | None = None
    """When a schedule was last fired, by this or an earlier leader; None if none of the stored schedules has been fired."""
    active: int = 0
    """How many schedules are neither paused nor unreadable."""
    late: list[str] = []
    """The ids of the schedules whose time has passed although they were not fired."""


class WorkflowView(msgspec.Struct, kw_only=True):
    """A workflow: its jobs and how far they are."""

    workflow_id: str
    name: str = ""
    created_at: datetime | None = None
    counts: dict[str, int] = {}
    """How many jobs in each state; `unknown` where neither job nor record is left."""
    total: int = 0
    jobs: list[JobView] = []
    """With their parents filled in; empty in lists."""
    unreadable: str = ""
    """Why nothing more is known of it; empty where it can be read."""


class WorkflowPage(msgspec.Struct, kw_only=True):
    """Some workflows of a list, newest first."""

    workflows: list[WorkflowView]
    cursor: str | None = None
    """Hand it back for the next page; None after the last one."""


class AuditEntry(msgspec.Struct, kw_only=True):
    """Something that somebody did with the dashboard or the command line, or was refused."""

    entry_id: str
    at: datetime
    action: str
    """Such as `cancel-job`, `purge-queue`, `log-in`."""
    kind: str
    """What it was done to: job, jobs, queue, schedule, worker, workflow, or login."""
    target: str = ""
    """Its id or name; of many jobs the filter."""
    by: str = ""
    """Who: a user of the dashboard, or `login@host` of a terminal. A claim, not a proof."""
    how: str = ""
    """How they were recognised: session, password, token, proxy, host, nobody; `command line`."""
    details: dict[str, str] = {}
    outcome: str = "begun"
    """begun (in progress, or its process died), done, refused, failed, stopped."""
    reason: str = ""
    """The outcome, as it was reported."""
    ended_at: datetime | None = None
    sequence: int = 0
    """The stream sequence of the note: the order of the trail, and what pages continue from."""


class Deploy(msgspec.Struct, kw_only=True):
    """A mark that a version was deployed, for charts."""

    version: str
    at: datetime
    by: str = ""
    """Who marked it."""


class AuditFilter(msgspec.Struct, kw_only=True, frozen=True):
    """Which entries are meant; empty fields match everything."""

    by: str = ""
    action: str = ""
    kind: str = ""
    outcome: str = ""
    target: str = ""
    """A part of it."""


class AuditPage(msgspec.Struct, kw_only=True):
    """Some entries of the audit trail, newest first."""

    entries: list[AuditEntry]
    cursor: str | None = None
    """Hand it back for the next page; None after the last one."""
    scanned: int = 0
    """How many messages were looked at to find these."""


_encoder = msgspec.json.Encoder()


def encode_view(view: Any) -> bytes:
    """Return any view, or a list of them, as JSON."""
    return _encoder.encode(view)
