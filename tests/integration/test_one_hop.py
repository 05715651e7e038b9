"""A result arrives with the event of its job's end: nothing is read, and nothing but a stored record is believed."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from typing import Any

import pytest

from naq_client import Queue, gather
from naq_core import Job, JobRecord, JobState, PermissionDeniedError, Settings, SignatureError, manage
from naq_core.connection import Connection
from naq_core.errors import WrongSequenceError
from naq_core.permissions import Role, inbox_of, role_permissions
from naq_core.record import encode_record
from naq_core.results import sign_result
from naq_core.serialization import JSON
from naq_core.server import EmbeddedServer
from naq_core.storage import end_watch, waiting
from naq_core.storage.events import record_headers
from naq_core.storage.records import read_record, write_record
from tests.conftest import RunWorker
from tests.integration import work
from tests.support.eventually import eventually

KEY = "k" * 32

gates: dict[str, asyncio.Event] = {}
"""What opens the jobs of `wait_at`, which run in the test's process."""


async def wait_at(gate: str, returns: object) -> object:
    await gates[gate].wait()
    return returns


async def fail_once_at(gate: str) -> int:
    await gates[gate].wait()
    return work.fail_until(2)


@pytest.fixture(autouse=True)
def _nobody_looks_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing be read on suspicion: a test that takes longer than a second must not be saved, or disturbed, by that."""
    monkeypatch.setattr(waiting, "FIRST_LOOK", 60.0)
    monkeypatch.setattr(end_watch, "FIRST_LOOK", 60.0)


@contextmanager
def requests_of(connection: Connection, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Note what a connection asks the server."""
    asked: list[str] = []
    post = connection.client.post

    def noting(subject: str, *rest: Any, **more: Any) -> None:
        asked.append(subject)
        post(subject, *rest, **more)

    with monkeypatch.context() as patch:
        patch.setattr(connection.client, "post", noting)
        yield asked


@asynccontextmanager
async def awaited(job: Job[Any], timeout: float = 30) -> AsyncIterator["asyncio.Task[Any]"]:
    """Wait for a job's result, and go on once the server knows of it and has answered that there is none yet."""
    connection = job.connection
    task = asyncio.create_task(job.result(timeout))
    try:
        await eventually(lambda: _assert(connection.ends._own.get((job.queue, job.job_id)) is not None))
        await asyncio.sleep(2 * waiting.LATER)
        await connection.client.flush()
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _assert(what: bool) -> None:
    assert what


def record_of(job: Job[Any], state: JobState = JobState.SUCCEEDED, result: bytes = b"1", **more: Any) -> JobRecord:
    return JobRecord(state=state, job_id=job.job_id, queue=job.queue, result_type=JSON, result=result, worker="w", **more)


