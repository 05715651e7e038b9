"""A worker whose records store takes claims and refuses ends: it does not run its backlog in vain."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from naq_client import Queue
from naq_core import Connection, Settings
from tests.conftest import RunWorker
from tests.support.eventually import eventually

SLOTS = 2
JOBS = 20
starts: list[int] = []


@pytest.fixture
def naq_settings(naq_settings: Settings) -> Settings:
    """Give up ends, and deliver their jobs again, soon."""
    soon, sooner = timedelta(seconds=2), timedelta(seconds=0.5)
    return replace(naq_settings, ack_wait=soon, worker_ttl=soon, heartbeat_interval=sooner, publish_budget=sooner)


def make_text(number: int) -> str:
    """Return what makes the record of the end longer than that of the claim."""
    starts.append(number)
    return "x" * 50_000


async def limit_records(connection: Connection, more: int | None) -> None:
    """Let the store take so many bytes more than it has, or any number."""
    stream = connection.names.results_stream
    info = await connection.api(f"STREAM.INFO.{stream}")
    most = -1 if more is None else info["state"]["bytes"] + more
    await connection.api(f"STREAM.UPDATE.{stream}", {**info["config"], "max_bytes": most})


async def test_no_job_begins_while_ends_are_refused(
    settings: Settings, naq_connection: Connection, run_worker: RunWorker, caplog: pytest.LogCaptureFixture
) -> None:
    def given_up() -> int:
        return sum("will be retried on redelivery" in each.getMessage() for each in caplog.records)

    starts.clear()
    async with Queue("default", settings=settings) as queue:
        jobs = await queue.enqueue_many(queue.options(claim="first").call(make_text, number) for number in range(JOBS))
        await limit_records(naq_connection, 40_000)
        async with run_worker(concurrency=SLOTS) as worker:
            await eventually(lambda: given_up() >= SLOTS + 2, 30)
            assert len(starts) <= min(SLOTS + given_up(), JOBS / 2), "at first a job in each slot, later one after the other"
            await limit_records(naq_connection, None)
            assert [await job.result(30) for job in jobs] == ["x" * 50_000] * JOBS
            assert worker.counters.succeeded == JOBS
    assert sorted(set(starts)) == list(range(JOBS))
