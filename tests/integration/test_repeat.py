"""Writes whose answer or request is lost: a refused repeat counts as stored only where our own message lies."""

import dataclasses
from collections.abc import Callable
from datetime import timedelta

import pytest
import pytest_asyncio

from naq_client import Queue
from naq_core import Connection, DuplicateJobError, EnqueueUnknownError, Settings
from naq_core.record import JobRecord, JobState
from naq_core.storage.records import read_record, write_record
from naq_core.storage.topology import ensure_streams
from naq_core.transport.buckets import read_document, write_document
from tests.integration import work
from tests.support.lost import lose_one_answer, lose_one_request

Lose = Callable[[Connection, pytest.MonkeyPatch], list[str]]


@pytest_asyncio.fixture
async def connection(queue: Queue) -> Connection:
    opened = await queue.connection()
    await ensure_streams(opened)
    await queue.purge()
    return opened


async def stored(connection: Connection) -> int:
    """Return how many messages the stream of jobs holds."""
    answer = await connection.api(f"STREAM.INFO.{connection.names.jobs_stream}")
    return int(answer["state"]["messages"])


@pytest.mark.parametrize("lose", [lose_one_answer, lose_one_request])
async def test_a_job_is_new_and_stored_once_whatever_was_lost(
    lose: Lose, queue: Queue, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = lose(connection, monkeypatch)
    job = await queue.enqueue(work.add, 1, 2)
    assert lost
    assert job.is_new
    assert await stored(connection) == 1


@pytest.mark.parametrize("lose", [lose_one_answer, lose_one_request])
async def test_a_batch_is_stored_once_whatever_was_lost(
    lose: Lose, queue: Queue, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = lose(connection, monkeypatch)
    many = await queue.enqueue_many(queue.call(work.add, number) for number in range(5))
    assert lost
    assert many.atomic
    assert await stored(connection) == 5


async def test_somebody_elses_job_is_not_taken_for_one_that_was_lost(
    queue: Queue, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await queue.options(job_id="a").enqueue(work.add, 1, 2)
    lost = lose_one_request(connection, monkeypatch)
    job = await queue.options(job_id="a").enqueue(work.add, 3, 4)
    assert lost
    assert not job.is_new
    assert await stored(connection) == 1


async def test_somebody_elses_job_is_not_taken_for_one_of_a_lost_batch(
    queue: Queue, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    await queue.options(job_id="b").enqueue(work.add, 1, 2)
    lost = lose_one_request(connection, monkeypatch)
    with pytest.raises(DuplicateJobError):
        await queue.enqueue_many(queue.options(job_id=job_id).call(work.add, 3, 4) for job_id in "abc")
    assert lost
    assert await stored(connection) == 1


async def test_somebody_elses_record_or_document_is_not_taken_for_one_that_was_lost(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    ours = JobRecord(state=JobState.RUNNING, job_id="a", queue="default", function="f", worker="one")
    theirs = JobRecord(state=JobState.RUNNING, job_id="a", queue="default", function="f", worker="other")
    assert await write_record(connection, theirs, 0)
    with monkeypatch.context() as patch:
        assert lose_one_request(connection, patch) == []
        assert await write_record(connection, ours, 0) is None
    found = await read_record(connection, "default", "a")
    assert found is not None
    assert found.record.worker == "other"
    subject = connection.names.queue_setting("default")
    assert await write_document(connection, subject, b'{"limit":1}', 0)
    with monkeypatch.context() as patch:
        lost = lose_one_request(connection, patch)
        assert await write_document(connection, subject, b'{"limit":2}', 0) is None
    assert lost
    assert (await read_document(connection, connection.names.queues_stream, subject)).data == b'{"limit":1}'


@pytest.mark.parametrize("lose", [lose_one_answer, lose_one_request])
async def test_a_change_of_a_document_is_known_as_our_own_whatever_was_lost(
    lose: Lose, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    subject = connection.names.queue_setting("default")
    first = await write_document(connection, subject, b"{}", 0)
    assert first is not None
    lost = lose(connection, monkeypatch)
    second = await write_document(connection, subject, b'{"limit":1}', first)
    assert lost
    assert second is not None
    assert await read_document(connection, connection.names.queues_stream, subject) == (b'{"limit":1}', second)


async def test_a_refusal_says_nothing_of_the_try_before_it(
    settings: Settings, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stream refuses the repeat for its size; whether the lost try was stored is as unknown as before."""
    hasty = dataclasses.replace(settings, publish_budget=timedelta(seconds=1))
    async with Queue("default", settings=hasty) as queue:
        await queue.enqueue(work.add, 1, 2)
        mine = await queue.connection()
        config = (await mine.api(f"STREAM.INFO.{mine.names.jobs_stream}"))["config"]
        await mine.api(f"STREAM.UPDATE.{mine.names.jobs_stream}", config | {"max_msg_size": 10})
        lost = lose_one_request(mine, monkeypatch)
        with pytest.raises(EnqueueUnknownError, match="message size exceeds"):
            await queue.enqueue(work.add, 3, 4)
    assert lost


async def test_an_id_that_is_twice_in_a_batch_is_refused(queue: Queue, connection: Connection) -> None:
    with pytest.raises(DuplicateJobError, match="twice"):
        await queue.enqueue_many(queue.options(job_id=job_id).call(work.add, 1) for job_id in ("once", "twice", "twice"))
    assert await stored(connection) == 0
