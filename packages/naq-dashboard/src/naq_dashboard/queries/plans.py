"""What waits for its time or for a person: schedules, and jobs that wait for signals."""

import asyncio
from typing import NamedTuple

from naq_core.inspect import leading_scheduler, waiting_for_signals
from naq_core.masks import Mask
from naq_core.schedules import list_schedules, scheduler_view
from naq_core.storage.connection import Connection

__all__ = ["Plans", "read_plans"]


class Plans(NamedTuple):
    """How many there are, and what keeps schedules from firing."""

    schedules: int
    """The active ones."""
    paused: int
    late: int
    has_leader: bool
    signals: int
    """Jobs that wait for a signal."""
    has_more_signals: bool


async def read_plans(connection: Connection, mask: Mask) -> Plans:
    """Return the figures of schedules and signals."""
    schedules, leader, waiting = await asyncio.gather(
        list_schedules(connection), leading_scheduler(connection), waiting_for_signals(connection, mask=mask)
    )
    scheduler = scheduler_view(leader, schedules)
    return Plans(
        schedules=scheduler.active,
        paused=sum(each.paused for each in schedules),
        late=len(scheduler.late),
        has_leader=bool(scheduler.owner),
        signals=len(waiting.jobs),
        has_more_signals=waiting.has_more,
    )
