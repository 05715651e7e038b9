"""Firing one schedule: which jobs it makes and what it remembers. On the real server, by a clock that stands still."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from naq_client import Queue
from naq_core.inspect import get_job
from naq_core.job import Job
from naq_core.record import JobState
from naq_core.schedules.document import ScheduleDocument, decode_document, encode_document, new_document
from naq_core.schedules.firing import enqueue_firing
from naq_core.schedules.spec import firing_id, make_spec
from naq_core.storage.connection import Connection
from naq_core.storage.records import find_job
from naq_core.storage.topology import ensure_schedules
from naq_core.transport.buckets import read_document, write_document
from naq_core.transport.errors import DisconnectedError
from naq_core.transport.watch import Change
from naq_core.views import Firing
from naq_scheduler import _plan
from naq_scheduler._agenda import Agenda, KnownSchedule
from naq_scheduler._fire import Firer
from naq_scheduler._metrics import SchedulerMetrics
from tests.conftest import RunWorker
from tests.integration import work

BEGIN = datetime(2026, 5, 1, 12, tzinfo=UTC)
NOW = BEGIN + timedelta(seconds=30, microseconds=123_456)
"""Of a schedule that began at `BEGIN`, every ten seconds, three times have come."""
TASK = "tests.integration.work:add"


def after(seconds: float) -> datetime:
    return BEGIN + timedelta(seconds=seconds)


@dataclass
class Lease:
    """The leadership, which the test gives and takes."""

    is_held: bool = True
    seconds_left: float = 30.0


class Stage:
    """A firer with a schedule of its own."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.lease = Lease()
        self.agenda = Agenda()
        self.metrics = SchedulerMetrics()
        self.firer = Firer(connection, self.lease, self.agenda, self.metrics)
        self.subject = connection.names.schedule("s")

    async def put(self, document: ScheduleDocument, revision: int = 0) -> KnownSchedule:
        """Store a schedule, and take it from the agenda as due."""
        await ensure_schedules(self.connection)
        data = encode_document(document)
        written = await write_document(self.connection, self.subject, data, revision)
        assert written is not None
        self.agenda.put(Change("s", written, data))
        entry = self.agenda.take_due(NOW.timestamp() + 3600)
        assert entry is not None
        return entry

    async def fired(self, document: ScheduleDocument) -> ScheduleDocument:
        """Fire a schedule once and return it as it is stored then; the agenda must know just that."""
        entry = await self.put(document)
        await self.firer.fire(entry)
        found = await read_document(self.connection, self.connection.names.schedules_stream, self.subject)
        assert (entry.revision, entry.data) == (found.revision, found.data)
        return decode_document(found.data)

    async def jobs(self) -> list[datetime]:
        """The times whose jobs are on the server."""
        times = [after(10), after(20), after(30)]
        return [at for at in times if await find_job(self.connection, firing_id("s", at)) is not None]

    async def enqueue(self, document: ScheduleDocument, at: datetime) -> str:
        """Make the job of a time, as an earlier leader did."""
        await enqueue_firing(self.connection, document.spec, firing_id("s", at))
        return firing_id("s", at)


