"""What an action on something that exists takes: what it is done to, and details."""

from datetime import datetime
from typing import Annotated, NamedTuple, TypeAlias

import msgspec

from naq_core.filters import parse_instant
from naq_dashboard.times import zone_name, zone_of_name

__all__ = ["Details", "Target", "Text"]

Text: TypeAlias = Annotated[str, msgspec.Meta(max_length=2000)]


class Target(NamedTuple):
    """What an action is done to."""

    name: str
    """The id of a job, worker, schedule or workflow, or the name of a queue or signal."""
    queue: str = ""
    """Of a job whose id alone may not tell it."""
    by: str = ""
    """Who acts."""

    @property
    def job_id(self) -> str:
        """The id of a job, with its queue if that is known."""
        return f"{self.name}@{self.queue}" if self.queue and "@" not in self.name else self.name


class Details(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What an action may be told besides its target."""

    reason: Text = ""
    """Kept with a cancelled job."""
    duration: Text = ""
    """How long a pause lasts, such as `1h`, or until when: a time of day such as `18:00`, or a time; empty: until it is
    resumed."""
    tz: Text = ""
    """The zone of times that name none, such as `Europe/Berlin`; by default UTC."""
    since: Text = ""
    until: Text = ""
    """The range of a backfill: durations before now, such as `7d`, times of day, or times."""
    confirm: Text = ""
    """The queue's name again, for a purge."""
    limit: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] | None = None
    """How many of a queue's jobs may run at once over all workers; none lifts the limit."""
    key_limit: Annotated[int, msgspec.Meta(ge=1, le=1_000)] | None = None
    """How many of a queue's jobs of one key may run at once over all workers."""
    rate: Text | None = None
    """How many of a queue's jobs may start in a time, such as `10/s`, `100/min` or `5000/h`; empty: any number."""
    burst: Annotated[int, msgspec.Meta(ge=1, le=10_000)] | None = None
    """How many may start at once after a time in which none did; it is forgotten when the rate is set without it."""
    key_rate: Text | None = None
    """As `rate`, of each key."""
    key_burst: Annotated[int, msgspec.Meta(ge=1, le=10_000)] | None = None
    """As `burst`, of each key."""
    weights: dict[str, int] | Text | None = None
    """Keys that get so many times the others' share, such as `{"vip": 3}`; in a form `vip=3, other=2`."""
    replaces: bool = False
    """What is not given of a policy gets its default; otherwise it stays."""
    concurrency: Annotated[int, msgspec.Meta(ge=1, le=100_000)] | None = None
    """How many jobs a worker runs at a time."""

    def instant(self, name: str, now: datetime, *, ahead: bool = False) -> datetime:
        """Return the time that a field says, in its zone.

        Raises:
            ConfigurationError: It is not a time.
        """
        zone = zone_of_name(zone_name(self.tz))
        return parse_instant(getattr(self, name), now=now, setting=name, ahead=ahead, zone=zone).astimezone(zone)
