"""Jobs that wait for a signal, on the real server with real workers."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, example, given
from hypothesis import settings as configured

from naq_client import Dependency, Queue, SyncQueue, Workflow, chain, current_job, result_of, task
from naq_core import (
    EncodeError,
    InvalidNameError,
    InvalidOptionError,
    Job,
    JobCancelledError,
    JobExpiredError,
    JobState,
    JobStateError,
    NaqError,
    Settings,
)
from naq_core.enqueue.submit import submit_many
from naq_core.errors import InvalidScheduleError
from naq_core.inspect import get_job, waiting_for_signals
from naq_core.manage import delete_job, expire_job, purge_queue, retry_job, run_now, send_signal
from naq_core.sent_signal import SentSignal
from naq_core.storage.messages import moving_headers
from naq_core.storage.records import find_job
from naq_core.storage.signals import store_signal
from naq_core.storage.subjects import WAITS
from naq_core.transport.streams import count_by_subject
from naq_core.unreadable import find_unreadable
from naq_scheduler._metrics import SchedulerMetrics
from naq_scheduler._sweep import Sweeper
from tests.conftest import RunWorker
from tests.integration import work
from tests.integration.test_dependency_interleavings import SCRIPT, begin, fire_timer, gates, place, play, times_ready
from tests.integration.test_sweeps import Leads
from tests.support.eventually import eventually
from tests.support.forms import short_and_long

__all__ = ["gates"]

NAME = "invoice-7:approved"


def answer() -> dict[str, Any]:
    signal = current_job().signal
    return {"name": signal.name, "data": signal.data, "sender": signal.sender}


def look(value: int = 0) -> tuple[int, Any]:
    return value, current_job().signal.data


def send_nothing() -> str:
    try:
        return str(current_job().signal)
    except NaqError as error:
        return str(error)


@task(wait_for=lambda number: f"invoice-{number}:approved")
def book(number: int) -> tuple[int, Any]:
    return number, current_job().signal.data


async def edges(queue: Queue) -> list[str]:
    connection = await queue.connection()
    found = await count_by_subject(connection, connection.names.jobs_stream, f"{connection.names.edges}.>")
    return [subject for subject in found if subject.endswith(".signal")]


async def no_edge_is_left(queue: Queue) -> None:
    async def gone() -> None:
        assert await edges(queue) == []

    await eventually(gone)


async def sent_only(queue: Queue, name: str, data: str = "") -> None:
    """Store a signal as a process does that is killed right after it."""
    connection = await queue.connection()
    assert await store_signal(connection, name, SentSignal(connection.clock.now(), data), 60)


@pytest.mark.parametrize("process", [False, True])
async def test_a_job_starts_when_its_signal_is_sent(queue: Queue, run_worker: RunWorker, process: bool) -> None:
    job = await queue.options(wait_for=NAME, process=process).enqueue(answer)
    async with run_worker():
        assert await (await queue.enqueue(work.add, 1)).result(20) == 1
        assert await job.status() == JobState.HELD
        assert await queue.signal(NAME, {"approved": True}, sender="ada")
        assert await job.result(20) == {"name": NAME, "data": {"approved": True}, "sender": "ada"}
        await no_edge_is_left(queue)


async def test_a_signal_may_come_first_and_the_first_one_counts(queue: Queue, run_worker: RunWorker) -> None:
    assert await queue.signal(NAME, 1)
    assert not await queue.signal(NAME, 2)
    async with run_worker():
        jobs = [await queue.options(wait_for=NAME).enqueue(look, number) for number in range(2)]
        assert [await job.result(10) for job in jobs] == [(0, 1), (1, 1)]
        await no_edge_is_left(queue)


async def test_a_signal_is_for_all_jobs_that_wait_for_it_and_for_no_other(
    queue: Queue, settings: Settings, run_worker: RunWorker
) -> None:
    async with Queue("other", settings=settings) as other:
        jobs = [await each.options(wait_for=NAME).enqueue(look, number) for number, each in enumerate((queue, other, queue))]
        namesake = await queue.options(wait_for=f"{NAME}.2").enqueue(look)
        async with run_worker("default", "other"):
            assert await queue.signal(NAME)
            assert [await job.result(10) for job in jobs] == [(number, None) for number in range(3)]
        assert await namesake.status() is JobState.HELD
        assert [subject.split(".")[2] for subject in await edges(queue)] == [f"signal:{NAME}%2E2"]


async def test_signals_and_jobs_that_come_at_once_find_each_other(queue: Queue, run_worker: RunWorker) -> None:
    async def pair(number: int) -> tuple[int, Any]:
        name = f"n{number}"
        job, _ = await asyncio.gather(queue.options(wait_for=name).enqueue(look, number), queue.signal(name, -number))
        found: tuple[int, Any] = await job.result(20)
        return found

    async with run_worker(concurrency=10):
        assert await asyncio.gather(*map(pair, range(40))) == [(number, -number) for number in range(40)]


async def test_who_dies_after_storing_a_signal_is_followed_by_a_sweep(queue: Queue) -> None:
    job = await queue.options(wait_for=NAME).enqueue(look)
    sweeper = Sweeper(await queue.connection(), Leads(), SchedulerMetrics(), 1.0)
    assert await sweeper.sweep() == {}
    await sent_only(queue, NAME)
    assert await sweeper.sweep() == {"jobs whose parents had ended": 1}
    assert await job.status() is JobState.QUEUED


async def test_who_dies_after_storing_a_signal_is_followed_by_the_servers_timer(
    queue: Queue, run_worker: RunWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("naq_core.storage.edges.FIRST_LOOK", 0.02)
    job = await queue.options(wait_for=NAME).enqueue(look)
    async with run_worker():
        await sent_only(queue, NAME, "kept")
        assert await job.result(20) == (0, "kept")


async def test_who_dies_after_storing_a_signal_may_send_it_again(queue: Queue, run_worker: RunWorker) -> None:
    job = await queue.options(wait_for=NAME).enqueue(look)
    await sent_only(queue, NAME, "first")
    assert not await queue.signal(NAME, "second")
    async with run_worker():
        assert await job.result(20) == (0, "first")


async def one_life(queue: Queue, script: list[tuple[int, bool]], name: str) -> None:
    connection = await queue.connection()
    parent = await queue.enqueue(work.add, 1)
    job = queue.options(wait_for=name).call(work.add, 1)
    both = queue.options(wait_for=name, depends_on=parent).call(work.add, 1)
    actors = [begin("enqueuer", submit_many(connection, [job, both])), begin("sender", send_signal(connection, name, 7))]
    dead = await play(actors, script)
    if "sender" in dead and not dead >= {"enqueuer"}:
        await send_signal(connection, name, 7)
    elif dead:
        await send_signal(connection, name, 7)
        await fire_timer(connection, job)
    if await find_job(connection, job.job_id) is None:
        assert "enqueuer" in dead
        return
    assert (await place(connection, job), await times_ready(connection, job)) == ("normal", 1)
    assert await place(connection, both) == "held"


@short_and_long(15, 2_000)
def test_no_order_of_steps_loses_a_signal(form: int, naq_settings: Settings, gates: None) -> None:
    with asyncio.Runner() as runner:
        queue = Queue("default", settings=naq_settings)
        runner.run(queue.connection())
        names = iter(range(1_000_000))

        @configured(
            max_examples=form,
            deadline=None,
            database=None,
            phases=[Phase.explicit, Phase.generate, Phase.shrink],
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        )
        @example([(0, False), (0, True), (0, False), (0, False), (0, False)])
        @example([(1, False), (1, True), (0, False), (0, False), (0, False)])
        @given(SCRIPT)
        def every_order(script: list[tuple[int, bool]]) -> None:
            runner.run(one_life(queue, script, f"s{next(names)}"))

        try:
            every_order()
        finally:
            runner.run(queue.close())


async def test_a_job_waits_for_its_signal_and_its_parents(queue: Queue, run_worker: RunWorker) -> None:
    parents = [await queue.enqueue(work.add, number) for number in (3, 4)]
    sent, waits = [
        await queue.options(wait_for=name, depends_on=parents[1]).enqueue(look, result_of(parents[0])) for name in ("a", "b")
    ]
    await queue.signal("a")
    assert await sent.status() is JobState.HELD
    async with run_worker():
        assert await sent.result(10) == (3, None)
        assert await waits.status() is JobState.HELD
        await queue.signal("b", "B")
        assert await waits.result(10) == (3, "B")
        await no_edge_is_left(queue)


async def test_a_signal_that_was_acted_upon_may_expire_while_the_job_waits_for_a_parent(
    queue: Queue, run_worker: RunWorker
) -> None:
    connection = await queue.connection()
    parent = await queue.enqueue(work.add, 3)
    job = await queue.options(wait_for=NAME, depends_on=parent).enqueue(work.add, 1)
    reader = await queue.options(wait_for=NAME, depends_on=parent).enqueue(send_nothing)
    await queue.signal(NAME)
    await Sweeper(connection, Leads(), SchedulerMetrics(), 1.0).sweep()
    purge = {"filter": connection.names.signal(NAME)}
    await connection.api(f"STREAM.PURGE.{connection.names.jobs_stream}", purge)
    async with run_worker():
        assert await job.result(10) == 1
        assert await reader.result(10) == f"the data of signal {NAME} has expired: send the signal with a longer ttl"


async def test_a_failed_parent_ends_a_job_that_waits_for_a_signal_too(queue: Queue, run_worker: RunWorker) -> None:
    job = await queue.options(wait_for=NAME, depends_on=await queue.enqueue(work.fail)).enqueue(look)
    async with run_worker():
        with pytest.raises(JobCancelledError, match="parent"):
            await job.result(10)
        await no_edge_is_left(queue)


async def test_a_step_of_a_workflow_waits_for_a_signal(queue: Queue, run_worker: RunWorker) -> None:
    def step(value: int, **options: Any) -> Any:
        return queue.options(**options).s(work.add, value)

    flow = chain(queue.s(work.add, 1), queue.options(wait_for=NAME).s(look), queue.s(work.returned))
    graph = Workflow("gates")
    first = graph.add(step(1))
    gate = graph.add(step(2, wait_for="gate"), depends_on=first)
    graph.add(step(3), depends_on=gate)
    async with run_worker():
        last, handle = await flow.enqueue(queue=queue), await graph.enqueue(queue)
        await queue.signal(NAME, "yes")
        assert await last.result(10) == (1, "yes")
        view = await handle.status()
        assert [job.parents for job in view.jobs] == [[], [first.job_id], [gate.job_id]]
        await queue.signal("gate")
        assert (await handle.wait(10)).counts == {"succeeded": 3}


async def test_a_cancelled_job_waits_again_when_it_is_retried(queue: Queue, run_worker: RunWorker) -> None:
    connection = await queue.connection()
    job = await queue.options(wait_for=NAME, unique="k").enqueue(look)
    await job.cancel("too late")
    assert await job.status() is JobState.CANCELLED
    await retry_job(connection, job.job_id)
    assert await job.status() is JobState.HELD
    async with run_worker():
        await queue.signal(NAME)
        assert await job.result(10) == (0, None)


async def test_a_job_that_gets_no_answer_in_time_expires(queue: Queue, run_worker: RunWorker) -> None:
    connection = await queue.connection()
    late = await queue.options(wait_for=NAME, expires=0.1).enqueue(look)
    swept = await queue.options(wait_for=NAME, expires=3600).enqueue(look)
    after = await queue.options(depends_on=Dependency(late, allow_failure=True)).enqueue(work.add, 5)
    assert await expire_job(connection, swept.job_id, now=connection.clock.now() + 7200)
    async with run_worker():
        assert await after.result(20) == 5
        for job in (late, swept):
            with pytest.raises(JobExpiredError, match=rf"signal {NAME} was not sent in time"):
                await job.result(10)


async def test_jobs_that_wait_are_listed_until_they_do_not(queue: Queue) -> None:
    connection = await queue.connection()
    jobs = [await queue.options(wait_for=f"n{number}", expires=3600).enqueue(look) for number in range(5)]
    parent = await queue.enqueue(work.add, 1)
    await queue.options(depends_on=parent).enqueue(work.add, 1)
    page = await waiting_for_signals(connection)
    assert [(each.job_id, each.signal) for each in page.jobs] == [(job.job_id, f"n{n}") for n, job in enumerate(jobs)]
    assert all(each.expires_at and each.enqueued_at for each in page.jobs)
    few = await waiting_for_signals(connection, 2)
    assert (len(few.jobs), few.has_more) == (2, True)
    assert (await get_job(connection, jobs[0].job_id)).parents == []

    await jobs[0].cancel()
    await delete_job(connection, jobs[1].job_id)
    await expire_job(connection, jobs[2].job_id, now=connection.clock.now() + 7200)
    await queue.signal("n3")
    assert [each.signal for each in (await waiting_for_signals(connection)).jobs] == ["n4"]
    assert len(await edges(queue)) == 5
    await Sweeper(connection, Leads(), SchedulerMetrics(), 1.0).sweep()
    assert len(await edges(queue)) == 1
    assert await purge_queue(connection, "default") > 1
    assert (await waiting_for_signals(connection)).jobs == []
    assert await find_unreadable(connection) == []


async def test_a_job_that_a_worker_is_to_look_at_is_listed_until_its_signal_is_sent(queue: Queue, run_worker: RunWorker) -> None:
    connection = await queue.connection()
    job = await queue.options(wait_for=NAME).enqueue(look)
    message = await find_job(connection, job.job_id)
    assert message is not None
    await connection.publish(
        connection.names.ready("default", job.job_id), message.data, {**moving_headers(connection, message), WAITS: "2"}
    )
    assert [each.job_id for each in (await waiting_for_signals(connection)).jobs] == [job.job_id]
    await queue.signal(NAME)
    assert (await waiting_for_signals(connection)).jobs == []
    async with run_worker():
        assert await job.result(10) == (0, None)


async def test_the_name_may_be_made_of_the_arguments(queue: Queue, settings: Settings, run_worker: RunWorker) -> None:
    strict = Settings.load(nats_url=settings.nats_url, namespace=settings.namespace, job_serializer="json")
    async with Queue("default", settings=strict) as mine:
        job = await mine.enqueue(book, 7)
        with pytest.raises(InvalidOptionError, match=r"wait_for.*does not take the arguments"):
            await mine.options(wait_for=lambda: "x").enqueue(book, 7)
        with pytest.raises(InvalidNameError, match="signal name"):
            await mine.options(wait_for=lambda number: number).enqueue(book, 7)
        async with run_worker(settings=strict):
            await mine.signal(NAME, ["a"])
            assert await job.result(10) == (7, ["a"])


async def test_a_job_without_a_signal_is_told_so(queue: Queue, run_worker: RunWorker) -> None:
    async with run_worker():
        assert "enqueue it with wait_for" in await (await queue.enqueue(send_nothing)).result(10)


async def test_what_cannot_be_is_refused(queue: Queue) -> None:
    connection = await queue.connection()
    names: list[Any] = ["", "a b", ".a", "n" * 129, 7]
    for name in names:
        with pytest.raises(InvalidNameError, match="signal name"):
            queue.options(wait_for=name)
        with pytest.raises(InvalidNameError, match="signal name"):
            await send_signal(connection, name)
    for more in ({"delay": 1}, {"unique": "k", "unique_for": 60}, {"unique": "k", "on_clash": "replace"}):
        with pytest.raises(InvalidOptionError, match="wait_for"):
            await queue.options(wait_for=NAME, **more).enqueue(look)
    with pytest.raises(EncodeError, match="values of JSON"):
        await queue.signal(NAME, object())
    with pytest.raises(InvalidOptionError, match="ttl"):
        await queue.signal(NAME, ttl=0.5)
    with pytest.raises(InvalidScheduleError, match="wait_for"):
        await queue.schedule(book, 1, cron="@daily")
    job: Job[Any] = await queue.options(wait_for=NAME).enqueue(look)
    for act in (run_now, retry_job):
        with pytest.raises(JobStateError, match=f"it is waiting for the signal {NAME}"):
            await act(connection, job.job_id)


def test_code_without_an_event_loop_sends_signals(naq_settings: Settings) -> None:
    with SyncQueue("default", settings=naq_settings) as queue:
        job = queue.options(wait_for=NAME).enqueue(look)
        assert queue.signal(NAME, ttl=60)
        assert job.status() is JobState.QUEUED
