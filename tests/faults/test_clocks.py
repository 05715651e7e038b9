"""Machines whose clocks are wrong: what is due, and what is too late, goes by the server's time."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from naq_client import Queue
from naq_core import JobRecord, JobState, Settings
from naq_core.schedules import get_schedule, pause_schedule, put_schedule, resume_schedule
from naq_core.schedules.document import decode_document
from naq_core.storage.connection import Connection
from naq_core.transport.buckets import read_document
from tests.support import jobs
from tests.support.clocks import WrongClock, put_ahead
from tests.support.eventually import eventually
from tests.support.load import Load
from tests.support.observer import Observer
from tests.support.processes import Fleet

HOUR = 3600.0


@pytest.mark.parametrize("shift", [90.0, -90.0], ids=["ahead", "behind"])
async def test_retries_and_expiries_do_not_depend_on_the_workers_clock(
    shift: float, fleet: Fleet, load: Load, tmp_path: Path
) -> None:
    """Attempts of one job run on two workers, of which one is wrong; none is handed back for long, or taken for too late."""
    wrong = fleet.start(clock=WrongClock(tmp_path / "clock", shift))
    fleet.start()
    began = time.time()

    async def both_have_failed_one() -> None:
        tries = tmp_path / f"tries-{len(load.accepted)}"
        await load.enqueue(jobs.fail_twice, str(tries), retry_delay=0.5, max_retries=2, expires=60)
        found = await load.observer.records("default", load.accepted)
        assert len({error.worker for record in found.values() for error in record.errors}) == 2, "one of the workers does nothing"

    await eventually(both_have_failed_one, 20, interval=0.1)
    records = await load.finish(45)
    assert {record.state for record in records.values()} == {JobState.SUCCEEDED}
    assert {record.attempt for record in records.values()} == {3}
    stamps = [at for record in records.values() for at in (record.started_at, record.ended_at, record.errors[0].at)]
    assert min(stamps) > began - 2
    assert max(stamps) < time.time() + 2
    assert "clock is" in wrong.output(), wrong.output()


@pytest.mark.parametrize("shift", [HOUR, -HOUR], ids=["ahead", "behind"])
async def test_delays_and_expiries_do_not_depend_on_the_clients_clock(
    shift: float, settings: Settings, fleet: Fleet, observer: Observer, monkeypatch: pytest.MonkeyPatch
) -> None:
    fleet.start()
    right = time.time
    monkeypatch.setattr(time, "time", lambda: right() + shift)
    began = time.monotonic()
    async with Queue("default", settings=settings) as queue:
        delayed = await queue.enqueue_in(1.0, jobs.work)
        brief = await queue.options(expires=20).enqueue(jobs.work)
        record = await eventually(lambda: succeeded(observer, delayed.job_id), 20)
        assert time.monotonic() - began >= 1.0
        assert abs(record.enqueued_at - right()) < 30
        await eventually(lambda: succeeded(observer, brief.job_id), 20)


async def succeeded(observer: Observer, job_id: str) -> JobRecord:
    record = await observer.record("default", job_id)
    assert record is not None
    assert record.state is JobState.SUCCEEDED, record
    return record


async def test_a_scheduler_with_a_wrong_clock_does_not_lead_until_it_is_set_right(
    settings: Settings, fleet: Fleet, tmp_path: Path
) -> None:
    clock = WrongClock(tmp_path / "clock", HOUR)
    async with Queue("default", settings=settings) as queue:
        schedule = await queue.schedule(jobs.work, interval=0.5, schedule_id="tick")
        wrong = fleet.start_scheduler(clock=clock)
        await eventually(lambda: said(wrong.output(), "does not lead: this machine's clock is"), 20)
        assert (await get_schedule(await queue.connection(), "tick")).runs == 0
        clock.set(0)
        await eventually(lambda: fired(queue, 3), 20)
        view = await get_schedule(await queue.connection(), "tick")
        assert view.watermark is not None
        assert view.watermark <= datetime.now(UTC) + timedelta(seconds=1)
        await schedule.pause()
        clock.set(-HOUR)  # and wrong again, while it leads
        await eventually(lambda: said(wrong.output(), "behind the NATS server's, and at most"), 20)
        standby = fleet.start_scheduler()
        await eventually(lambda: said(standby.output(), "is the leader"), 20)


async def test_a_scheduler_that_is_a_little_ahead_fires_in_time(settings: Settings, fleet: Fleet, tmp_path: Path) -> None:
    fleet.start_scheduler(clock=WrongClock(tmp_path / "clock", 20.0))
    async with Queue("default", settings=settings) as queue:
        await queue.schedule(jobs.work, interval=0.5, schedule_id="tick")
        await eventually(lambda: fired(queue, 4), 20)
        view = await get_schedule(await queue.connection(), "tick")
        assert view.watermark is not None
        assert view.watermark <= datetime.now(UTC) + timedelta(seconds=0.5)


def said(output: str, text: str) -> None:
    assert text in output, output


async def fired(queue: Queue, times: int) -> None:
    view = await get_schedule(await queue.connection(), "tick")
    assert view.runs >= times, view


@pytest.mark.parametrize("cure", ["resume", "pause and resume", "replace"])
async def test_a_schedule_that_a_wrong_clock_has_put_ahead_is_named_and_comes_back(
    cure: str, settings: Settings, fleet: Fleet
) -> None:
    async with Queue("default", settings=settings) as queue:
        connection = await queue.connection()
        await queue.schedule(jobs.work, interval=0.5, schedule_id="tick")
        await put_ahead(connection, "tick", timedelta(days=3650))
        scheduler = fleet.start_scheduler()
        await eventually(lambda: said(scheduler.output(), "schedule tick will not fire before"), 20)
        await eventually(lambda: said(scheduler.output(), "is the leader"), 20)
        if cure == "replace":
            spec = decode_document(await stored(connection, "tick")).spec
            await put_schedule(connection, spec)
        else:
            if cure != "resume":
                await pause_schedule(connection, "tick")
            await resume_schedule(connection, "tick")
        await eventually(lambda: fired(queue, 2), 20)


async def stored(connection: Connection, schedule_id: str) -> bytes:
    names = connection.names
    return (await read_document(connection, names.schedules_stream, names.schedule(schedule_id))).data
