"""Arguments and results that are too large for a message: they take the way through the object store and leave nothing there."""

import contextlib
import hashlib
import os
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import nats
import pytest
import pytest_asyncio

from naq_client import Queue
from naq_core import DuplicateJobError, Job, JobFailedError, JobState, LargePayloadError, PayloadTooLargeError, result_of
from naq_core.connection import Connection
from naq_core.envelope import Large, decode_envelope
from naq_core.manage import cancel_job
from naq_core.server import EmbeddedServer
from naq_core.storage import objects
from naq_core.testing import waiting_jobs
from naq_core.transport.errors import DisconnectedError
from naq_core.transport.streams import count_by_subject, each_message
from tests.conftest import RunWorker
from tests.integration import work
from tests.integration.test_signing import ended
from tests.support.eventually import eventually

THRESHOLD = 10_000
LARGE = os.urandom(700_001)

pytestmark = pytest.mark.naq(large_threshold=THRESHOLD)


@pytest_asyncio.fixture
async def connection(queue: Queue) -> Connection:
    return await queue.connection()


async def kept(connection: Connection) -> set[str]:
    """Return the names of the objects of which anything is left."""
    names = connection.names
    counts = await count_by_subject(connection, names.objects_stream, f"$O.{names.objects}.>")
    return {".".join(subject.split(".")[3:]) for subject in counts}


async def nothing_is_kept(connection: Connection) -> None:
    assert not await kept(connection)


def digest(data: bytes, *more: bytes) -> str:
    return hashlib.sha256(data + b"".join(more)).hexdigest()


def echo(data: bytes) -> bytes:
    return data


async def test_a_pipeline_takes_arguments_that_no_message_holds(queue: Queue, connection: Connection) -> None:
    large = queue.call(echo, bytes(connection.max_payload))
    many = await queue.enqueue_many([large, *(queue.call(work.add, number, number) for number in range(1000))])
    assert not many.atomic
    assert await large.status() is JobState.QUEUED
    assert await kept(connection)


@pytest.mark.parametrize("options", [{}, {"process": True}], ids=["thread", "process"])
async def test_large_arguments_and_results_come_back_by_themselves(
    options: dict[str, bool], queue: Queue, run_worker: RunWorker, connection: Connection
) -> None:
    job = await queue.options(**options).enqueue(echo, LARGE)  # type: ignore[arg-type]
    (message,) = [each async for each in each_message(connection, connection.names.jobs_stream, ">")]
    assert len(message.data) < 1000
    async with run_worker():
        assert await job.result(30) == LARGE
    assert await Job.fetch_result(job.job_id, settings=queue.settings) == LARGE
    record = await job.record()
    assert record is not None
    assert record.large is not None
    assert {record.large.name} <= await kept(connection)
    assert not any(".args." in name for name in await kept(connection)), "arguments end with the job"


@pytest.mark.naq(signing_key=("k" * 32,))
async def test_large_payloads_can_be_signed(queue: Queue, run_worker: RunWorker) -> None:
    job = await queue.enqueue(echo, LARGE)
    async with run_worker():
        assert await job.result(30) == LARGE


@pytest.mark.parametrize("size", [0, THRESHOLD - 200])
async def test_small_jobs_know_nothing_of_the_object_store(
    size: int, queue: Queue, run_worker: RunWorker, connection: Connection
) -> None:
    job = await queue.enqueue(echo, b"x" * size)
    async with run_worker():
        assert await job.result(10) == b"x" * size
    streams = (await connection.api("STREAM.NAMES"))["streams"]
    assert connection.names.objects_stream not in streams


async def test_many_at_once_and_fast_jobs_take_the_same_way(
    queue: Queue, run_worker: RunWorker, connection: Connection, tmp_path: Path
) -> None:
    jobs = [queue.call(digest, LARGE, b"%d" % number) for number in range(5)]
    many = await queue.enqueue_many([*jobs, queue.call(work.add, 1)])
    assert many.atomic
    target = tmp_path / "written"
    await queue.options(fast=True).enqueue(write, str(target), LARGE)
    async with run_worker():
        results = [await job.result(30) for job in many]
        await eventually(lambda: _holds(target, LARGE))
        await eventually(lambda: nothing_is_kept(connection))
    assert results == [*(digest(LARGE, b"%d" % number) for number in range(5)), 1]


def write(path: str, data: bytes) -> None:
    Path(path).write_bytes(data)


def _holds(path: Path, data: bytes) -> None:
    assert path.exists()
    assert path.read_bytes() == data


