"""What is enqueued, started, ended and redelivered is counted in the server, whoever did it and whatever became of him."""

from __future__ import annotations

import asyncio
import logging
import os
import sys
import time

import pytest

from naq_client import Queue, SyncQueue
from naq_core import JobState, Settings, manage
from naq_core.connection import Connection
from naq_core.metrics import TallyReader
from naq_core.record import JobRecord
from naq_core.storage import tally
from naq_core.storage.records import write_record
from naq_core.storage.subjects import token_of
from naq_core.storage.topology import ensure_streams
from naq_core.testing import WorkerRunner
from tests.integration import work
from tests.support.eventually import eventually

ADD = "tests.integration.work:add"


async def counts_of(connection: Connection, queue: str = "default") -> dict[tuple[str, str], int]:
    reader = TallyReader(queue)
    await reader.refresh(connection)
    return {(each.function.rpartition(":")[2], each.kind): value for each, value in reader.values.items()}


async def has_counted(connection: Connection, **expected: int) -> None:
    """Wait until the server has added what was sent to it: `where__kind=1`, and nothing else of these kinds."""
    wanted = {tuple(each.split("__")): count for each, count in expected.items()}
    kinds = {kind for _, kind in wanted}

    async def counted() -> None:
        assert {key: value for key, value in (await counts_of(connection)).items() if key[1] in kinds} == wanted

    await eventually(counted)


async def test_a_connection_counts_what_it_enqueued_when_it_is_closed(settings: Settings, queue: Queue) -> None:
    async with Queue(settings=settings) as first:
        await first.enqueue(work.add, 1)
        await first.enqueue_in(3600, work.add, 1)
        await first.enqueue("math:sqrt", 4)
    async with Queue(settings=settings) as second:
        await second.enqueue_many([second.call(work.add, each) for each in range(1500)])
        await second.options(unique="a").enqueue(work.fail)
        await second.options(unique="a", on_clash="return").enqueue(work.fail)  # there already
    await has_counted(await queue.connection(), add__enqueued=1502, sqrt__enqueued=1, fail__enqueued=1)


async def test_synchronous_code_counts_too(settings: Settings, queue: Queue) -> None:
    def script() -> None:
        with SyncQueue(settings=settings) as blocking:
            blocking.enqueue(work.add, 1)

    await asyncio.to_thread(script)
    await has_counted(await queue.connection(), add__enqueued=1)


async def test_a_script_that_closes_nothing_is_counted(settings: Settings, queue: Queue) -> None:
    script = "from naq_client import SyncQueue; SyncQueue().enqueue('math:sqrt', 4)"
    environment = {**os.environ, **settings.as_environment()}
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", script, env=environment)
    assert await process.wait() == 0
    await has_counted(await queue.connection(), sqrt__enqueued=1)


async def test_counts_go_out_every_ten_seconds_without_a_job(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tally, "STEP", 0.05)
    monkeypatch.setattr(tally, "EARLY", 0.0)
    await queue.enqueue(work.add, 1)
    await has_counted(await queue.connection(), add__enqueued=1)


async def test_every_outcome_has_its_counter(queue: Queue, naq_worker: WorkerRunner) -> None:
    await queue.enqueue(work.add, 1)
    await queue.options(fast=True).enqueue(work.add, 1)
    await queue.options(max_retries=1).enqueue(work.fail)
    await queue.options(timeout=0.05).enqueue(work.sleep, 30)
    await queue.enqueue(work.control, "cancel")
    waits = await queue.enqueue_in(3600, work.where)
    await manage.cancel_job(await queue.connection(), waits.job_id)
    connection = await queue.connection()
    await connection.publish(connection.names.ready("default", "x"), b"not a job")
    await naq_worker.run_until_idle()
    connection.tally.flush()

    async def counted() -> None:
        found = await counts_of(connection)
        counts = {key: value for key, value in found.items() if not key[1].startswith(("run-", "wait-")) and key[1] != "enqueued"}
        assert counts == {
            ("add", "started"): 2,
            ("add", "succeeded"): 2,
            ("fail", "started"): 2,
            ("fail", "retried"): 1,
            ("fail", "failed"): 1,
            ("sleep", "started"): 1,
            ("sleep", "timed_out"): 1,
            ("control", "started"): 1,
            ("control", "cancelled"): 1,
            ("where", "cancelled"): 1,
            ("?", "dead"): 1,
        }
        runs = {kind: value for (name, kind), value in found.items() if name == "fail" and kind.startswith("run-")}
        assert runs.pop("run-sum") > 0
        assert sum(runs.values()) == 2

    await eventually(counted)


