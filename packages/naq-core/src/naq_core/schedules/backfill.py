"""Runs of a schedule for times that have passed: what it would have fired, or did not, within a range."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile

import msgspec

from naq_core.errors import InvalidScheduleError
from naq_core.schedules.document import ScheduleDocument
from naq_core.schedules.firing import enqueue_firing
from naq_core.schedules.spec import ScheduleSpec, firing_id
from naq_core.schedules.store import change_document, read_document_of
from naq_core.storage.connection import Connection
from naq_core.storage.records import look_up
from naq_core.values import aware
from naq_core.views import Firing

__all__ = ["MOST_RUNS", "backfill_schedule", "backfill_times"]

MOST_RUNS = 1000
"""Runs that one call makes at most."""


async def backfill_times(connection: Connection, schedule_id: str, since: datetime, until: datetime) -> list[datetime]:
    """Return the nominal times of a schedule within a range that has passed, the oldest first; a pause is not regarded.

    Args:
        since: The begin; this time is within the range.
        until: The end, also within; times to come are left out.

    Raises:
        ScheduleNotFoundError: There is no schedule with this id.
        InvalidScheduleError: The range is empty, or has more than 1,000 times.
    """
    document, _ = await read_document_of(connection, schedule_id)
    return _times(document, since, min(aware(until, "until"), connection.clock.utc()))


async def backfill_schedule(connection: Connection, schedule_id: str, times: Sequence[datetime]) -> list[str]:
    """Enqueue the runs of nominal times, and return the ids of those jobs that are new.

    A time whose job exists, or has a record that is still kept, is left out; so it is safe to be repeated. One whose record is
    not kept any more is run again. Overlap policy and pause are not regarded: all jobs are enqueued at once, and do not count
    as runs.

    Args:
        times: What `backfill_times` has returned, or a part of it.

    Raises:
        ScheduleNotFoundError: There is no schedule with this id. BrokerError: It is unknown whether all were enqueued; repeat it.
    """
    document, _ = await read_document_of(connection, schedule_id)
    made = []
    for nominal in times:
        job_id = firing_id(schedule_id, nominal)
        stored, message = await look_up(connection, job_id, document.spec.queue)
        if stored is None and message is None and await enqueue_firing(connection, document.spec, job_id):
            made.append(job_id)
    if made:
        firing = Firing(at=max(times), kind="backfilled", count=len(made))

        def note(found: ScheduleDocument) -> ScheduleDocument:
            changed = msgspec.structs.replace(found)
            changed.remember(firing)
            return changed

        await change_document(connection, schedule_id, note)
    return made


def _times(document: ScheduleDocument, since: datetime, until: datetime) -> list[datetime]:
    spec = document.spec
    since = aware(since, "since")
    if since >= until:
        raise InvalidScheduleError("since", _second(since), f"must be before until ({_second(until)}), and before now")
    after = since - timedelta(microseconds=1)
    within = takewhile(lambda at: at <= until, spec.times(_anchor(spec, document.anchor, after), after))
    found = list(islice(within, MOST_RUNS + 1))
    if len(found) > MOST_RUNS:
        last = _second(found[MOST_RUNS - 1])
        raise InvalidScheduleError(
            "since", _second(since), f"the range has more than {MOST_RUNS:,} times: take a shorter one, such as until {last}"
        )
    return found


def _second(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _anchor(spec: ScheduleSpec, anchor: datetime, after: datetime) -> datetime:
    """Return what an interval without a begin counts from, for times before it was made: whole steps earlier."""
    if spec.interval is None or spec.start_at is not None or after >= anchor:
        return anchor
    step = timedelta(seconds=spec.interval)
    return anchor - step * (math.ceil((anchor - after) / step) + 1)