async def test_other_clients_can_read_the_bucket(queue: Queue, connection: Connection) -> None:
    job = await queue.enqueue(echo, LARGE)
    plain = await nats.connect(queue.settings.nats_url)
    try:
        store = await plain.jetstream().object_store(connection.names.objects)
        (info,) = await store.list()
        assert info.name is not None
        assert info.name.startswith(f"default.{job.job_id}.args.")
        data = (await store.get(info.name)).data
        assert data == job.encode().body
    finally:
        await plain.close()


async def test_retries_keep_the_arguments_and_a_dead_job_too(queue: Queue, run_worker: RunWorker, connection: Connection) -> None:
    retried = await queue.options(max_retries=1, retry_delay=0.05).enqueue(fail_once, LARGE)
    dead = await queue.enqueue(fail_always, LARGE)
    async with run_worker():
        assert await retried.result(30) == len(LARGE)
        with pytest.raises(JobFailedError, match="700001 bytes"):
            await dead.result(30)

        async def only_the_dead_ones() -> None:
            assert {name.split(".")[1] for name in await kept(connection) if ".args." in name} == {dead.job_id}

        await eventually(only_the_dead_ones)


def fail_once(data: bytes) -> int:
    return work.fail_until(2) and len(data)


def fail_always(data: bytes) -> None:
    raise ValueError(f"{len(data)} bytes")


@pytest.mark.parametrize("damage", ["deleted", "changed", "bucket deleted"])
async def test_lost_arguments_make_the_job_dead_with_the_reason(
    damage: str, queue: Queue, run_worker: RunWorker, connection: Connection
) -> None:
    job = await queue.options(max_retries=3).enqueue(echo, LARGE)
    (waiting,) = [each async for each in each_message(connection, connection.names.jobs_stream, ">")]
    large = decode_envelope(waiting.data).large
    assert large is not None
    if damage == "bucket deleted":
        await connection.api(f"STREAM.DELETE.{connection.names.objects_stream}")
    else:
        await objects.remove(connection, large)
    if damage == "changed":
        await connection.publish(connection.names.object_chunks(large.name), os.urandom(large.size)[:120_000])
    async with run_worker():
        record = await eventually(lambda: ended(connection, "default", job.job_id))
    assert (record.state, record.attempt) == (JobState.DEAD, 1)
    assert record.errors[-1].type == "naq_core.errors.LargePayloadError"
    assert ("was changed" if damage == "changed" else "is missing") in record.errors[-1].message


async def test_a_lost_result_is_a_typed_error(queue: Queue, run_worker: RunWorker, connection: Connection) -> None:
    job = await queue.enqueue(work.large, 50_000)
    async with run_worker():
        await job.result(10)
    record = await job.record()
    assert record is not None
    assert record.large is not None
    await objects.remove(connection, record.large)
    with pytest.raises(LargePayloadError, match="is missing"):
        await job.result(10)


async def test_what_is_not_enqueued_leaves_nothing(queue: Queue, connection: Connection) -> None:
    first = await queue.options(job_id="one").enqueue(echo, LARGE)
    before = await kept(connection)
    await queue.options(job_id="one").enqueue(echo, LARGE + b"other")
    with pytest.raises(DuplicateJobError):
        await queue.enqueue_many([queue.options(job_id="one").call(echo, LARGE)])
    assert await kept(connection) == before
    (job,) = await waiting_jobs(connection)
    assert (job.job_id, job.args) == (first.job_id, (LARGE,))


async def test_deleted_and_purged_jobs_take_their_arguments_along_cancelled_ones_can_be_put_back(
    queue: Queue, run_worker: RunWorker, connection: Connection
) -> None:
    dead = await queue.enqueue(fail_always, LARGE)
    async with run_worker():
        await eventually(lambda: ended(connection, "default", dead.job_id))
    cancelled = await queue.enqueue(echo, LARGE)
    await cancel_job(connection, cancelled.job_id)
    for _ in range(3):
        await queue.enqueue(echo, LARGE)
    assert await queue.purge() == 3
    assert {name.split(".")[1] for name in await kept(connection) if ".args." in name} == {dead.job_id, cancelled.job_id}
    await queue.retry(cancelled.job_id)
    async with run_worker():
        assert await cancelled.result(10) == LARGE
    await queue.delete(dead.job_id)
    await queue.delete(cancelled.job_id)
    assert await kept(connection) == set()


async def test_objects_have_a_time_to_live_of_their_own(queue: Queue, run_worker: RunWorker, connection: Connection) -> None:
    """A crash between the object and its job, or after the record, leaves something that the server removes."""
    settings = replace(queue.settings, publish_budget=timedelta(seconds=1))
    job = await queue.options(result_ttl=1).enqueue(work.large, 50_000)
    orphan = await objects.put(connection, "default", "orphan", objects.ARGUMENTS, LARGE, 1)
    async with run_worker(settings=settings):
        assert len(await job.result(10)) == 50_000
    assert await objects.get(connection, orphan) == LARGE
    await eventually(lambda: nothing_is_kept(connection), 15, interval=0.2)


