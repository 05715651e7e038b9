"""What is broken and needs somebody: one list for `naq doctor`, the dashboard's overview, its API and the alerts.

Each problem says what is wrong, since when, and what to do. What the server itself could do better (clocks of clients, limits,
streams that differ) is not here: `naq doctor` checks it in addition.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

from naq_core.errors import ScheduleNotFoundError
from naq_core.inspect import (
    leading_scheduler,
    list_past_workers,
    list_queues,
    list_running_but,
    list_workers,
    waiting_for_signals,
)
from naq_core.masks import Mask
from naq_core.names import is_job_id
from naq_core.record import JobState
from naq_core.schedules import list_schedule_documents, schedule_history, scheduler_view
from naq_core.schedules.document import AHEAD, HISTORY, ScheduleDocument, view_of
from naq_core.storage.connection import Connection
from naq_core.transport.clock import MOST_SKEW, WARN_SECONDS
from naq_core.transport.many import read_many
from naq_core.views import Firing, JobView, Problem, QueueView, SchedulerView, ScheduleView
from naq_core.wording import counted, span

__all__ = ["needs_attention", "queue_problems", "schedule_problems", "signal_problems", "worker_problems"]

MOST_EACH = 20
"""Problems of one kind that are named; of the others only the number is told."""
MOST_RUNS = 2000
"""Runs of all schedules together that are looked at; of each schedule, the latest at least."""
MOST_LOST = 500
DEAD_RUNS = 3
"""So many dead runs in a row are no accident."""
SECONDS = 0.5
"""How long to look for jobs of vanished workers at most."""
LATEST = datetime.max.replace(tzinfo=UTC)
REMEMBERED = timedelta(hours=1)
"""How long a worker that has vanished without a job in progress is told."""
UNSERVED = timedelta(seconds=30)
"""A queue may be without a worker for so long: a deployment exchanges them."""
MOST_WAITING = 1000
"""Jobs that wait for signals, of which the deadlines are looked at."""
LAST_PART = 0.1
"""A signal is urgent in this last part of the time that a job waits for it at most: it waits for a person, who may need hours."""

Read: TypeAlias = Callable[..., Awaitable[Any]]
"""Calls a reading function with the connection, or returns the answer that somebody else has just had."""


async def needs_attention(connection: Connection, mask: Mask | None = None, read: Read | None = None) -> list[Problem]:
    """Return everything that needs somebody, what is worst first.

    Args:
        mask: As of `list_jobs`; for the names of signals, which may have a secret in them.
        read: By default, it asks the server.

    Raises:
        BrokerError: The server does not answer.
    """
    queues, workers, schedules, signals = await asyncio.gather(
        queue_problems(connection, read),
        worker_problems(connection, read),
        schedule_problems(connection),
        signal_problems(connection, mask),
    )
    return sorted([*schedules, *workers, *queues, *signals], key=_urgency)


def _urgency(problem: Problem) -> tuple[bool, datetime]:
    return (problem.severity != "problem", problem.since or LATEST)


def _reading(connection: Connection, read: Read | None) -> Read:
    return read or (lambda function, *arguments: function(connection, *arguments))


async def queue_problems(connection: Connection, read: Read | None = None) -> list[Problem]:
    """Return queues that nobody serves, that are paused, or that hold dead jobs."""
    queues = await _reading(connection, read)(list_queues)
    found = [each for view in queues for each in _of_queue(view, connection.clock.utc())]
    return _shortened(found)


def _of_queue(queue: QueueView, now: datetime) -> Iterator[Problem]:
    name = queue.queue
    if queue.paused:
        until = f" until {queue.paused_until:%Y-%m-%d %H:%M} UTC" if queue.paused_until else ""
        yield Problem(
            kind="queue-paused",
            subject="queue",
            name=name,
            severity="warning",
            found=f"is paused with {counted(queue.queued, 'queued job')}{until}",
            advice=f"naq queue resume {name} resumes it.",
            since=queue.oldest_at if queue.queued else None,
        )
    elif queue.queued and not queue.workers:
        is_long = queue.oldest_at is None or queue.oldest_at < now - UNSERVED
        yield Problem(
            kind="queue-unserved",
            subject="queue",
            name=name,
            severity="problem",
            found=f"has {counted(queue.queued, 'queued job')} and no worker serves it",
            advice=f"Start one: naq worker {name}",
            since=queue.oldest_at if is_long else None,
        )
    if queue.dead:
        yield Problem(
            kind="queue-dead",
            subject="queue",
            name=name,
            severity="warning",
            found=counted(queue.dead, "dead job"),
            advice=f"naq job list state:dead queue:{name} lists them, naq job retry requeues them.",
        )


async def worker_problems(connection: Connection, read: Read | None = None) -> list[Problem]:
    """Return workers that are silent or have vanished with jobs in progress, and those that differ from the others."""
    workers = await _reading(connection, read)(list_workers)
    alive = [each for each in workers if "unreadable" not in each]
    queues_of = {job_id: queues for each in alive for queues in (set(each.get("queues", ())),) for job_id in each["running"]}
    past, running = await asyncio.gather(
        list_past_workers(connection, connection.clock.utc() - REMEMBERED),
        list_running_but(connection, lambda queue, job_id: queue in queues_of.get(job_id, ()), MOST_LOST, SECONDS),
    )
    if not alive:
        start = Problem(
            kind="no-worker", subject="workers", severity="warning", found="no worker is running", advice="Start one: naq worker"
        )
        return [start, *_shortened(_gone(set(), running, past))]
    late = connection.clock.utc() - connection.settings.heartbeat_interval * 3
    return [
        *_shortened(_silent(alive, late)),
        *_shortened(_gone({str(each["worker_id"]) for each in workers}, running, past)),
        *_differing(alive),
    ]


def _silent(workers: Iterable[dict[str, Any]], late: datetime) -> Iterator[Problem]:
    for each in workers:
        seen = datetime.fromtimestamp(each["at"], UTC)
        if seen < late:
            jobs = len(each["running"])
            busy = f", with {counted(jobs, 'job')} in progress" if jobs else ""
            yield Problem(
                kind="worker-silent",
                subject="worker",
                name=str(each["worker_id"]),
                severity="problem",
                found=f"sends no heartbeat{busy}",
                advice=f"Is process {each.get('pid', '?')} on {each.get('host', '?')} alive, and does it reach the server?",
                since=seen,
            )


def _gone(known: set[str], running: Sequence[JobView], past: Iterable[dict[str, Any]]) -> Iterator[Problem]:
    lost = [job for job in running if job.worker and job.worker not in known]
    busy = Counter(job.worker for job in lost)
    for worker, jobs in busy.items():
        starts = [job.started_at for job in lost if job.worker == worker and job.started_at is not None]
        yield Problem(
            kind="worker-gone",
            subject="worker",
            name=worker,
            severity="problem",
            found=f"has vanished with {counted(jobs, 'job')} in progress",
            advice="Another worker takes them over once their lease is over. The log of its machine says why it ended.",
            since=min(starts, default=None),
        )
    for each in past:
        if each["state"] == "vanished" and each["worker_id"] not in {*busy, *known}:
            yield Problem(
                kind="worker-gone",
                subject="worker",
                name=str(each["worker_id"]),
                severity="warning",
                found="has vanished with no job in progress, without being stopped",
                advice=f"The log of {each.get('host', 'its machine')} says why process {each.get('pid', '?')} ended.",
                since=datetime.fromtimestamp(each["at"], UTC),
            )


def _differing(alive: Iterable[dict[str, Any]]) -> Iterator[Problem]:
    versions = {str(each.get("version")) for each in alive}
    if len(versions) > 1:
        yield Problem(
            kind="worker-versions",
            subject="versions",
            severity="warning",
            found=f"run different versions: {', '.join(sorted(versions))}",
            advice="Finish the roll-out.",
        )
    for each in alive:
        skew = each.get("clock")
        if isinstance(skew, int | float) and abs(skew) > WARN_SECONDS:
            yield Problem(
                kind="worker-clock",
                subject="worker",
                name=str(each["worker_id"]),
                severity="warning",
                found=f"the clock of its machine is {span(abs(skew))} {'ahead of' if skew > 0 else 'behind'} the server's",
                advice=f"Synchronise {each.get('host')} by NTP.",
            )


async def schedule_problems(connection: Connection) -> list[Problem]:
    """Return schedules that do not fire, and those whose runs die."""
    now = connection.clock.utc()
    documents = sorted(await list_schedule_documents(connection), key=lambda each: each.spec.schedule_id)
    known = [view_of(each, now) for each in documents]
    active = [each for each in known if not each.paused]
    found = [*_shortened(_put_ahead(active, now))]
    if not active:
        return found
    scheduler = scheduler_view(await leading_scheduler(connection), known)
    if not scheduler.owner:
        found.append(_leaderless(active, scheduler, now))
    found += _shortened(_late(active, has_leader=bool(scheduler.owner)))
    return found + _shortened(await _dying(connection, [each for each in documents if not each.paused]))


def _leaderless(active: Sequence[ScheduleView], scheduler: SchedulerView, now: datetime) -> Problem:
    fired = scheduler.fired_at
    number = f"{len(active):,} schedule{'s are' if len(active) > 1 else ' is'} active"
    last = f", last run fired {span((now - fired).total_seconds())} ago" if fired else ""
    return Problem(
        kind="no-leader",
        subject="scheduler",
        severity="problem",
        found=f"{number} and no scheduler is the leader{last}",
        advice=f"Start one: naq scheduler. One whose clock is over {MOST_SKEW:.0f} s off the server's says so and never leads.",
        since=min((each.next_at for each in active if each.late and each.next_at), default=None),
    )


def _late(active: Iterable[ScheduleView], *, has_leader: bool) -> Iterator[Problem]:
    """Schedules whose time has passed unfired."""
    advice = "The log of the scheduler says why it does not fire." if has_leader else "A scheduler will fire it: naq scheduler"
    for view in active:
        if view.late:
            yield Problem(
                kind="schedule-late",
                subject="schedule",
                name=view.schedule_id,
                severity="problem",
                found=f"is late: a run was due {span(view.late)} ago and was not fired",
                advice=advice,
                since=view.next_at,
            )


def _put_ahead(active: Iterable[ScheduleView], now: datetime) -> Iterator[Problem]:
    """Schedules that a wrong clock has put ahead: they are silent until then."""
    for view in active:
        if view.watermark is not None and view.watermark > now + AHEAD:
            yield Problem(
                kind="schedule-ahead",
                subject="schedule",
                name=view.schedule_id,
                severity="problem",
                found=f"does not fire before {view.next_at or view.watermark:%Y-%m-%d %H:%M:%S} UTC, because of a wrong clock",
                advice=f"naq schedule resume {view.schedule_id} makes it fire again.",
            )


async def _dying(connection: Connection, active: Sequence[ScheduleDocument]) -> list[Problem]:
    """Return schedules of which the latest runs have all died.

    Only the histories of schedules with dead jobs are looked at: of the others the latest run is not dead.
    """
    names, latest = connection.names, min(HISTORY, max(1, MOST_RUNS // len(active)))
    runs = {
        names.dead(each.spec.queue, firing.job_id): each.spec.schedule_id
        for each in active
        for firing in each.firings[-latest:]
        if is_job_id(firing.job_id)
    }
    ids = {runs[each.subject] for each in await read_many(connection, names.jobs_stream, list(runs), names.dead("*", "*"))}
    histories = await asyncio.gather(*(_history(connection, each) for each in sorted(ids)[: MOST_EACH * 2]))
    return [each for name, history in zip(sorted(ids), histories, strict=False) for each in _of_history(name, history)]


async def _history(connection: Connection, schedule_id: str) -> list[Firing]:
    try:
        return await schedule_history(connection, schedule_id)
    except ScheduleNotFoundError:  # deleted meanwhile
        return []


def _of_history(schedule_id: str, history: Sequence[Firing]) -> Iterator[Problem]:
    ended = [each for each in history if each.state is not None and each.state.is_final]
    dead = 0
    while dead < len(ended) and ended[dead].state is JobState.DEAD:
        dead += 1
    if dead >= min(DEAD_RUNS, len(ended)) > 0:
        yield Problem(
            kind="schedule-dying",
            subject="schedule",
            name=schedule_id,
            severity="problem",
            found="its latest run died" if dead == 1 else f"its latest {dead} runs died",
            advice=f"naq job show {ended[0].job_id} says why. naq schedule pause {schedule_id} pauses it until that is repaired.",
            since=ended[dead - 1].at,
        )


async def signal_problems(connection: Connection, mask: Mask | None = None) -> list[Problem]:
    """Return signals that have not been sent and whose jobs expire soon. That a job waits for a signal is no problem."""
    page = await waiting_for_signals(connection, MOST_WAITING, mask)
    urgent: dict[str, list[JobView]] = {}
    for job in page.jobs:
        if _is_urgent(job, connection.clock.utc()):
            urgent.setdefault(job.signal, []).append(job)
    return _shortened(_of_signal(name, jobs) for name, jobs in urgent.items())


def _is_urgent(job: JobView, now: datetime) -> bool:
    begin, end = job.enqueued_at, job.expires_at
    return begin is not None and end is not None and end - now < (end - begin) * LAST_PART


def _of_signal(name: str, jobs: Sequence[JobView]) -> Problem:
    first = min(job.expires_at for job in jobs if job.expires_at is not None)
    waits = "1 job waits for it and" if len(jobs) == 1 else f"{len(jobs):,} jobs wait for it; the first"
    return Problem(
        kind="signal-due",
        subject="signal",
        name=name,
        severity="warning",
        found=f"was not sent: {waits} expires at {first:%Y-%m-%d %H:%M} UTC",
        advice="naq signal lists the jobs that wait; naq signal NAME sends a signal.",
        since=min((job.enqueued_at for job in jobs if job.enqueued_at), default=None),
    )


def _shortened(problems: Iterable[Problem]) -> list[Problem]:
    """Return the first problems of each kind, and one more that tells the number of the others."""
    found: list[Problem] = []
    seen: Counter[str] = Counter()
    left: dict[str, Problem] = {}
    for each in problems:
        seen[each.kind] += 1
        if seen[each.kind] <= MOST_EACH:
            found.append(each)
        else:
            left[each.kind] = each
    for kind, each in left.items():
        more = seen[kind] - MOST_EACH
        found.append(
            Problem(
                kind=kind,
                subject=f"{each.subject}s",
                severity=each.severity,
                found=f"{more:,} more {each.subject if more == 1 else f'{each.subject}s'}, such as {each.name}: {each.found}",
                advice=each.advice,
            )
        )
    return found
