"""`naq check`: whether workers, queues and schedules are as they should be, for Nagios, Icinga and cron."""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

from cyclopts import App, Parameter

from naq_cli._errors import CommandError
from naq_cli._format import relative
from naq_cli._plugin_status import (
    CheckResult,
    PerformanceFigure,
    Status,
    StatusFinding,
    Thresholds,
    checking,
    exceeded,
    limits_of,
)
from naq_cli._session import Session
from naq_cli.exit_codes import ExitCode
from naq_core.inspect import get_queue, leading_scheduler, list_queues, list_workers
from naq_core.names import listed
from naq_core.schedules import list_schedules, scheduler_view
from naq_core.settings import parse_duration
from naq_core.views import QueueView, ScheduleView
from naq_core.wording import counted, span

app = App(name="check", help="Check workers, queues or schedules for Nagios and cron: one line and an exit code.")


def _seconds(text: str) -> float:
    return parse_duration(text).total_seconds()


def _count(text: str) -> float:
    if not (text.isascii() and text.isdecimal()):
        raise ValueError(f"{text!r} is not a whole number")
    return float(text)


@app.command
@checking("workers")
async def worker(session: Session, *queues: str, least: str = "1,1", name: str | None = None) -> CheckResult:
    """Check how many workers take jobs. Quiet and stopping ones do not count.

    The exit code is 0 (ok), 1 (warning), 2 (critical) or 3 (unknown).

    Args:
        queues: Each of these queues must be served by so many workers. Default: any queues.
        least: Warning and critical if there are fewer workers, as in 3,1.
        name: Only workers whose ids begin so.
    """
    limits = limits_of(least, "--least", _count, is_least=True)
    found = [each for each in await list_workers(session.connection) if each.get("state") == "running"]
    found = [each for each in found if str(each["worker_id"]).startswith(name or "")]
    counts = {queue: sum(queue in each.get("queues", ()) for each in found) for queue in queues} or {"": len(found)}
    figures = [PerformanceFigure(f"{queue}_workers".lstrip("_"), count, limits) for queue, count in counts.items()]
    texts = [_workers(count, queue) for queue, count in counts.items()]
    slots = sum(each.get("concurrency", 0) for each in found)
    busy = sum(sum(each.get("in_progress", {}).values()) for each in found)
    return CheckResult(
        exceeded(zip(figures, texts, strict=True)),
        f"{', '.join(texts)}; {busy} of {counted(slots, 'slot')} busy",
        [*figures, PerformanceFigure("slots", slots), PerformanceFigure("busy", busy)],
    )


def _workers(count: int, queue: str) -> str:
    number = counted(count, "worker") if count else "no worker"
    return f"{number} {'takes' if count < 2 else 'take'} jobs{f' from {queue}' if queue else ''}"


@app.command
@checking("queue")
async def queue(
    session: Session,
    *queues: str,
    age: str | None = None,
    queued: Annotated[str | None, Parameter(alias="--waiting")] = None,
    dead: str | None = None,
) -> CheckResult:
    """Check how long jobs wait in queues, and how many are queued or dead.

    Queued jobs that no worker serves are critical, and a paused queue with queued jobs is a warning. The exit code is 0 (ok), 1
    (warning), 2 (critical) or 3 (unknown).

    Args:
        queues: Which queues. Default: all.
        age: Warning and critical if the oldest queued job is older, as in 5m,30m.
        queued: Warning and critical if more jobs are queued, as in 1000,10000.
        dead: Warning and critical if there are more dead jobs, as in 0,100.
    """
    limits = [limits_of(age, "--age", _seconds), limits_of(queued, "--queued", _count), limits_of(dead, "--dead", _count)]
    connection = session.connection
    views = [await get_queue(connection, each) for each in queues] if queues else await list_queues(connection)
    now = connection.clock.utc()
    verdicts = [_queue(view, now, limits) for view in views]
    return CheckResult(
        [finding for each in verdicts for finding in each.findings],
        listed([each.summary for each in verdicts]) or "there is no queue",
        [figure for each in verdicts for figure in each.figures],
    )


def _queue(view: QueueView, now: datetime, limits: Sequence[Thresholds]) -> CheckResult:
    name = view.queue
    age = max(0.0, (now - view.oldest_at).total_seconds()) if view.oldest_at is not None and view.queued else 0.0
    figures = [
        PerformanceFigure(f"{name}_age", age, limits[0], "s"),
        PerformanceFigure(f"{name}_queued", view.queued, limits[1]),
        PerformanceFigure(f"{name}_dead", view.dead, limits[2]),
    ]
    texts = [
        f"{name}: the oldest job has waited {span(age)}",
        f"{name}: {counted(view.queued, 'queued job')}",
        f"{name}: {counted(view.dead, 'dead job')}",
    ]
    findings = exceeded(zip(figures, texts, strict=True))
    if view.paused and view.queued:
        findings.append(StatusFinding(Status.WARNING, f"{name}: paused with {counted(view.queued, 'queued job')}"))
    elif view.queued and not view.workers:
        findings.append(StatusFinding(Status.CRITICAL, f"{name}: {counted(view.queued, 'queued job')} and no worker serves it"))
    summary = f"{name}: {view.queued} queued, {view.running} running, {view.dead} dead, {counted(view.workers, 'worker')}"
    return CheckResult(findings, summary, [*figures, PerformanceFigure(f"{name}_workers", view.workers)])


@app.command
@checking("schedule")
async def schedule(session: Session, *schedules: str, late: str = "30s,5m") -> CheckResult:
    """Check whether a scheduler is the leader and schedules fire in time.

    Active schedules without a leader are critical. The exit code is 0 (ok), 1 (warning), 2 (critical) or 3 (unknown).

    Args:
        schedules: The ids of the schedules. Default: all.
        late: Warning and critical if the next run of a schedule is overdue for longer, as in 30s,5m.
    """
    limits = limits_of(late, "--late", _seconds)
    known = await list_schedules(session.connection)
    chosen = _chosen(known, schedules)
    scheduler = scheduler_view(await leading_scheduler(session.connection), chosen)
    slowest = max((each.late for each in chosen), default=0.0)
    figures = [PerformanceFigure("late", slowest, limits, "s"), PerformanceFigure("active", scheduler.active)]
    overdue = [each for each in chosen if limits.status(each.late)]
    names = listed([f"{each.schedule_id} by {span(each.late)}" for each in overdue])
    findings = exceeded([(figures[0], f"late: {names}")])
    if scheduler.active and not scheduler.owner:
        findings.append(StatusFinding(Status.CRITICAL, f"no scheduler is the leader of {_active(scheduler.active)}"))
    findings += [StatusFinding(Status.CRITICAL, f"{each.schedule_id}: {each.unreadable}") for each in chosen if each.unreadable]
    leader = f"{scheduler.owner} is the leader" if scheduler.owner else "no scheduler is the leader"
    fired = f", last run fired {relative(at, session.connection.clock.utc())}" if (at := scheduler.fired_at) else ""
    return CheckResult(findings, f"{leader}; {_active(scheduler.active)}{fired}", figures)


def _chosen(known: Sequence[ScheduleView], ids: Sequence[str]) -> list[ScheduleView]:
    found = {each.schedule_id: each for each in known}
    for each in ids:
        if each not in found:
            raise CommandError(f"there is no schedule {each}", ExitCode.NOT_FOUND)
    return [found[each] for each in ids] if ids else list(known)


def _active(count: int) -> str:
    return counted(count, "active schedule")
