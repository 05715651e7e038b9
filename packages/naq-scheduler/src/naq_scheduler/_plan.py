"""What is due of one schedule now: which times to run, and which are missed."""

from collections import deque
from datetime import datetime, timedelta
from typing import NamedTuple

from naq_core.schedules.document import ScheduleDocument

MOST = 1000
"""The most firings that are made up for at once; of more, the newest."""
ENOUGH = 2 * MOST
"""After so many times that passed, the rest up to the newest is guessed at instead of counted."""


class DueRuns(NamedTuple):
    """What to do."""

    run: list[datetime]
    """Nominal times, the oldest first."""
    missed: int
    """How many passed and are not run; where there were very many, at least so many."""
    last_missed: datetime | None
    watermark: datetime | None
    """The newest time that has come; None where none has."""


def plan(document: ScheduleDocument, now: datetime) -> DueRuns:
    """Decide what is due of a schedule.

    A time is in time if it is no later than the grace, and always run. Of those that are later, the misfire policy decides.
    """
    spec = document.spec
    passed, total = _passed(document, now)
    if not passed:
        return DueRuns([], 0, None, None)
    late: list[datetime] = []
    if spec.grace is not None:
        edge = now - timedelta(seconds=spec.grace)
        late = [nominal for nominal in passed if nominal + spec.delay(nominal) < edge]
    in_time = passed[len(late) :]
    kept = {"skip": [], "once": late[-1:], "all": late}[spec.misfire]
    run = [*kept, *in_time]
    dropped = late[: len(late) - len(kept)]
    missed = total - len(run)
    if spec.max_runs is not None:
        run = run[: max(0, spec.max_runs - document.runs)]
    return DueRuns(run, missed, dropped[-1] if dropped else None, passed[-1])


def _passed(document: ScheduleDocument, now: datetime) -> tuple[list[datetime], int]:
    """Return the newest times that have come since the watermark, and how many there were in all."""
    spec = document.spec
    newest: deque[datetime] = deque(maxlen=MOST)
    total = 0
    start = document.watermark
    while True:
        begin = start
        for _ in range(ENOUGH):
            nominal = next(spec.times(document.anchor, start), None)
            if nominal is None or nominal + spec.delay(nominal) > now:
                return list(newest), total
            newest.append(nominal)
            total += 1
            start = nominal
        # Very many passed. Leap to where about the newest of them must begin, judging by their distance so far.
        start = max(start, now - (start - begin) / 2)