async def test_a_job_that_is_cancelled_while_it_runs_is_counted_once(queue: Queue, naq_worker: WorkerRunner) -> None:
    async with naq_worker.running():
        job = await queue.enqueue(work.sleep, 30)

        async def runs() -> None:
            assert await job.status() is JobState.RUNNING

        await eventually(runs)
        await job.cancel()
    await has_counted(await queue.connection(), sleep__cancelled=1)


async def test_the_wait_begins_when_a_job_can_be_run(queue: Queue, naq_worker: WorkerRunner) -> None:
    late = await queue.enqueue_in(2, work.add, 1)
    child = await queue.options(depends_on=[late]).enqueue(work.where)
    async with naq_worker.running():
        await child.result(timeout=20)
    await has_counted(await queue.connection(), add__succeeded=1, where__succeeded=1)
    counts = await counts_of(await queue.connection())
    for job, function in ((late, "add"), (child, "where")):
        record = await job.record()
        assert record is not None
        waits = {kind: value for (name, kind), value in counts.items() if name == function and kind.startswith("wait-")}
        elapsed = record.started_at - record.enqueued_at
        assert waits.pop("wait-sum") < (elapsed - 1.0) * 1e6, "it waited for its time, not for a worker"
        assert sum(waits.values()) == 1


async def test_a_takeover_counts_as_a_redelivery(queue: Queue, naq_worker: WorkerRunner) -> None:
    job = await queue.enqueue(work.add, 1)
    connection = await queue.connection()
    record = JobRecord(state=JobState.RUNNING, job_id=job.job_id, queue="default", worker="gone", started_at=time.time() - 99)
    await write_record(connection, record, 0)
    await naq_worker.run_until_idle()
    await has_counted(connection, add__redelivered=1, add__succeeded=1)


async def test_nobody_who_may_not_count_is_disturbed(queue: Queue, caplog: pytest.LogCaptureFixture) -> None:
    connection = await queue.connection()
    denied = connection.names.tally("default", token_of(ADD), "enqueued")
    connection.denials.note(Exception(f'permissions violation for publish to "{denied}"'))
    with caplog.at_level(logging.WARNING):
        await queue.enqueue(work.add, 1)
        connection.tally.flush()
    assert not caplog.records
    assert await counts_of(connection) == {}


async def test_what_cannot_be_sent_waits_for_the_connection(queue: Queue) -> None:
    connection = await queue.connection()
    await ensure_streams(connection)
    connection.tally.add("default", "m:f", "enqueued", 3)
    connection.is_connected = False
    connection.tally.flush()
    connection.is_connected = True
    connection.tally.flush()
    await has_counted(connection, f__enqueued=3)


@pytest.mark.parametrize("name", ["", "m:f", "a.b c*>\n\x00é:<lambda>", "x" * 999])
async def test_any_function_has_a_counter(queue: Queue, name: str) -> None:
    connection = await queue.connection()
    await queue.enqueue("math:sqrt", 4)
    connection.tally.add("default", name, "started")
    connection.tally.flush()
    reader = TallyReader()

    async def counted() -> None:
        await reader.refresh(connection)
        assert {each.function for each in reader.values if each.kind == "started"} == {name[:200] or "?"}

    await eventually(counted)