async def reads_of(queue: Queue, returns: object, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Wait for two jobs in the two ways, and return what was asked of JetStream from their ends on."""
    gates["read"] = asyncio.Event()
    first, second = [await queue.enqueue(wait_at, "read", returns) for _ in range(2)]
    async with awaited(first) as result:
        together = asyncio.create_task(gather(second))
        await eventually(lambda: _assert(len(first.connection.ends._own) == 2))
        await first.connection.client.flush()
        with requests_of(first.connection, monkeypatch) as asked:
            gates["read"].set()
            assert await result == returns
            assert await together == [returns]
    return [subject for subject in asked if subject.startswith("$JS.API")]


@pytest.mark.parametrize("returns", [7, None, "x" * 20_000])
async def test_a_result_is_not_read(
    queue: Queue, run_worker: RunWorker, monkeypatch: pytest.MonkeyPatch, returns: object
) -> None:
    async with run_worker():
        for _ in range(10):  # on a busy machine the event may overtake the record, which is read then
            if not await reads_of(queue, returns, monkeypatch):
                return
    pytest.fail("each result was read")


@pytest.mark.naq(large_threshold=1000)
async def test_a_large_result_is_fetched_from_the_object_store(queue: Queue, run_worker: RunWorker) -> None:
    gates["large"] = asyncio.Event()
    job = await queue.enqueue(wait_at, "large", "y" * 5000)
    async with awaited(job) as result, run_worker():
        gates["large"].set()
        assert await result == "y" * 5000


async def test_a_retried_job_is_waited_for_until_it_has_ended(queue: Queue, run_worker: RunWorker) -> None:
    gates["retry"] = asyncio.Event()
    job = await queue.options(max_retries=1, retry_delay=0.01).enqueue(fail_once_at, "retry")
    async with awaited(job) as result, run_worker():
        gates["retry"].set()
        assert await result == 2


async def test_the_end_of_an_earlier_run_is_not_the_end(queue: Queue) -> None:
    job = await queue.options(unique="again").enqueue(work.add, 1)
    async with awaited(job) as result:
        revision = await write_record(job.connection, record_of(job, run="an earlier one"), 0)
        assert revision is not None
        assert await write_record(job.connection, record_of(job, run=job.run, result=b"2"), revision) is not None
        assert await result == 2


async def test_a_refused_write_is_not_the_end(queue: Queue) -> None:
    job = await queue.enqueue(work.add, 1)
    connection, names = job.connection, job.connection.names
    async with awaited(job) as result:
        late = record_of(job, result=b'"late"')
        with pytest.raises(WrongSequenceError):  # of a worker whose job was taken over: it has seen another revision
            await connection.publish_once(names.result(job.queue, job.job_id), encode_record(late), record_headers(late, 99))
        await connection.client.flush()
        assert connection.ends._own[job.queue, job.job_id]._writes
        await connection.client.publish(names.result_event(job.queue, job.job_id), headers={"Naq-State": "succeeded"})
        await connection.client.flush()
        assert not result.done()  # the record was read, and is not there
        assert await write_record(connection, record_of(job, result=b'"true"'), 0) is not None
        assert await result == "true"


async def test_of_two_alike_only_the_stored_one_counts(queue: Queue) -> None:
    job = await queue.enqueue(work.add, 1)
    connection, subject = job.connection, job.connection.names.result(job.queue, job.job_id)
    async with awaited(job) as result:
        writes = [record_of(job, result=b"%d" % number) for number in (1, 2)]
        outcomes = await asyncio.gather(
            *(connection.publish_once(subject, encode_record(each), record_headers(each, 0)) for each in writes),
            return_exceptions=True,
        )
        assert [type(each) for each in outcomes] == [int, WrongSequenceError]
        assert await result == 1


async def test_an_end_that_came_before_the_wait_or_unnoticed_is_read(queue: Queue) -> None:
    before, unnoticed = [await queue.enqueue(work.add, 1) for _ in range(2)]
    assert await write_record(before.connection, record_of(before), 0) is not None
    assert await before.result(30) == 1
    async with awaited(unnoticed) as result:
        ends = unnoticed.connection.ends
        ends._own[unnoticed.queue, unnoticed.job_id].stop()  # as while the connection is lost
        assert await write_record(unnoticed.connection, record_of(unnoticed, result=b"3"), 0) is not None
        ends.look_again()
        assert await result == 3


@pytest.mark.naq(signing_key=(KEY,))
@pytest.mark.parametrize("is_signed", [True, False])
async def test_a_result_in_an_event_is_verified_like_any_other(queue: Queue, is_signed: bool) -> None:
    job = await queue.enqueue(work.add, 1)
    record = record_of(job)
    if is_signed:
        sign_result(job.connection, record)
    async with awaited(job) as result:
        assert await write_record(job.connection, record, 0) is not None
        if is_signed:
            assert await result == 1
            return
        with pytest.raises(SignatureError, match="is not signed"):
            await result


RIGHTS = {
    "sees events and reads records": (True, True),
    "sees events only": (True, False),
    "sees records, but no events": (False, True),
}


@pytest.mark.parametrize("name", RIGHTS)
async def test_who_may_not_see_records_is_sent_none(name: str, namespace: str, run_worker: RunWorker) -> None:
    sees_events, reads = RIGHTS[name]
    rights = role_permissions(Role.PRODUCER, namespace, ["default"])
    publish = [each for each in rights.publish if reads or f"GET.KV_{namespace}_results" not in each]
    kept = "event" if sees_events else "$KV"
    subscribe = [each for each in rights.subscribe if kept in each or each.startswith("_INBOX")]
    lists = [", ".join(f'"{subject}"' for subject in subjects) for subjects in (publish, subscribe)]
    user = f"{{ user: p, password: p, permissions: {{ publish: [{lists[0]}], subscribe: [{lists[1]}] }} }}"
    with EmbeddedServer(config=f"authorization {{ users = [ {user}, {{ user: admin, password: a }} ] }}") as server:
        admin = Settings(nats_url=server.url, namespace=namespace, nats_user="admin", nats_password="a")
        producer = replace(admin, nats_user="p", nats_password="p", nats_inbox_prefix=inbox_of(Role.PRODUCER, namespace))
        async with Connection(admin) as connection, Queue(settings=producer) as queue:
            await manage.apply_topology(connection, ["default"])
            gates["rights"] = asyncio.Event()
            jobs = [await queue.enqueue(wait_at, "rights", number) for number in range(2)]
            waits = [asyncio.create_task(job.result(30)) for job in jobs]
            async with run_worker(settings=admin):
                if sees_events and reads:
                    await eventually(lambda: _assert(len(jobs[0].connection.ends._own) == 2))
                    gates["rights"].set()
                    assert await asyncio.gather(*waits) == [0, 1]
                    assert jobs[0].connection.denials.is_refused_below(connection.names.results)
                    return
                gates["rights"].set()
                for error in await asyncio.gather(*waits, return_exceptions=True):
                    assert isinstance(error, PermissionDeniedError)


def test_each_role_that_sees_records_may_read_them_anyway() -> None:
    for role in Role:
        rights = role_permissions(role, "naq", ["mail"])
        if any(subject.startswith("$KV.naq_results.") for subject in rights.subscribe):
            assert "$JS.API.DIRECT.GET.KV_naq_results" in rights.publish, role


async def test_nothing_is_left_of_a_wait(queue: Queue, run_worker: RunWorker) -> None:
    connection = await queue.connection()
    before = len(connection.client._subs), len(connection.client.replies)
    async with run_worker():
        assert await (await queue.enqueue(work.add, 1)).result(30) == 1
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await (await queue.enqueue(work.add, 1)).result()
    assert (len(connection.client._subs), len(connection.client.replies)) == before
    assert await read_record(connection, "default", "nobody") is None
    assert not connection.ends._listeners