@pytest.fixture
async def stage(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> Stage:
    connection = await queue.connection()
    monkeypatch.setattr(connection.clock, "now", NOW.timestamp)
    return Stage(connection)


def schedule(**timing: Any) -> ScheduleDocument:
    options: dict[str, Any] = {"schedule_id": "s", "interval": 10} | timing
    return new_document(make_spec(Job(work.add, (1,)), **options), BEGIN, paused=False)


def kinds(document: ScheduleDocument) -> list[tuple[str, datetime, int]]:
    return [(each.kind, each.at, each.count) for each in document.firings]


async def test_each_time_that_has_come_is_a_job_and_is_remembered(stage: Stage) -> None:
    document = await stage.fired(schedule())
    assert await stage.jobs() == [after(10), after(20), after(30)]
    assert [(each.at, each.job_id, each.late) for each in document.firings] == [
        (at, firing_id("s", at), late) for at, late in ((after(10), 20.123), (after(20), 10.123), (after(30), 0.123))
    ]
    assert (document.runs, document.missed) == (3, 0)
    assert (document.last_at, document.last_job) == (after(30), firing_id("s", after(30)))
    assert (document.watermark, document.next_at) == (after(30), after(40))
    assert (stage.metrics.count("fired"), stage.metrics.count("missed"), stage.metrics.count("skipped")) == (3, 0, 0)
    assert "naq_scheduler_lateness_seconds_sum 30.3704\n" in stage.metrics.text()
    assert f'naq_scheduler_fired_total{{queue="default",task="{TASK}"}} 3\n' in stage.metrics.text()
    assert stage.connection.tally._new["default", TASK, "fired"] == 3
    assert ("default", TASK, "missed") not in stage.connection.tally._new


async def test_a_jitter_is_not_lateness(stage: Stage) -> None:
    document = schedule(jitter=5)
    delay = document.spec.delay(after(20)).total_seconds()
    (_, second, *_) = (await stage.fired(document)).firings
    assert delay > 0.1
    assert second.late == round(10.123456 - delay, 3)


@pytest.mark.parametrize(("misfire", "missed"), [("skip", 2), ("once", 1)])
async def test_what_is_missed_is_counted_with_its_last_time(stage: Stage, misfire: str, missed: int) -> None:
    document = await stage.fired(schedule(misfire=misfire, grace=1))
    jobs = [after(10 * number) for number in range(1 + missed, 4)]
    assert await stage.jobs() == jobs
    assert kinds(document) == [("missed", after(10 * missed), missed), *(("fired", at, 1) for at in jobs)]
    assert (document.missed, document.runs) == (missed, 3 - missed)
    assert stage.metrics.count("missed") == stage.connection.tally._new["default", TASK, "missed"] == missed


async def test_of_too_many_times_the_newest_are_run(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those before are neither late nor by policy: nobody knows their last one."""
    monkeypatch.setattr(_plan, "MOST", 2)
    document = await stage.fired(schedule(misfire="all", grace=None))
    assert await stage.jobs() == [after(20), after(30)]
    assert kinds(document) == [("missed", after(30), 1), ("fired", after(20), 1), ("fired", after(30), 1)]


async def test_before_its_time_and_while_it_is_paused_nothing_happens(stage: Stage) -> None:
    document = schedule(interval=60)
    entry = await stage.put(document)
    revision = entry.revision
    await stage.firer.fire(entry)
    document.paused, document.watermark = True, BEGIN - timedelta(hours=1)
    stage.agenda.done(entry)
    found = await read_document(stage.connection, stage.connection.names.schedules_stream, stage.subject)
    assert found.revision == entry.revision == revision
    entry.data = encode_document(document)
    await stage.firer.fire(entry)
    assert await read_document(stage.connection, stage.connection.names.schedules_stream, stage.subject) == found


async def test_a_next_time_that_has_become_wrong_is_corrected(stage: Stage) -> None:
    """The rules of its time zone have changed since it was computed."""
    document = schedule(interval=60)
    document.next_at = after(20)
    assert (await stage.fired(document)).next_at == after(60)
    assert await stage.jobs() == []


async def test_only_the_leader_fires(stage: Stage) -> None:
    stage.lease.is_held = False
    assert await stage.fired(document := schedule()) == document
    assert await stage.jobs() == []
    assert stage.metrics.count("fired") == 0


async def test_a_firing_that_a_new_leader_repeats_makes_no_second_job(stage: Stage) -> None:
    document = schedule()
    for at in (after(10), after(20)):
        await stage.enqueue(document, at)
    assert [each.kind for each in (await stage.fired(document)).firings] == ["fired"] * 3
    assert (await stage.connection.api(f"STREAM.INFO.{stage.connection.names.jobs_stream}"))["state"]["messages"] == 3


async def test_a_firing_is_repeated_while_it_leads(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    real, sent = stage.connection.publish_once, 0

    async def lose_the_first_answer(*args: Any) -> int:
        nonlocal sent
        sent += 1
        sequence = await real(*args)
        if sent == 1:
            raise DisconnectedError("the answer was lost")
        return sequence

    entry = await stage.put(schedule())
    monkeypatch.setattr(stage.connection, "publish_once", lose_the_first_answer)
    await stage.firer.fire(entry)
    assert await stage.jobs() == [after(10), after(20), after(30)]
    assert decode_document(entry.data).runs == 3


async def test_a_time_is_skipped_while_the_job_before_has_not_ended(stage: Stage) -> None:
    document = await stage.fired(schedule(overlap="skip"))
    assert await stage.jobs() == [after(10)]
    assert kinds(document) == [("fired", after(10), 1), ("skipped", after(30), 2)]
    assert (document.runs, document.last_job, document.watermark) == (1, firing_id("s", after(10)), after(30))
    assert (stage.metrics.count("fired"), stage.metrics.count("skipped")) == (1, 2)


async def test_skipped_times_in_a_row_are_one_entry_of_the_history(stage: Stage) -> None:
    document = schedule(overlap="skip")
    document.last_job = await stage.enqueue(document, BEGIN)
    document.firings = [Firing(at=BEGIN, job_id=document.last_job), Firing(at=after(5), kind="skipped", count=4)]
    assert kinds(await stage.fired(document)) == [("fired", BEGIN, 1), ("skipped", after(30), 7)]


@pytest.mark.parametrize("overlap", ["skip", "cancel"])
async def test_the_job_of_this_very_time_is_not_the_one_before(stage: Stage, overlap: str) -> None:
    """A schedule that was put ahead by a wrong clock goes through its times again."""
    document = schedule(overlap=overlap, end_at=after(10))
    document.last_job = await stage.enqueue(document, after(10))
    assert kinds(await stage.fired(document)) == [("fired", after(10), 1)]
    assert await stage.jobs() == [after(10)]


async def test_the_job_before_is_cancelled_where_the_schedule_says_so(stage: Stage) -> None:
    document = await stage.fired(schedule(overlap="cancel"))
    assert kinds(document) == [("fired", after(10 * number), 1) for number in (1, 2, 3)]
    states = [(await get_job(stage.connection, firing_id("s", after(10 * number)))).state for number in (1, 2, 3)]
    assert states == [JobState.CANCELLED, JobState.CANCELLED, JobState.QUEUED]


async def test_by_default_jobs_of_a_schedule_do_not_wait_for_each_other(stage: Stage) -> None:
    document = schedule()
    document.last_job = await stage.enqueue(document, BEGIN)
    assert len((await stage.fired(document)).firings) == 3
    assert (await get_job(stage.connection, document.last_job)).state is JobState.QUEUED


@pytest.mark.parametrize("has_record", [True, False])
async def test_a_job_before_that_has_ended_or_is_forgotten_keeps_nothing_back(
    stage: Stage, run_worker: RunWorker, *, has_record: bool
) -> None:
    document = schedule(overlap="skip", end_at=after(10))
    document.last_job = await stage.enqueue(document, BEGIN) if has_record else "forgotten"
    if has_record:
        async with run_worker():
            assert await Job.fetch_result(document.last_job, settings=stage.connection.settings, timeout=30) == 1
    assert kinds(await stage.fired(document)) == [("fired", after(10), 1)]


async def test_a_schedule_that_was_changed_meanwhile_is_read_again(stage: Stage) -> None:
    entry = await stage.put(schedule())
    changed = encode_document(schedule(max_runs=9))
    revision = await write_document(stage.connection, stage.subject, changed, entry.revision)
    await stage.firer.fire(entry)
    assert (entry.revision, entry.data) == (revision, changed)
    assert await stage.jobs() == [after(10), after(20), after(30)]
    assert stage.metrics.count("fired") == 0, "who fires the changed schedule counts them"
