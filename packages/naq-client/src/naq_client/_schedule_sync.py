"""The synchronous façade of a schedule."""

from datetime import datetime
from typing import Any

from naq_client._blocking_loop import SyncJob, blocking_loop
from naq_client._schedule import Schedule
from naq_core.views import Firing, ScheduleView


class SyncSchedule:
    """As `Schedule`, but blocking."""

    def __init__(self, schedule: Schedule) -> None:
        self.schedule = schedule

    def __repr__(self) -> str:
        return repr(self.schedule)

    @property
    def schedule_id(self) -> str:
        """The id."""
        return self.schedule.schedule_id

    @property
    def view(self) -> ScheduleView:
        """What was last seen of it."""
        return self.schedule.view

    def refresh(self) -> ScheduleView:
        """Look at it again."""
        return blocking_loop().run(self.schedule.refresh())

    def pause(self) -> None:
        """Stop it from firing; see `Schedule.pause`."""
        blocking_loop().run(self.schedule.pause())

    def resume(self) -> None:
        """Let it fire again; see `Schedule.resume`."""
        blocking_loop().run(self.schedule.resume())

    def trigger(self) -> SyncJob[Any]:
        """Enqueue its job now; see `Schedule.trigger`."""
        return SyncJob(blocking_loop().run(self.schedule.trigger()))

    def update(self, **changes: Any) -> None:
        """Change its times or policies; see `Schedule.update`."""
        blocking_loop().run(self.schedule.update(**changes))

    def delete(self) -> None:
        """Remove it; see `Schedule.delete`."""
        blocking_loop().run(self.schedule.delete())

    def next_runs(self, count: int = 5) -> list[datetime]:
        """Return the next times it fires; see `Schedule.next_runs`."""
        return self.schedule.next_runs(count)

    def history(self) -> list[Firing]:
        """Return what it did lately; see `Schedule.history`."""
        return blocking_loop().run(self.schedule.history())
