"""What `naq doctor` says of the scheduler and the schedules."""

from collections.abc import AsyncIterator
from datetime import datetime

from naq_cli._findings import Finding, finding_of
from naq_cli._format import relative
from naq_cli._session import Session
from naq_core.attention import schedule_problems
from naq_core.inspect import leading_scheduler
from naq_core.schedules import list_schedules, scheduler_view
from naq_core.views import SchedulerView


async def schedule_findings(session: Session) -> AsyncIterator[Finding]:
    """Yield who leads, and the schedules that do not fire or whose runs die."""
    known = await list_schedules(session.connection)
    scheduler = scheduler_view(await leading_scheduler(session.connection), known)
    if scheduler.owner and scheduler.active:
        number = f"{scheduler.active:,} schedule{'s are' if scheduler.active > 1 else ' is'} active"
        found = f"{describe_leader(scheduler, session.connection.clock.utc())}; {number}"
        yield Finding(check="scheduler", status="ok", found=found)
    for problem in await schedule_problems(session.connection):
        yield finding_of(problem)


def describe_leader(scheduler: SchedulerView, now: datetime) -> str:
    """Return who leads, since when, and when it last fired, as part of a sentence.

    Args:
        now: The server's time.
    """
    since = f" since {scheduler.since:%Y-%m-%d %H:%M:%S} UTC" if scheduler.since else ""
    fired = f", last run fired {relative(scheduler.fired_at, now)}" if scheduler.fired_at else ""
    return f"{scheduler.owner} is the leader{since}{fired}"
