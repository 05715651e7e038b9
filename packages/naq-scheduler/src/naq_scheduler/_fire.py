"""Firing one schedule: the job first, then the watermark, each safe to do again.

A job of a firing has an id made of schedule and nominal time, and one id makes one job that runs at most once to an end. So
firing a time again, because a leader died, was stopped or lost an answer between the two, changes nothing. The watermark
is compared-and-set after it: no time is skipped, and a schedule that was changed meanwhile is read again.
"""

import asyncio
import contextlib
import logging
from datetime import datetime
from typing import Protocol

import msgspec

from naq_core.errors import EnqueueSkippedError, JobNotFoundError
from naq_core.manage import cancel_job
from naq_core.schedules.document import ScheduleDocument, decode_document, encode_document
from naq_core.schedules.firing import enqueue_firing
from naq_core.schedules.spec import firing_id
from naq_core.storage.connection import Connection
from naq_core.storage.records import find_job, read_record
from naq_core.transport.buckets import read_document, write_document
from naq_core.views import Firing
from naq_scheduler._agenda import Agenda, KnownSchedule
from naq_scheduler._metrics import SchedulerMetrics
from naq_scheduler._plan import plan

log = logging.getLogger(__name__)


class Leadership(Protocol):
    """What a firing must know of the lease."""

    @property
    def is_held(self) -> bool:
        """Whether this instance leads."""

    @property
    def seconds_left(self) -> float:
        """For how long."""


class Firer:
    """Fires schedules that are due."""

    def __init__(self, connection: Connection, lease: Leadership, agenda: Agenda, metrics: SchedulerMetrics) -> None:
        self._connection = connection
        self._lease = lease
        self._agenda = agenda
        self._metrics = metrics
        self._loop = asyncio.get_running_loop()

    async def fire(self, entry: KnownSchedule) -> None:
        """Do what is due of a schedule.

        Raises:
            DecodeError: It is not one that this version can fire. BrokerError: It is not done, or perhaps not: do it again.
        """
        # The revision of just this version: the watch may bring a newer one while the job is being stored.
        revision = entry.revision
        old = decode_document(entry.data, entry.key)
        todo = plan(old, self._connection.clock.utc())
        document = msgspec.structs.replace(old)
        if old.paused:
            return
        if todo.watermark is None:
            document.move_on(old.watermark)
            if document.next_at != old.next_at:  # the zone's rules have changed since it was computed
                await self._store(entry, revision, document)
            return
        if todo.missed:
            _remember(document, Firing(at=todo.last_missed or todo.watermark, kind="missed", count=todo.missed))
            document.missed += todo.missed
        done = _Done()
        for nominal in todo.run:
            if not await self._fire_one(document, nominal, done):
                return  # not the leader any more: the next one goes on from the watermark
        document.move_on(todo.watermark)
        if await self._store(entry, revision, document):
            self._count(document, todo.missed, done)

    async def _fire_one(self, document: ScheduleDocument, nominal: datetime, done: "_Done") -> bool:
        """Make one job, or note why not; return False where this instance may not."""
        spec = document.spec
        job_id = firing_id(spec.schedule_id, nominal)
        if spec.overlap != "allow" and document.last_job not in {"", job_id} and await self._runs(document):
            if spec.overlap == "skip":
                _remember(document, Firing(at=nominal, kind="skipped"))
                done.skipped += 1
                return self._lease.is_held
            await self._cancel(document)
        if not self._lease.is_held:
            return False
        try:
            await enqueue_firing(self._connection, spec, job_id, deadline=self._loop.time() + self._lease.seconds_left)
        except EnqueueSkippedError as error:
            log.info("schedule %s: %s", spec.schedule_id, error)
            _remember(document, Firing(at=nominal, kind="skipped"))
            done.left_out += 1
            return self._lease.is_held
        late = max(0.0, (self._connection.clock.utc() - nominal - spec.delay(nominal)).total_seconds())
        done.late.append(late)
        _remember(document, Firing(at=nominal, job_id=job_id, late=round(late, 3)))
        document.runs += 1
        document.last_at, document.last_job = nominal, job_id
        return True

    async def _runs(self, document: ScheduleDocument) -> bool:
        """Return whether the job of the firing before has not ended."""
        queue, job_id = document.spec.queue, document.last_job
        stored = await read_record(self._connection, queue, job_id)
        if stored is not None:
            return not stored.record.state.is_final
        return await find_job(self._connection, job_id, queue) is not None

    async def _cancel(self, document: ScheduleDocument) -> None:
        # One that has just ended and was forgotten needs no cancelling.
        with contextlib.suppress(JobNotFoundError):
            reason = f"the next run of schedule {document.spec.schedule_id} is due"
            await cancel_job(self._connection, document.last_job, reason, queue=document.spec.queue)

    async def _store(self, entry: KnownSchedule, revision: int, document: ScheduleDocument) -> bool:
        """Compare-and-set the watermark; if the schedule was changed, read it again."""
        names = self._connection.names
        subject = names.schedule(entry.key)
        data = encode_document(document)
        stored = await write_document(self._connection, subject, data, revision)
        if stored is not None:
            self._agenda.written(entry, stored, data)
            return True
        found = await read_document(self._connection, names.schedules_stream, subject)
        self._agenda.written(entry, found.revision, found.data)
        return False

    def _count(self, document: ScheduleDocument, missed: int, done: "_Done") -> None:
        spec = document.spec
        schedule_id, task = spec.schedule_id, spec.job().fn
        for late in done.late:
            self._metrics.lateness(late)
        for kind, number in (("fired", len(done.late)), ("missed", missed)):
            if number:
                self._metrics.add_of(kind, number, spec.queue, task)
                self._connection.tally.add(spec.queue, task, kind, number)
        self._metrics.add("skipped", done.skipped + done.left_out)
        if missed:
            log.warning("schedule %s: skipped %d missed runs (misfire policy)", schedule_id, missed)
        if done.skipped:
            log.debug("schedule %s: skipped %d runs because job %s has not ended", schedule_id, done.skipped, document.last_job)


class _Done:
    """The result of checking one schedule."""

    __slots__ = ("late", "left_out", "skipped")

    def __init__(self) -> None:
        self.late: list[float] = []
        self.skipped = 0
        self.left_out = 0
        """How many firings middleware has skipped."""


def _remember(document: ScheduleDocument, firing: Firing) -> None:
    """Add to the history; what repeats itself without a job is counted up in one entry."""
    last = document.firings[-1] if document.firings else None
    if last is not None and not firing.job_id and last.kind == firing.kind:
        firing = msgspec.structs.replace(firing, count=last.count + firing.count)
        document.firings = document.firings[:-1]
    document.remember(firing)
