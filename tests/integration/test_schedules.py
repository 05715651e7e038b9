"""Schedules as clients make, change and read them; no scheduler runs here."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from naq_client import Queue, Schedule, SyncQueue
from naq_core import InvalidNameError, InvalidScheduleError, JobState, ScheduleNotFoundError, Settings
from naq_core.errors import SignatureError
from naq_core.inspect import get_job
from naq_core.schedules import list_schedules, make_named_spec, put_schedule
from naq_core.server import EmbeddedServer
from naq_core.transport.buckets import read_document, write_document
from naq_core.transport.errors import DisconnectedError
from naq_worker import Worker
from tests.conftest import RunWorker
from tests.integration import work

LATER = datetime(2030, 1, 1, tzinfo=UTC)


async def test_a_schedule_is_stored_and_found_again(queue: Queue) -> None:
    made = await queue.schedule(work.add, 1, 2, cron="30 9 * * mon-fri", timezone="Europe/Berlin", schedule_id="digest")
    found = await queue.get_schedule("digest")
    assert found.view == made.view
    assert (found.view.function, found.view.arguments, found.view.queue) == ("tests.integration.work:add", "1, 2", "default")
    assert found.view.next_at == found.next_runs(1)[0]
    assert [view.schedule_id for view in await list_schedules(await queue.connection())] == ["digest"]


async def test_the_same_call_scheduled_again_is_the_same_schedule(queue: Queue) -> None:
    first = await queue.schedule(work.add, 1, 2, interval=60)
    again = await queue.schedule(work.add, 1, 2, interval=60)
    other = await queue.schedule(work.add, 1, 3, interval=60)
    assert first.schedule_id == again.schedule_id != other.schedule_id
    assert first.view == again.view


async def test_an_interval_counts_from_its_start(queue: Queue) -> None:
    start = LATER + timedelta(seconds=7)
    schedule = await queue.schedule(work.add, 1, 2, interval="90s", start_at=start, schedule_id="s")
    assert schedule.next_runs(3) == [start + timedelta(seconds=90 * number) for number in range(3)]


async def test_the_end_and_the_number_of_runs_bound_what_is_to_come(queue: Queue) -> None:
    ends = await queue.schedule(work.add, 1, 2, interval=60, start_at=LATER, end_at=LATER + timedelta(minutes=2))
    counted = await queue.schedule(work.add, 1, 2, cron="@daily", max_runs=2)
    assert len(ends.next_runs(9)) == 3
    assert len(counted.next_runs(9)) == 2


async def test_pause_resume_update_and_delete(queue: Queue) -> None:
    schedule = await queue.schedule(work.add, 1, 2, cron="@daily", schedule_id="s")
    await schedule.pause()
    assert (await schedule.refresh()).paused
    assert schedule.view.next_at is None
    await schedule.resume()
    assert schedule.view.next_at is not None
    await schedule.update(interval=5, overlap="skip")
    assert (schedule.view.cron, schedule.view.interval, schedule.view.overlap) == (None, 5, "skip")
    await schedule.delete()
    with pytest.raises(ScheduleNotFoundError, match="no such schedule"):
        await schedule.refresh()
    with pytest.raises(ScheduleNotFoundError):
        await schedule.delete()
    assert not await list_schedules(await queue.connection())
    await queue.schedule(work.add, 1, 2, cron="@daily", schedule_id="s")
    assert (await queue.get_schedule("s")).view.cron == "@daily"


async def test_scheduling_again_keeps_the_pause_and_the_count(queue: Queue) -> None:
    schedule = await queue.schedule(work.add, 1, 2, cron="@daily", schedule_id="s")
    await schedule.pause()
    again = await queue.schedule(work.add, 3, 4, cron="@hourly", schedule_id="s")
    assert again.view.paused
    assert again.view.arguments == "3, 4"
    resumed = await queue.schedule(work.add, 3, 4, cron="@hourly", schedule_id="s", paused=False)
    assert not resumed.view.paused


async def test_a_schedule_is_triggered_by_hand(queue: Queue, run_worker: RunWorker) -> None:
    schedule = await queue.options(max_retries=2).schedule(work.add, 1, 2, cron="@yearly", schedule_id="s")
    await schedule.pause()
    job = await schedule.trigger()
    async with run_worker():
        assert await job.result(timeout=10) == 3
    (entry,) = await schedule.history()
    assert (entry.kind, entry.job_id, entry.state) == ("manual", job.job_id, JobState.SUCCEEDED)
    assert (await schedule.refresh()).runs == 0


async def test_a_function_is_named_where_its_code_is_not_at_hand(queue: Queue) -> None:
    spec = make_named_spec("shop.tasks:close", ["till"], {"hard": True}, cron="@daily", schedule_id="close", queue="shop")
    view = await put_schedule(await queue.connection(), spec, must_be_new=True)
    assert (view.function, view.arguments, view.queue) == ("shop.tasks:close", "'till', hard=True", "shop")
    with pytest.raises(InvalidScheduleError, match="exists"):
        await put_schedule(await queue.connection(), spec, must_be_new=True)


async def test_a_job_made_by_call_is_scheduled_where_a_keyword_would_be_ambiguous(queue: Queue) -> None:
    with pytest.raises(InvalidScheduleError, match="timezone"):
        await queue.schedule(takes_a_timezone, cron="@daily", timezone="UTC")
    schedule = await queue.schedule(queue.call(takes_a_timezone, timezone="his"), cron="@daily", timezone="UTC")
    assert "his" in schedule.view.arguments


def takes_a_timezone(timezone: str) -> str:
    return timezone


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"cron": "@daily", "interval": 5},
        {"cron": "0 0 31 2 *"},
        {"interval": 0},
        {"interval": -5},
        {"interval": float("nan")},
        {"interval": "soon"},
        {"cron": "@daily", "timezone": "Mars/Olympus"},
        {"cron": "@daily", "overlap": "perhaps"},
        {"cron": "@daily", "misfire": "twice"},
        {"cron": "@daily", "max_runs": 0},
        {"cron": "@daily", "max_runs": True},
        {"cron": "@daily", "jitter": -1},
        {"cron": "@daily", "grace": "later"},
        {"cron": "@daily", "start_at": datetime(2030, 1, 1)},  # noqa: DTZ001 - that is what is refused
        {"cron": "@daily", "start_at": LATER, "end_at": LATER - timedelta(seconds=1)},
        {"cron": "@daily", "end_at": datetime(2000, 1, 1, tzinfo=UTC)},
        {"cron": "@daily", "fast": True},
        {"cron": "@daily", "result_ttl": 5},
    ],
)
async def test_what_cannot_be_is_refused_and_nothing_is_stored(queue: Queue, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidScheduleError):
        await queue.schedule(work.add, 1, 2, **options)
    assert not await list_schedules(await queue.connection())


@pytest.mark.parametrize("options", [{"delay": 5}, {"unique": "key"}, {"at": LATER}, {"expires": LATER}, {"depends_on": ["x"]}])
async def test_options_of_one_job_do_not_fit_a_schedule(queue: Queue, options: dict[str, Any]) -> None:
    with pytest.raises(InvalidScheduleError):
        await queue.options(**options).schedule(work.add, 1, 2, cron="@daily")
    assert not await list_schedules(await queue.connection())


async def test_a_job_of_a_schedule_expires_after_its_own_firing(queue: Queue) -> None:
    schedule = await queue.options(expires=30, priority="high").schedule(work.add, 1, 2, cron="@daily")
    before = datetime.now(UTC)
    job = await get_job(await queue.connection(), (await schedule.trigger()).job_id)
    assert job.expires_at is not None
    assert before + timedelta(seconds=30) <= job.expires_at < before + timedelta(seconds=60)
    assert (job.priority, job.schedule) == ("high", schedule.schedule_id)


async def test_an_id_that_cannot_be_a_token_is_refused(queue: Queue) -> None:
    for wrong in ("", "a.b", "a b", "a=b", "*", ">", "x" * 91):
        with pytest.raises(InvalidNameError):
            await queue.schedule(work.add, 1, 2, cron="@daily", schedule_id=wrong)
        with pytest.raises(InvalidNameError):
            await queue.get_schedule(wrong)


async def test_an_update_that_is_wrong_changes_nothing(queue: Queue) -> None:
    schedule = await queue.schedule(work.add, 1, 2, cron="@daily", schedule_id="s")
    for changes in ({"cron": "nonsense"}, {"queue": "other"}, {"max_runs": -1}, {"cron": None}):
        with pytest.raises(InvalidScheduleError):
            await schedule.update(**changes)
    assert await schedule.refresh() == schedule.view


def test_schedules_without_an_event_loop(settings: Settings) -> None:
    with SyncQueue("default", settings=settings) as queue:
        schedule = queue.schedule(work.add, 1, 2, cron="@daily", schedule_id="s")
        schedule.pause()
        assert queue.get_schedule("s").view.paused
        schedule.resume()
        schedule.update(cron="@hourly")
        assert len(schedule.next_runs(3)) == 3
        assert schedule.trigger().job_id.startswith("s=manual-")
        assert [each.kind for each in schedule.history()] == ["manual"]
        schedule.delete()
        with pytest.raises(ScheduleNotFoundError):
            schedule.refresh()


async def test_the_handle_shows_what_it_is(queue: Queue) -> None:
    schedule = await queue.schedule(work.add, 1, 2, interval=5, schedule_id="s")
    assert repr(schedule) == "<Schedule s tests.integration.work:add every 5 s>"
    assert isinstance(schedule, Schedule)


async def test_a_signed_schedule_makes_signed_jobs_and_cannot_be_forged(nats_server: EmbeddedServer, namespace: str) -> None:
    plain = Settings.load(nats_url=nats_server.url, namespace=namespace)
    signed = Settings.load(nats_url=nats_server.url, namespace=namespace, signing_key="k" * 32)
    async with Queue("default", settings=signed) as queue, Queue("default", settings=plain) as keyless:
        schedule = await queue.schedule(work.add, 1, 2, cron="@daily", schedule_id="s")
        job = await schedule.trigger()
        async with asyncio.TaskGroup() as group:
            worker = Worker(["default"], settings=signed)
            group.create_task(worker.run())
            assert await job.result(timeout=10) == 3
            worker.stop()
        with pytest.raises(SignatureError, match="NAQ_SIGNING_KEY"):
            await (await keyless.get_schedule("s")).trigger()
        await keyless.schedule(work.add, 1, 2, cron="@daily", schedule_id="forged")
        with pytest.raises(SignatureError):
            await (await queue.get_schedule("forged")).trigger()


async def test_looking_for_schedules_creates_nothing(queue: Queue) -> None:
    connection = await queue.connection()
    assert await list_schedules(connection) == []
    with pytest.raises(ScheduleNotFoundError):
        await queue.get_schedule("s")
    answer = await connection.api("STREAM.NAMES", {"subject": f"{connection.names.schedules}.>"})
    assert not answer.get("streams")


async def test_a_write_whose_answer_is_lost_is_known_as_our_own(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    schedule = await queue.schedule(work.add, 1, 2, cron="@daily", schedule_id="s")
    connection = await queue.connection()
    names = connection.names
    subject = names.schedule("s")
    found = await read_document(connection, names.schedules_stream, subject)
    real, sent = connection.publish_once, 0

    async def lose_the_first_answer(*args: Any) -> int:
        nonlocal sent
        sent += 1
        sequence = await real(*args)
        if sent == 1:
            raise DisconnectedError("the answer was lost")
        return sequence

    monkeypatch.setattr(connection, "publish_once", lose_the_first_answer)
    written = await write_document(connection, subject, found.data, found.revision)
    assert sent == 2
    assert written == found.revision + 1
    monkeypatch.undo()
    assert await write_document(connection, subject, b"{}", found.revision) is None
    assert await schedule.refresh() == schedule.view
