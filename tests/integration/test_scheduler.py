"""The scheduler on a real server: firing, policies, leadership, health."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

import pytest

from naq_client import Queue
from naq_core import BrokerUnavailableError, JobState, Settings
from naq_core.inspect import leading_scheduler, list_jobs
from naq_core.schedules import read_scheduler
from naq_core.schedules.firing import enqueue_firing
from naq_core.server import EmbeddedServer
from naq_core.storage.connection import Connection
from naq_core.transport.buckets import read_document
from naq_core.transport.watch import Watch
from naq_core.views import JobFilter, SchedulerView
from naq_scheduler import Scheduler
from naq_scheduler._agenda import Agenda
from naq_scheduler._lease import Lease
from naq_scheduler._sweep import Sweeper
from tests.conftest import RunWorker
from tests.integration import work
from tests.support.eventually import eventually

RunScheduler: TypeAlias = Callable[..., AbstractAsyncContextManager[Scheduler]]


pytestmark = pytest.mark.naq(scheduler_ttl=2)


@pytest.fixture
def run_scheduler(settings: Settings) -> RunScheduler:
    @asynccontextmanager
    async def running(**options: Any) -> AsyncIterator[Scheduler]:
        options.setdefault("settings", settings)
        scheduler = Scheduler(**options)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(scheduler.run())
            try:
                yield scheduler
            finally:
                scheduler.stop()
                await asyncio.wait([task])

    return running


async def becomes(condition: Callable[[], Any], timeout: float = 10) -> None:
    def check() -> None:
        assert condition()

    await eventually(check, timeout)


async def test_each_firing_is_a_job_with_its_own_id_result_and_history(
    queue: Queue, run_worker: RunWorker, run_scheduler: RunScheduler
) -> None:
    schedule = await queue.schedule(work.add, 1, 2, interval=0.2, max_runs=3, schedule_id="s")
    nominal = schedule.next_runs(3)
    async with run_worker(), run_scheduler():

        async def all_ended() -> None:
            history = await schedule.history()
            assert [each.state for each in history] == [JobState.SUCCEEDED] * 3

        await eventually(all_ended)
    assert [each.at for each in await schedule.history()] == nominal[::-1]
    jobs = await list_jobs(await queue.connection(), JobFilter(schedule="s"))
    assert sorted(job.job_id for job in jobs.jobs) == [f"s={at:%Y%m%dT%H%M%S}-{at.microsecond:06d}Z" for at in nominal]
    view = await schedule.refresh()
    assert (view.runs, view.last_at, view.next_at) == (3, nominal[-1], None)


async def test_a_schedule_made_changed_and_removed_while_it_runs(queue: Queue, run_scheduler: RunScheduler) -> None:
    async with run_scheduler() as scheduler:
        await becomes(lambda: scheduler.is_leader)
        schedule = await queue.schedule(work.add, 1, 2, cron="@yearly", schedule_id="s")
        await schedule.update(interval=0.1)

        async def has_fired() -> None:
            assert (await schedule.refresh()).runs > 1

        await eventually(has_fired)
        await schedule.pause()
        runs = schedule.view.runs
        await becomes(lambda: scheduler.schedules == 1)
        assert (await schedule.refresh()).runs - runs <= 1
        await schedule.delete()
        await becomes(lambda: scheduler.schedules == 0)


async def test_a_firing_is_skipped_while_the_one_before_has_not_ended(queue: Queue, run_scheduler: RunScheduler) -> None:
    schedule = await queue.schedule(work.add, 1, 2, interval=0.1, overlap="skip", schedule_id="s")
    async with run_scheduler() as scheduler:
        await becomes(lambda: scheduler.metrics.count("skipped") >= 3)
    history = await schedule.history()
    assert [each.kind for each in history] == ["skipped", "fired"]
    assert history[0].count >= 3
    assert scheduler.metrics.count("fired") == 1


async def test_the_job_before_is_cancelled_for_the_next(queue: Queue, run_scheduler: RunScheduler) -> None:
    schedule = await queue.schedule(work.add, 1, 2, interval=0.2, overlap="cancel", max_runs=2, schedule_id="s")
    async with run_scheduler():

        async def second_has_fired() -> None:
            assert (await schedule.refresh()).runs == 2

        await eventually(second_has_fired)
    newest, oldest = await schedule.history()
    assert (newest.state, oldest.state) == (None, JobState.CANCELLED)


async def test_times_that_passed_without_a_scheduler_are_run_within_the_grace(queue: Queue, run_scheduler: RunScheduler) -> None:
    start = datetime.now(UTC) - timedelta(seconds=30)
    schedule = await queue.schedule(work.add, 1, 2, interval=10, start_at=start, end_at=start + timedelta(seconds=31))
    async with run_scheduler() as scheduler:
        await becomes(lambda: scheduler.metrics.count("fired") == 4)
    assert [each.at for each in await schedule.history()] == [start + timedelta(seconds=s) for s in (30, 20, 10, 0)]


async def test_times_later_than_the_grace_follow_the_policy(queue: Queue, run_scheduler: RunScheduler) -> None:
    start = datetime.now(UTC) - timedelta(seconds=50)
    schedule = await queue.schedule(
        work.add, 1, 2, interval=10, start_at=start, end_at=start + timedelta(seconds=49), misfire="once", grace=0
    )
    async with run_scheduler() as scheduler:
        await becomes(lambda: scheduler.metrics.count("fired") == 1)
        assert scheduler.metrics.count("missed") == 4
    fired, missed = await schedule.history()
    assert (missed.kind, missed.count) == ("missed", 4)
    assert fired.at == start + timedelta(seconds=40)
    assert (await schedule.refresh()).missed == 4


async def test_one_of_three_leads_and_another_takes_over_at_once_when_it_stops(run_scheduler: RunScheduler) -> None:
    async with run_scheduler() as one, run_scheduler() as two, run_scheduler() as three:
        all_three = (one, two, three)
        await becomes(lambda: sum(each.is_leader for each in all_three) == 1)
        await becomes(lambda: all(each.is_ready for each in all_three))
        leader = next(each for each in all_three if each.is_leader)
        leader.stop()
        await becomes(lambda: sum(each.is_leader for each in all_three if each is not leader) == 1, 2)
        assert not leader.is_leader


async def test_who_leads_since_when_and_when_it_last_fired_can_be_read(queue: Queue, run_scheduler: RunScheduler) -> None:
    connection = await queue.connection()
    await queue.schedule(work.add, 1, 2, cron="@yearly", schedule_id="idle")
    assert await read_scheduler(connection) == SchedulerView(active=1)
    began = connection.clock.utc()
    async with run_scheduler(instance_id="first") as one:
        await becomes(lambda: one.is_leader)
        await queue.schedule(work.add, 1, 2, interval=0.1, max_runs=2, schedule_id="busy")
        await becomes(lambda: one.metrics.count("fired") == 2)
        first = await read_scheduler(connection)
        assert first.owner == one.instance_id
        assert first.since is not None
        assert began - timedelta(seconds=1) < first.since < connection.clock.utc() + timedelta(seconds=1)
        renewals = (await leading(connection))["renewal"]
        await eventually(lambda: has_renewed(connection, renewals))
        assert (await read_scheduler(connection)).since == first.since, "a renewal is no new beginning"
    async with run_scheduler(instance_id="second") as two:
        await becomes(lambda: two.is_leader)
        second = await read_scheduler(connection)
        assert (second.owner, second.late) == (two.instance_id, [])
        assert second.since is not None
        assert second.since >= first.since
        assert second.fired_at is not None
        assert second.fired_at >= began - timedelta(seconds=1), "whoever fired it"


async def leading(connection: Connection) -> dict[str, Any]:
    leader = await leading_scheduler(connection)
    assert leader is not None
    return leader


async def has_renewed(connection: Connection, renewals: int) -> None:
    assert (await leading(connection))["renewal"] > renewals


async def test_a_second_one_without_election_is_warned_of(
    run_scheduler: RunScheduler, queue: Queue, caplog: pytest.LogCaptureFixture
) -> None:
    schedule = await queue.schedule(work.add, 1, 2, interval=0.1, max_runs=10, schedule_id="s")
    with caplog.at_level(logging.WARNING, "naq_scheduler"):
        async with run_scheduler(instance_id="first") as one:
            await becomes(lambda: one.is_leader)
            async with run_scheduler(enable_ha=False) as two:
                await becomes(lambda: one.is_leader and two.is_leader)
                await becomes(lambda: "first" in caplog.text and "enable_ha=False" in caplog.text)

                async def all_fired() -> None:
                    assert (await schedule.refresh()).runs == 10

                await eventually(all_fired)
    assert len({each.at for each in await schedule.history()}) == len(await schedule.history()) == 10


async def test_health_readiness_and_metrics_are_answered(run_scheduler: RunScheduler, queue: Queue) -> None:
    await queue.schedule(work.add, 1, 2, interval=0.1, max_runs=2)
    async with run_scheduler(http_port=0) as scheduler:
        await becomes(lambda: scheduler.is_leader and scheduler.metrics.count("fired") == 2)
        assert await get(scheduler, "/livez") == (200, "alive\n")
        assert await get(scheduler, "/readyz") == (200, "leader\n")
        status, text = await get(scheduler, "/metrics")
        assert status == 200
        assert 'naq_scheduler_fired_total{queue="default",task="tests.integration.work:add"} 2\n' in text
        assert "naq_scheduler_leader 1\n" in text
        assert "naq_scheduler_lateness_seconds_count 2\n" in text
        assert (await get(scheduler, "/nothing"))[0] == 404
        assert (await get(scheduler, "/metrics", "POST"))[0] == 405
        assert (await get(scheduler, "x" * 20_000))[0] in {0, 404}


async def get(scheduler: Scheduler, path: str, method: str = "GET") -> tuple[int, str]:
    """Ask over HTTP; the status is 0 where the connection was closed without an answer."""
    assert scheduler.http_address is not None
    reader, writer = await asyncio.open_connection(*scheduler.http_address)
    try:
        writer.write(f"{method} {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        answer = (await reader.read()).decode()
    except ConnectionError:
        return 0, ""
    finally:
        writer.close()
    head, _, body = answer.partition("\r\n\r\n")
    return int(head.split()[1]) if head else 0, body


async def test_an_unreadable_schedule_does_not_keep_the_others_from_firing(
    queue: Queue, run_scheduler: RunScheduler, caplog: pytest.LogCaptureFixture
) -> None:
    connection = await queue.connection()
    schedule = await queue.schedule(work.add, 1, 2, interval=0.1, schedule_id="good")
    await connection.publish(connection.names.schedule("bad"), b"\xff\x00 no schedule", {})
    await connection.publish(
        connection.names.schedule("worse"),
        b'{"spec":{"schedule_id":"worse","queue":"default","template":"AAAA","interval":1},"next_at":"2020-01-01T00:00:00Z"}',
        {},
    )
    async with run_scheduler():

        async def has_fired() -> None:
            assert (await schedule.refresh()).runs > 1

        await eventually(has_fired)
    assert "schedule bad: the schedule cannot be read" in caplog.text
    assert "schedule worse: the schedule cannot be read" in caplog.text


async def test_it_goes_on_by_itself_after_the_server_was_restarted(namespace: str, run_scheduler: RunScheduler) -> None:
    with EmbeddedServer() as server:
        settings = Settings.load(nats_url=server.url, namespace=namespace, scheduler_ttl=2)
        async with Queue("default", settings=settings) as queue, run_scheduler(settings=settings) as scheduler:
            schedule = await queue.schedule(work.add, 1, 2, interval=0.2, schedule_id="s")
            await becomes(lambda: scheduler.metrics.count("fired") > 2)
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.restart)
            fired = scheduler.metrics.count("fired")
            await becomes(lambda: scheduler.metrics.count("fired") > fired + 2, 15)
            other = await queue.schedule(work.add, 1, 2, interval=0.2, schedule_id="made-after")

            async def has_fired() -> None:
                assert (await other.refresh()).runs > 1

            await eventually(has_fired)
            view = await schedule.refresh()
            assert view.missed == 0


async def test_a_change_made_while_a_firing_is_under_way_is_kept(
    queue: Queue, run_scheduler: RunScheduler, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, waiting = asyncio.Event(), asyncio.Event()

    async def slow_publish(*args: Any, **kwargs: Any) -> bool:
        waiting.set()
        await gate.wait()
        return await enqueue_firing(*args, **kwargs)

    monkeypatch.setattr("naq_scheduler._fire.enqueue_firing", slow_publish)
    schedule = await queue.schedule(work.add, 1, 2, interval=0.5, schedule_id="s")
    async with run_scheduler() as scheduler:
        await waiting.wait()
        await schedule.update(max_runs=1)
        entry = scheduler._agenda._entries["s"]
        await becomes(lambda: b"max_runs" in entry.data)
        gate.set()

        async def is_over() -> None:
            view = await schedule.refresh()
            assert (view.runs, view.max_runs, view.next_at) == (1, 1, None)

        await eventually(is_over)
    assert len((await list_jobs(await queue.connection(), JobFilter(schedule="s"))).jobs) == 1


async def test_a_job_that_runs_is_cancelled_for_the_next(
    queue: Queue, run_worker: RunWorker, run_scheduler: RunScheduler
) -> None:
    schedule = await queue.schedule(asyncio.sleep, 30, interval=1, overlap="cancel", max_runs=2, schedule_id="s")
    async with run_worker(), run_scheduler():

        async def second_runs() -> None:
            states = [each.state for each in await schedule.history()]
            assert states == [JobState.RUNNING, JobState.CANCELLED]

        await eventually(second_runs)
        await queue.cancel((await schedule.refresh()).last_job)


async def test_a_schedule_fires_within_a_tenth_of_a_second(queue: Queue, run_scheduler: RunScheduler) -> None:
    schedule = await queue.schedule(work.add, 1, 2, interval=0.2, schedule_id="s")
    async with run_scheduler() as scheduler:
        await becomes(lambda: scheduler.metrics.count("fired") >= 15)
    late = sorted(firing.late for firing in await schedule.history())
    assert late[len(late) // 2] < 0.1


async def lease_is_free(settings: Settings) -> bool:
    async with Connection(settings) as connection:
        names = connection.names
        return not (await read_document(connection, names.leases_stream, names.lease("scheduler"))).data


async def test_a_scheduler_that_is_cancelled_hands_the_leadership_over(settings: Settings) -> None:
    scheduler = Scheduler(settings=settings)
    task = asyncio.create_task(scheduler.run())
    await becomes(lambda: scheduler.is_leader)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await lease_is_free(settings)


class BoomError(Exception):
    """An error that no part of the scheduler expects."""


@pytest.mark.parametrize("part", [Watch, Sweeper, Lease, Agenda, Connection])
async def test_a_service_that_fails_ends_the_scheduler_loudly_after_handing_over(
    part: type, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_broken = asyncio.Event()

    async def fails(*_: object) -> None:
        await is_broken.wait()
        raise BoomError

    def fails_at_once(*_: object) -> None:
        if is_broken.is_set():
            raise BoomError

    scheduler = Scheduler(settings=settings)
    if part is Watch:
        monkeypatch.setattr(part, "_listen", fails)
    elif part is Lease:
        renew = part._renew

        async def fails_to_renew(lease: Lease) -> None:
            fails_at_once()
            await renew(lease)

        monkeypatch.setattr(part, "_renew", fails_to_renew)
    elif part is Agenda:
        monkeypatch.setattr(part, "next_due", fails_at_once)
    else:
        monkeypatch.setattr(part, "_watch" if part is Connection else "run", fails)
    task = asyncio.create_task(scheduler.run())
    await becomes(lambda: scheduler.is_leader)
    is_broken.set()
    with pytest.raises((BoomError, BrokerUnavailableError)) as raised:
        await asyncio.wait_for(task, 30)
    assert "BoomError" in repr(raised.value)
    assert await lease_is_free(settings)
