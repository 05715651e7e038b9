"""What `naq doctor` says of the scheduler and the schedules."""

from collections.abc import AsyncIterator, Iterable, Iterator
from datetime import datetime

from naq_cli._findings import Finding
from naq_cli._format import relative
from naq_cli._session import Session
from naq_core.inspect import leading_scheduler
from naq_core.schedules import list_schedules, scheduler_view
from naq_core.schedules.document import AHEAD
from naq_core.transport.clock import MOST_SKEW
from naq_core.views import SchedulerView, ScheduleView
from naq_core.wording import span

_MOST_SHOWN = 20


async def schedule_findings(session: Session) -> AsyncIterator[Finding]:
    """Yield whether there is a leader for the active schedules, and which of them do not fire."""
    known = await list_schedules(session.connection)
    active = [schedule for schedule in known if not (schedule.paused or schedule.unreadable)]
    now = session.connection.clock.utc()
    for finding in _put_ahead(active, now):
        yield finding
    if not active:
        return
    scheduler = scheduler_view(await leading_scheduler(session.connection), known)
    number = f"{len(active):,} schedule{'s are' if len(active) > 1 else ' is'} active"
    if scheduler.owner:
        yield Finding(check="scheduler", status="ok", found=f"{describe_leader(scheduler, now)}; {number}")
    else:
        yield Finding(
            check="scheduler",
            status="problem",
            found=f"{number} and no scheduler is the leader{_last_fired(scheduler, now)}",
            advice="Start one: naq scheduler. One whose clock is over"
            f" {MOST_SKEW:.0f} s off the server's says so and never leads.",
        )
    for finding in _late(active, has_leader=bool(scheduler.owner)):
        yield finding


def describe_leader(scheduler: SchedulerView, now: datetime) -> str:
    """Return who leads, since when, and when it last fired, as part of a sentence.

    Args:
        now: The server's time.
    """
    since = f" since {scheduler.since:%Y-%m-%d %H:%M:%S} UTC" if scheduler.since else ""
    return f"{scheduler.owner} is the leader{since}{_last_fired(scheduler, now)}"


def _last_fired(scheduler: SchedulerView, now: datetime) -> str:
    return f", last run fired {relative(scheduler.fired_at, now)}" if scheduler.fired_at else ""


def _late(active: Iterable[ScheduleView], *, has_leader: bool) -> Iterator[Finding]:
    """Schedules whose time has passed unfired."""
    late = [view for view in active if view.late]
    advice = "The log of the scheduler says why it does not fire." if has_leader else "A scheduler will fire it: naq scheduler"
    for view in late[:_MOST_SHOWN]:
        found = f"is late: a run was due {span(view.late)} ago and was not fired"
        yield Finding(check=f"schedule {view.schedule_id}", status="problem", found=found, advice=advice)
    if len(late) > _MOST_SHOWN:
        yield Finding(check="schedules", status="problem", found=f"{len(late) - _MOST_SHOWN:,} more schedules are late")


def _put_ahead(active: Iterable[ScheduleView], now: datetime) -> Iterator[Finding]:
    """Schedules that a wrong clock has put ahead: they are silent until then."""
    for view in active:
        if view.watermark is not None and view.watermark > now + AHEAD:
            yield Finding(
                check=f"schedule {view.schedule_id}",
                status="problem",
                found=f"does not fire before {view.next_at or view.watermark:%Y-%m-%d %H:%M:%S} UTC, because of a wrong clock",
                advice=f"naq schedule resume {view.schedule_id} makes it fire again.",
            )