async def test_a_put_that_loses_its_answers_writes_everything_again_under_another_name(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = objects._write
    tried = []

    async def flaky(connection: Connection, large: Large, body: bytes, headers: dict[str, str]) -> None:
        tried.append(large.name)
        if len(tried) == 1:
            await write(connection, large, body[:300_000], headers)
            raise DisconnectedError("lost")
        await write(connection, large, body, headers)

    monkeypatch.setattr(objects, "_write", flaky)
    large = await objects.put(connection, "default", "one", objects.ARGUMENTS, LARGE, 60)
    assert len(set(tried)) == 2
    assert await objects.get(connection, large) == LARGE


@pytest.mark.naq(large_threshold=0)
async def test_without_the_object_store_too_much_is_refused(queue: Queue) -> None:
    with pytest.raises(PayloadTooLargeError):
        await queue.enqueue(echo, b"x" * 2_000_000)


async def test_any_threshold_respects_the_servers_limit(namespace: str) -> None:
    with EmbeddedServer(config="max_payload: 65536") as server:
        async with Queue(nats_url=server.url, namespace=namespace, large_threshold=10**9) as queue:
            job = await queue.enqueue(echo, LARGE)
            (waiting,) = await waiting_jobs(await queue.connection())
            assert (waiting.job_id, waiting.args) == (job.job_id, (LARGE,))


@pytest.mark.naq(signing_key=("k" * 32,))
@pytest.mark.parametrize("process", [False, True])
async def test_children_get_large_results_and_have_large_arguments(process: bool, queue: Queue, run_worker: RunWorker) -> None:
    parent = await queue.enqueue(echo, LARGE)
    child = await queue.options(process=process).enqueue(digest, result_of(parent), LARGE)
    async with run_worker():
        assert await child.result(30) == digest(LARGE, LARGE)


async def test_arguments_of_a_delayed_job_are_kept_so_much_longer(queue: Queue, connection: Connection) -> None:
    settings = queue.settings
    await queue.enqueue_in(timedelta(days=500), echo, LARGE)
    names = connection.names
    answer = await connection.request(f"$JS.API.DIRECT.GET.{names.objects_stream}", b'{"seq":1}')
    kept_for = int((answer.headers or {})["Nats-TTL"].removesuffix("s"))
    assert kept_for == pytest.approx((timedelta(days=500) + settings.large_ttl + settings.dead_ttl).total_seconds(), abs=60)


async def test_a_unique_job_that_is_refused_leaves_nothing(queue: Queue, connection: Connection) -> None:
    await queue.options(unique="one").enqueue(echo, LARGE)
    before = await kept(connection)
    for on_clash in ("refuse", "return"):
        with contextlib.suppress(DuplicateJobError):
            await queue.options(unique="one", on_clash=on_clash).enqueue(echo, LARGE + b"other")
    assert await kept(connection) == before


async def test_a_job_that_waits_for_another_keeps_its_large_arguments(queue: Queue, run_worker: RunWorker) -> None:
    first = await queue.enqueue(work.add, 1)
    second = await queue.options(depends_on=[first]).enqueue(digest, LARGE)
    async with run_worker():
        assert await second.result(20) == digest(LARGE)


@pytest.mark.parametrize("delay", [0, 3600])
async def test_a_job_that_replaces_another_takes_its_arguments_away(delay: float, queue: Queue, connection: Connection) -> None:
    await queue.options(unique="one", delay=delay).enqueue(echo, LARGE)
    before = await kept(connection)
    await queue.options(unique="one", on_clash="replace", delay=delay).enqueue(echo, LARGE + b"other")
    after = await kept(connection)
    assert len(after) == len(before)
    assert not after & before
    (job,) = await waiting_jobs(connection)
    assert job.args == (LARGE + b"other",)


async def test_a_replaced_job_takes_its_arguments_along(queue: Queue, connection: Connection, run_worker: RunWorker) -> None:
    unique = queue.options(unique="k")
    await unique.enqueue(len, LARGE)
    with pytest.raises(DuplicateJobError):
        await unique.enqueue(len, LARGE)
    assert len(await kept(connection)) == 2  # chunks and a description
    await queue.options(unique="k", on_clash="replace", delay=3600).enqueue(len, LARGE)
    assert len(await kept(connection)) == 2
    last = await queue.options(unique="k", on_clash="replace").enqueue(len, LARGE)
    assert len(await kept(connection)) == 2
    async with run_worker():
        assert await last.result(10) == len(LARGE)
        await eventually(lambda: nothing_is_kept(connection))
