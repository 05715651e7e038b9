"""What is broken shows on the overview, in the API and as a metric: one list, the same as that of `naq doctor`."""

import asyncio
import re
from collections import Counter
from datetime import timedelta
from typing import Any

import pytest

from naq_client import Queue
from naq_core.attention import DEAD_RUNS, needs_attention
from naq_core.inspect import list_workers, wait_for_job
from naq_core.record import JobState
from naq_core.schedules import trigger_schedule
from naq_core.storage.connection import Connection
from naq_core.storage.presence import remove_presence
from naq_core.testing import WorkerRunner
from naq_core.transport.client import QuickClient
from naq_scheduler import Scheduler
from tests.dashboard.conftest import Client
from tests.integration import work
from tests.support.clocks import make_late
from tests.support.eventually import eventually


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count what is published, requests to the server among it, by subject."""
    found: Counter[str] = Counter()
    post = QuickClient.post

    def counted(self: QuickClient, subject: str, *rest: Any) -> None:
        found[subject] += 1
        post(self, subject, *rest)

    monkeypatch.setattr(QuickClient, "post", counted)
    return found


async def kinds(client: Client) -> dict[str, dict[str, Any]]:
    return {each["kind"]: each for each in (await client.get("/api/attention")).json()}


async def test_a_queue_that_nobody_serves_and_schedules_that_nobody_fires(
    dashboard: Client, queue: Queue, naq_connection: Connection
) -> None:
    await queue.enqueue(work.add, 1, 1)
    await queue.schedule(work.add, 1, 1, interval=timedelta(hours=1), schedule_id="slow")
    await make_late(naq_connection, "slow", timedelta(minutes=7))
    found = await kinds(dashboard)
    assert found.keys() == {"queue-unserved", "no-worker", "no-leader", "schedule-late"}
    assert found["queue-unserved"]["found"] == "has 1 queued job and no worker serves it"
    assert found["schedule-late"]["since"] is not None
    assert [each.kind for each in await needs_attention(naq_connection)][-1] == "no-worker"  # a warning
    text = (await dashboard.get("/", headers={"Accept": "text/html"})).text
    for each in found.values():
        assert each["advice"].partition(".")[0] in text
    metrics = (await dashboard.get("/metrics")).text
    assert 'naq_attention{kind="no-leader",name="",severity="problem",subject="scheduler"} 1.0' in metrics


async def test_a_schedule_whose_every_run_dies(queue: Queue, naq_worker: WorkerRunner, naq_connection: Connection) -> None:
    failing = queue.options(max_retries=0)
    await failing.schedule(work.fail, "again", interval=0.2, schedule_id="bad")
    await failing.schedule(work.add, 1, interval=0.2, schedule_id="good")

    async def is_told() -> None:
        told = {each.name: each for each in await needs_attention(naq_connection) if each.kind == "schedule-dying"}
        assert told.keys() == {"bad"}
        assert told["bad"].found.startswith("its latest ")
        assert told["bad"].since is not None

    scheduler = Scheduler(settings=queue.settings)
    async with asyncio.TaskGroup() as group, naq_worker.running():
        group.create_task(scheduler.run())
        await eventually(is_told)
        scheduler.stop()


async def test_a_worker_that_vanished_with_a_job(queue: Queue, naq_worker: WorkerRunner, naq_connection: Connection) -> None:
    async with naq_worker.running() as worker:
        job = await queue.enqueue(work.sleep, 30)

        async def is_gone() -> None:
            assert await job.status() is JobState.RUNNING
            await remove_presence(
                naq_connection, worker.worker_id
            )  # as the server does it once no heartbeat has come for a while
            told = {each.kind: each for each in await needs_attention(naq_connection)}
            assert told["worker-gone"].name == worker.worker_id
            assert told["worker-gone"].found == "has vanished with 1 job in progress"

        await eventually(is_gone)
        worker.stop_now()


async def test_the_overview_asks_for_the_queues_once_and_looks_at_no_job_of_a_worker_that_lives(
    dashboard: Client, queue: Queue, naq_worker: WorkerRunner, naq_connection: Connection, asked: Counter[str]
) -> None:
    async with naq_worker.running() as worker:
        jobs = await queue.enqueue_many(queue.call(work.sleep, 30) for _ in range(5))

        async def all_are_told() -> None:
            told = [set(each["running"]) for each in await list_workers(naq_connection)]
            assert told == [{job.job_id for job in jobs}]

        async def no_record_is_read() -> None:
            asked.clear()
            assert "worker-gone" not in {each.kind for each in await needs_attention(naq_connection)}
            assert not asked[f"$JS.API.DIRECT.GET.{naq_connection.names.results_stream}"]

        await eventually(all_are_told)
        await eventually(no_record_is_read)
        asked.clear()
        await dashboard.get("/", headers={"Accept": "text/html"})
        # For the queues, and for jobs that somebody has left.
        assert asked[f"$JS.API.CONSUMER.LIST.{naq_connection.names.jobs_stream}"] == 2
        worker.stop_now()


async def test_a_schedule_is_dying_while_its_next_run_waits(
    queue: Queue, naq_worker: WorkerRunner, naq_connection: Connection
) -> None:
    await queue.options(max_retries=0).schedule(work.fail, "again", interval=timedelta(hours=1), schedule_id="bad")
    async with naq_worker.running():
        for _ in range(DEAD_RUNS):
            await wait_for_job(naq_connection, await trigger_schedule(naq_connection, "bad"))
    await trigger_schedule(naq_connection, "bad")

    async def is_told() -> None:
        told = [each for each in await needs_attention(naq_connection) if each.kind == "schedule-dying"]
        assert [(each.name, each.found) for each in told] == [("bad", f"its latest {DEAD_RUNS} runs died")]

    await eventually(is_told)


async def test_a_signal_that_was_not_sent_while_the_time_of_its_jobs_runs_out(
    dashboard: Client, queue: Queue, naq_connection: Connection
) -> None:
    for name, seconds in (("invoice-7:paid", 1), ("invoice-7:paid", 1), ("token=hunter2", 1), ("invoice-8:paid", 3600)):
        await queue.options(wait_for=name, expires=seconds).enqueue(work.add, 1, 1)

    async def is_due() -> None:
        told = [each for each in await needs_attention(naq_connection) if each.kind == "signal-due"]
        assert {each.name for each in told} == {"invoice-7:paid", "token=hunter2"}
        assert {each.severity for each in told} == {"warning"}

    await eventually(is_due)  # nobody ends them: no worker runs
    told = {
        each["name"]: each["found"] for each in (await dashboard.get("/api/attention")).json() if each["kind"] == "signal-due"
    }
    assert told.keys() == {"invoice-7:paid", "token=•••"}
    assert told["invoice-7:paid"].startswith("was not sent: 2 jobs wait for it; the first expires at ")
    assert told["token=•••"].startswith("was not sent: 1 job waits for it and expires at ")
    text = (await dashboard.get("/", headers={"Accept": "text/html"})).text
    assert "hunter2" not in text
    assert re.search(r'href="/signals">\s*<span class="label">.*?Signals</span>\s*<span class="value">4<', text)
