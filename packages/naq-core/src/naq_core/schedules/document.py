"""The stored form of a schedule: what was asked for, and how far it has come."""

import contextlib
from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import islice

import msgspec

from naq_core.decoding import Count, Decoder
from naq_core.errors import UnreadableError
from naq_core.schedules.spec import ScheduleSpec, check_spec
from naq_core.views import Firing, ScheduleView

VERSION = 1
JUST_NOW = timedelta(minutes=1)
AHEAD = timedelta(minutes=1)
"""A watermark further ahead than this was written by a wrong clock."""
LATE = timedelta(seconds=5)
"""How long after its time a schedule that was not fired counts as late."""
HISTORY = 20
"""How many firings a schedule remembers."""


class ScheduleDocument(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One key of the bucket `<namespace>_schedules`, as JSON."""

    v: int = VERSION
    spec: ScheduleSpec
    created_at: datetime
    anchor: datetime
    """What an interval without a start counts from."""
    watermark: datetime
    """Every nominal time up to and including this one is dealt with."""
    next_at: datetime | None = None
    """The nominal time of the next firing, so that readers need not compute it; None after the last."""
    paused: bool = False
    runs: Count = 0
    missed: Count = 0
    """Missed runs, dropped by the misfire policy."""
    last_at: datetime | None = None
    last_job: str = ""
    firings: list[Firing] = []
    """The newest last."""

    def times(self) -> Iterator[datetime]:
        """Yield the nominal times that are still to come after the watermark."""
        left = None if self.spec.max_runs is None else max(0, self.spec.max_runs - self.runs)
        return islice(self.spec.times(self.anchor, self.watermark), left)

    def remember(self, firing: Firing) -> None:
        """Add to the history, dropping the oldest."""
        self.firings = [*self.firings, firing][-HISTORY:]

    def is_ahead(self, at: datetime) -> bool:
        """Return whether times to come are taken for dealt with: the schedule is silent until they have passed."""
        return self.watermark > at + AHEAD

    def rewind(self, at: datetime) -> None:
        """Restart at `at` a schedule that a wrong clock has put ahead; a run that was already fired makes no second job."""
        if self.is_ahead(at):
            self.watermark = at
            self.anchor = min(self.anchor, at)

    def move_on(self, watermark: datetime) -> None:
        """Advance the watermark and find the next time."""
        self.watermark = max(watermark, self.watermark)
        self.next_at = next(self.times(), None)


def _check(document: ScheduleDocument) -> None:
    """Refuse what could not be fired or shown; also a template that is not a job."""
    if document.v != VERSION:
        raise ValueError(f"it has version {document.v}: upgrade NAQ")
    spec = document.spec
    check_spec(spec)
    instants = (document.created_at, document.anchor, document.watermark, document.next_at, document.last_at)
    firings = [firing.at for firing in document.firings]
    for at in (*instants, spec.start_at, spec.end_at, *firings):
        if at is not None and not (at.tzinfo is not None and 1970 <= at.year <= 9998):
            raise ValueError(f"{at.isoformat()} is not a time with a zone, between 1970 and 9998")


_encoder = msgspec.json.Encoder()
_decoder = Decoder("the schedule", ScheduleDocument, check=_check)


def encode_document(document: ScheduleDocument) -> bytes:
    """Return the document as JSON."""
    return _encoder.encode(document)


def decode_document(data: bytes, schedule_id: str = "") -> ScheduleDocument:
    """Read a document.

    Args:
        schedule_id: Its key, which it must name. Empty: not compared.

    Raises:
        UnreadableError: It is not a schedule, or another one.
    """
    document = _decoder.decode(data)
    if schedule_id and document.spec.schedule_id != schedule_id:
        raise UnreadableError("the schedule", f"it names schedule {document.spec.schedule_id}")
    return document


def new_document(spec: ScheduleSpec, at: datetime, *, paused: bool) -> ScheduleDocument:
    """Return a schedule that begins at `at`."""
    document = ScheduleDocument(spec=spec, created_at=at, anchor=at, watermark=_beginning(spec, at), paused=paused)
    document.next_at = next(document.times(), None)
    return document


def changed_document(old: ScheduleDocument, spec: ScheduleSpec, at: datetime) -> ScheduleDocument:
    """Return the schedule with another specification; its count and history stay."""
    document = msgspec.structs.replace(old, spec=spec)
    document.rewind(at)
    if spec.timing != old.spec.timing:
        document.anchor = at
        document.watermark = _beginning(spec, at)
    document.next_at = next(document.times(), None)
    return document


def _beginning(spec: ScheduleSpec, at: datetime) -> datetime:
    """A start that has just passed is not missed; one long ago is no reason to make up for all that was before."""
    if spec.start_at is not None and at - JUST_NOW <= spec.start_at <= at:
        return spec.start_at - timedelta(microseconds=1)
    return at


def view_of(document: ScheduleDocument, now: datetime) -> ScheduleView:
    """Return a schedule as people see it.

    Args:
        now: The server's time, which decides whether the schedule is late.
    """
    spec = document.spec
    job = spec.job()
    return ScheduleView(
        schedule_id=spec.schedule_id,
        queue=spec.queue,
        function=job.fn,
        arguments=job.args,
        cron=spec.cron,
        interval=spec.interval,
        timezone=spec.timezone,
        overlap=spec.overlap,
        misfire=spec.misfire,
        grace=spec.grace,
        jitter=spec.jitter,
        start_at=spec.start_at,
        end_at=spec.end_at,
        max_runs=spec.max_runs,
        paused=document.paused,
        runs=document.runs,
        missed=document.missed,
        last_at=document.last_at,
        last_job=document.last_job,
        fired_at=_fired_at(document),
        next_at=None if document.paused else document.next_at,
        late=_late(document, now),
        origin=spec.origin,
        created_at=document.created_at,
        anchor=document.anchor,
        watermark=document.watermark,
    )


def _fired_at(document: ScheduleDocument) -> datetime | None:
    """Return when the last run was enqueued; the history holds the delay after its due time."""
    for firing in reversed(document.firings):
        if firing.kind == "fired":
            with contextlib.suppress(OverflowError):  # the stored document is untrusted
                return firing.at + document.spec.delay(firing.at) + timedelta(seconds=firing.late)
    return document.last_at  # runs by hand have displaced it from the history


def _late(document: ScheduleDocument, now: datetime) -> float:
    if document.paused or document.next_at is None:
        return 0.0
    late = now - document.next_at - document.spec.delay(document.next_at)
    return late.total_seconds() if late > LATE else 0.0
