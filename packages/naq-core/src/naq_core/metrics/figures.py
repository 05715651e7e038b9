"""What is counted, in stretches of which length, and in which classes durations fall."""

import math
from collections.abc import Iterator
from typing import Annotated, NamedTuple, TypeAlias

import msgspec

from naq_core.decoding import Count
from naq_core.errors import InvalidOptionError


class Level(NamedTuple):
    """A length of stretches, and how long they are kept."""

    step: int
    """Seconds."""
    keep: int
    """Seconds."""


LEVELS = (Level(10, 5400), Level(60, 7 * 3600), Level(600, 73 * 3600))
LONGEST_HOURS = 72.0

BOUNDS = (
    *(0.001, 0.0025, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.035, 0.05, 0.075),
    *(0.1, 0.15, 0.25, 0.35, 0.5, 0.75, 1.0, 1.5, 2.5, 3.5, 5.0, 7.5),
    *(10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0),
)
"""Upper bounds of the classes of durations, in seconds; one more class is above."""
COUNTED_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0, 1800.0, 3600.0)
"""Those that have counters of their own, for Prometheus; all of them are among `BOUNDS`."""
_COUNTED_IN = tuple(
    next((str(round(bound * 1000)) for bound in COUNTED_BOUNDS if bound >= each), "inf") for each in (*BOUNDS, math.inf)
)
"""Of each place in `BOUNDS`, in which counter it is counted: by its upper bound in milliseconds."""


Place: TypeAlias = Annotated[int, msgspec.Meta(ge=0, le=len(BOUNDS))]
"""Of a class of durations, in `BOUNDS`; one more is above."""
Total: TypeAlias = Annotated[float, msgspec.Meta(ge=0.0, le=1e15)]
"""Seconds."""

OUTCOMES = ("succeeded", "failed", "timed_out", "dead", "retried", "cancelled")
"""The outcomes of an attempt. With `failed`, `timed_out` and `dead` the job is dead: its last
attempt raised, took too long, or was not decided by its function (its workers died under it, or its message could not be
read). After `retried` another attempt follows."""


class Figures(msgspec.Struct, omit_defaults=True):
    """Outcomes of the jobs of one queue and function within an interval."""

    queue: str
    function: str
    started: Count = 0
    succeeded: Count = 0
    failed: Count = 0
    timed_out: Count = 0
    dead: Count = 0
    retried: Count = 0
    cancelled: Count = 0
    wait: dict[Place, Count] = {}
    """How many waited so long, by the place in `BOUNDS`."""
    run: dict[Place, Count] = {}
    """How many ran so long."""
    wait_sum: Total = 0.0
    run_sum: Total = 0.0

    def add(self, other: "Figures") -> None:
        """Add another's figures to these."""
        for name in ("started", *OUTCOMES):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        self.wait_sum += other.wait_sum
        self.run_sum += other.run_sum
        for mine, others in ((self.wait, other.wait), (self.run, other.run)):
            for place, count in others.items():
                mine[place] = mine.get(place, 0) + count

    @property
    def ended(self) -> int:
        """How many attempts were the last of their job, whatever came of it."""
        return self.succeeded + self.failed + self.timed_out + self.dead + self.cancelled

    def counts(self) -> Iterator[tuple[str, int]]:
        """Yield the kinds of counters, and how much each has grown."""
        yield from ((name, getattr(self, name)) for name in ("started", *OUTCOMES))
        for name, classes, total in (("wait", self.wait, self.wait_sum), ("run", self.run, self.run_sum)):
            for place, count in classes.items():
                yield f"{name}-{_COUNTED_IN[place]}", count
            yield f"{name}-sum", round(total * 1e6)


class Stretch(msgspec.Struct, omit_defaults=True):
    """What one source stores for one stretch of time."""

    rows: list[Figures] = []
    depth: dict[str, Count] = {}
    """How many jobs of a queue waited when it was last looked at."""
    enqueued: dict[str, tuple[Count, Count]] = {}
    """How many had ever been enqueued, when the stretch began (or was first looked at) and when it was last looked at."""

    def note_enqueued(self, queue: str, before: int, after: int) -> None:
        """Widen the span of a queue's count."""
        low, high = self.enqueued.get(queue, (before, after))
        self.enqueued[queue] = (min(low, before), max(high, after))


def level_of(hours: float) -> Level:
    """Return the finest level that reaches so far back with a few hundred points.

    Raises:
        InvalidOptionError: `hours` is out of range.
    """
    if not 0 < hours <= LONGEST_HOURS:
        raise InvalidOptionError("hours", f"{hours!r} is not between 0 and {LONGEST_HOURS:g}")
    return LEVELS[0] if hours <= 1 else LEVELS[1] if hours <= 6 else LEVELS[2]


def quantile(counts: dict[int, int], share: float) -> float | None:
    """Return the duration below which that share falls, in seconds, from counts by class; within a class it is estimated."""
    total = sum(counts.values())
    if total <= 0:
        return None
    rank, seen = share * total, 0
    for place, count in sorted(counts.items()):
        if seen + count >= rank:
            low = BOUNDS[place - 1] if place > 0 else 0.0
            high = BOUNDS[place] if place < len(BOUNDS) else BOUNDS[-1]
            return low + (high - low) * max(0.0, min(1.0, (rank - seen) / count))
        seen += count
    return BOUNDS[-1]
