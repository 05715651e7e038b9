"""The scheduler as people see it: who leads, since when, when it last fired, and what it should have fired."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from naq_core.inspect import leading_scheduler
from naq_core.schedules.store import list_schedules
from naq_core.storage.connection import Connection
from naq_core.views import SchedulerView, ScheduleView


async def read_scheduler(connection: Connection) -> SchedulerView:
    """Return the scheduler that leads, with the state of all schedules.

    Raises:
        BrokerError: The server did not answer in time.
    """
    return scheduler_view(await leading_scheduler(connection), await list_schedules(connection))


def scheduler_view(leader: Mapping[str, Any] | None, schedules: Sequence[ScheduleView]) -> SchedulerView:
    """Put together what was read.

    Args:
        leader: As `naq_core.inspect.leading_scheduler` returns it.
        schedules: All of them.
    """
    known = leader or {}
    since = known.get("since")
    return SchedulerView(
        owner=known.get("owner", ""),
        host=known.get("host", ""),
        pid=known.get("pid", 0),
        since=datetime.fromtimestamp(since, UTC) if since else None,
        fired_at=max((each.fired_at for each in schedules if each.fired_at is not None), default=None),
        active=sum(not (each.paused or each.unreadable) for each in schedules),
        late=[each.schedule_id for each in schedules if each.late],
    )
