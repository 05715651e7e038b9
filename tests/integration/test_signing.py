"""Signed jobs and results: what bears no signature of ours is neither decoded nor run."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from naq_client import Queue
from naq_core import Job, JobFailedError, JobRecord, JobState, Settings, SignatureError, inspect, manage
from naq_core.connection import Connection
from naq_core.envelope import Envelope, encode_envelope
from naq_core.record import encode_record
from naq_core.serialization import PICKLE
from naq_core.signing import Signer
from naq_core.storage.records import read_record
from naq_core.storage.topology import ensure_queue
from naq_core.transport.clock import ServerClock
from naq_core.transport.headers import SCHEDULE, SCHEDULE_TARGET
from naq_core.transport.streams import read_last
from naq_worker import _settle
from tests.conftest import RunWorker
from tests.integration import work
from tests.support.eventually import eventually
from tests.support.hostile import Mark

KEY, OLD_KEY, FOREIGN_KEY = "k" * 32, "o" * 32, "f" * 32

pytestmark = pytest.mark.naq(signing_key=(KEY,))


async def ended(connection: Connection, queue: str, job_id: str) -> JobRecord:
    stored = await read_record(connection, queue, job_id)
    assert stored is not None, "no record"
    assert stored.record.state.is_final, stored.record
    return stored.record


@pytest.mark.parametrize("options", [{}, {"process": True}, {"max_retries": 1}])
async def test_signed_jobs_run_and_their_results_come_back(queue: Queue, run_worker: RunWorker, options: dict[str, bool]) -> None:
    job = await queue.options(**options).enqueue(work.large, 3)  # type: ignore[arg-type]
    many = await queue.enqueue_many([queue.call(work.add, n) for n in range(3)])
    async with run_worker():
        assert await job.result(30) == b"xxx"
        assert [await each.result(10) for each in many] == [0, 1, 2]
    assert await Job.fetch_result(job.job_id, settings=queue.settings) == b"xxx"


def call_of(job_id: str, body: bytes) -> bytes:
    return encode_envelope(Envelope(v=1, id=job_id, fn="builtins:len", ct=PICKLE, body=body, at=time.time()))


Forge = Callable[[bytes, str], bytes]
FORGERIES: dict[str, Forge] = {
    "unsigned": lambda body, _: body,
    "of a foreign key": lambda body, ns: Signer([FOREIGN_KEY], ns).seal(body, "default", "forged"),
    "of another queue": lambda body, ns: Signer([KEY], ns).seal(body, "other", "forged"),
    "of another job": lambda body, ns: Signer([KEY], ns).seal(body, "default", "other"),
    "of another namespace": lambda body, ns: Signer([KEY], f"{ns}x").seal(body, "default", "forged"),
    "of another body": lambda body, ns: Signer([KEY], ns).seal(b"other", "default", "forged")[:36] + body,
}


@pytest.mark.parametrize("process", [False, True])
@pytest.mark.parametrize("name", FORGERIES)
async def test_a_forged_job_is_dead_with_the_reason_and_was_never_unpickled(
    name: str, process: bool, queue: Queue, run_worker: RunWorker, tmp_path: Path
) -> None:
    connection = await queue.connection()
    mark = tmp_path / "mark"
    before = await queue.enqueue(work.add, 1)
    body = call_of("forged", Mark(mark).arguments())
    if process:
        envelope = msgspec.structs.replace(
            msgspec.msgpack.decode(body, type=Envelope), opt=queue.options(process=True)._options.job
        )
        body = encode_envelope(envelope)
    data = FORGERIES[name](body, connection.settings.namespace)
    await connection.publish(connection.names.ready("default", "forged"), data)
    async with run_worker():
        record = await eventually(lambda: ended(connection, "default", "forged"))
        assert await before.result(10) == 1
    assert record.state is JobState.DEAD
    assert record.errors[-1].type == "SignatureError"
    assert "forged" in record.errors[-1].message
    assert not mark.exists()


async def test_the_same_payload_would_have_run_without_a_key(queue: Queue, run_worker: RunWorker, tmp_path: Path) -> None:
    connection = await queue.connection()
    await ensure_queue(connection, "default")
    mark = tmp_path / "mark"
    await connection.publish(connection.names.ready("default", "forged"), call_of("forged", Mark(mark).arguments()))
    async with run_worker(settings=replace(queue.settings, signing_key=())):
        await eventually(lambda: ended(connection, "default", "forged"))
    assert mark.exists()


async def test_keys_can_be_rotated_without_a_pause(settings: Settings, run_worker: RunWorker) -> None:
    old, both = replace(settings, signing_key=(OLD_KEY,)), replace(settings, signing_key=(KEY, OLD_KEY))
    async with Queue(settings=old) as producer, run_worker(settings=both):
        job = await producer.enqueue(work.add, 5)
        with pytest.raises(SignatureError):  # signed with the new key, which this reader has not got yet
            await job.result(10)
        assert await Job.fetch_result(job.job_id, settings=both) == 5


async def test_moves_keep_a_job_valid(queue: Queue, run_worker: RunWorker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_settle, "LONGEST_NAK", 0.0)  # the next attempt comes from the held subject, through the server
    job = await queue.options(max_retries=1, retry_delay=0.1).enqueue(work.fail_until, 2)
    async with run_worker():
        assert await job.result(20) == 2


async def test_an_operator_without_a_key_can_put_a_job_back_and_hurry_one(queue: Queue, run_worker: RunWorker) -> None:
    dead = await queue.enqueue(work.fail_until, 2)
    held = await queue.enqueue_in(3600, work.add, 1)
    unique = await queue.options(unique="one", on_clash="replace", delay=3600).enqueue(work.add, 2)
    replaced = await queue.options(unique="one", on_clash="replace").enqueue(work.add, 3)
    async with run_worker(), Connection(replace(queue.settings, signing_key=())) as operator:
        await eventually(lambda: ended_of(queue, dead.job_id))
        await manage.run_now(operator, held.job_id)
        assert await held.result(10) == 1
        await manage.retry_job(operator, dead.job_id)
        record = await eventually(lambda: _failed_again(queue, dead.job_id))
        assert {error.type for error in record.errors} == {"OSError"}, "it was run, not refused"
        assert await replaced.result(10) == 3, unique
        view = await inspect.get_job(operator, held.job_id)
        assert (view.function, view.arguments) == ("tests.integration.work:add", "1")


async def _failed_again(queue: Queue, job_id: str) -> JobRecord:
    record = await ended_of(queue, job_id)
    assert len(record.errors) == 2
    return record


@pytest.mark.parametrize("state", [JobState.SUCCEEDED, JobState.DEAD])
async def test_a_forged_result_is_never_unpickled(state: JobState, queue: Queue, tmp_path: Path) -> None:
    connection = await queue.connection()
    job = await queue.enqueue(work.add, 1)
    mark = tmp_path / "mark"
    record = JobRecord(state=state, job_id=job.job_id, queue="default", result_type=PICKLE, result=Mark(mark).result())
    subject = connection.names.result("default", job.job_id)
    await connection.publish(subject, encode_record(record))
    with pytest.raises((SignatureError, JobFailedError)):
        await job.result(10)

    # A signature of another result does not help either.
    record.signature = connection.signer.sign("result", ("default", job.job_id), b"\0json\0" + b"1")
    await connection.publish(subject, encode_record(record))
    with pytest.raises((SignatureError, JobFailedError)):
        await Job.fetch_result(job.job_id, settings=queue.settings)
    assert not mark.exists()


async def test_a_result_of_a_worker_without_key_is_refused(queue: Queue, run_worker: RunWorker) -> None:
    job = await queue.enqueue(work.add, 1)
    async with run_worker(settings=replace(queue.settings, signing_key=())):
        with pytest.raises(SignatureError, match="is not signed"):
            await job.result(10)


async def test_fast_jobs_are_verified_too(queue: Queue, run_worker: RunWorker, tmp_path: Path) -> None:
    good, mark = tmp_path / "good", tmp_path / "mark"
    await queue.options(fast=True).enqueue("os:makedirs", str(good))
    unsigned = replace(queue.settings, signing_key=())
    async with Queue(settings=unsigned) as foreign:
        job = await foreign.options(fast=True).enqueue("os:makedirs", str(mark))
    async with run_worker():
        await eventually(lambda: _exists(good))
        record = await eventually(lambda: ended_of(queue, job.job_id))
    assert (record.state, mark.exists()) == (JobState.DEAD, False)


async def ended_of(queue: Queue, job_id: str) -> JobRecord:
    return await ended(await queue.connection(), "default", job_id)


def _ran(path: Path, times: int) -> None:
    assert path.exists()
    assert len(path.read_text(encoding="utf-8").splitlines()) == times


def line(path: str) -> None:
    """Leave a trace of each run."""
    with Path(path).open("a", encoding="utf-8") as file:
        file.write("ran\n")


async def test_a_documented_limit_a_fast_job_can_be_replayed_until_it_expires(
    queue: Queue, run_worker: RunWorker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = await queue.connection()
    names, runs, expired = connection.names, tmp_path / "runs", tmp_path / "expired"
    job = await queue.options(fast=True).enqueue(line, str(runs))
    short = await queue.options(fast=True, expires=60).enqueue(line, str(expired))
    read = {each.job_id: await _message(connection, names.ready("default", each.job_id)) for each in (job, short)}
    async with run_worker():
        await eventually(lambda: _ran(runs, 1))
        await eventually(lambda: _ran(expired, 1))
        await connection.publish(names.ready("default", job.job_id), read[job.job_id])
        await eventually(lambda: _ran(runs, 2))

        real = ServerClock.now
        monkeypatch.setattr(ServerClock, "now", lambda clock: real(clock) + 120)
        await connection.publish(names.ready("default", short.job_id), read[short.job_id])
        record = await eventually(lambda: ended_of(queue, short.job_id))
    assert record.state is JobState.EXPIRED
    _ran(expired, 1)


async def _message(connection: Connection, subject: str) -> bytes:
    found = await read_last(connection, connection.names.jobs_stream, subject)
    assert found is not None
    return found.data


async def test_a_documented_limit_a_deleted_schedule_can_be_put_back_until_the_key_is_rotated(queue: Queue) -> None:
    connection = await queue.connection()
    names = connection.names
    schedule = await queue.schedule(work.add, 1, 2, cron="@daily", schedule_id="s")
    found = await read_last(connection, names.schedules_stream, names.schedule("s"))
    assert found is not None
    await schedule.delete()
    await connection.publish(names.schedule("s"), found.data)
    put_back = await (await queue.get_schedule("s")).trigger()
    assert await put_back.status() is JobState.QUEUED

    async with Queue(settings=replace(queue.settings, signing_key=("n" * 32,))) as rotated:
        with pytest.raises(SignatureError):
            await (await rotated.get_schedule("s")).trigger()


async def test_a_job_copied_into_another_queue_or_id_is_refused(
    queue: Queue, settings: Settings, run_worker: RunWorker, tmp_path: Path
) -> None:
    """As the server's own scheduler would copy it, for who may publish to one queue of a stream only."""
    connection, runs = await queue.connection(), tmp_path / "runs"
    names = connection.names
    async with Queue("secret", settings=settings) as secret:
        await secret.pause()
        job = await secret.enqueue(line, str(runs))
        headers = {
            SCHEDULE: "@at 2020-01-01T00:00:00Z",
            SCHEDULE_TARGET: names.ready("default", "stolen"),
            "Nats-Schedule-Source": names.ready("secret", job.job_id),
        }
        await connection.publish(names.held("default", "stolen"), b"", headers)
        async with run_worker():
            record = await eventually(lambda: ended_of(queue, "stolen"))
    assert record.errors[-1].type == "SignatureError"
    assert not runs.exists()


def _exists(path: Path) -> None:
    assert path.exists()


async def test_deserialize_verifies_as_the_settings_ask(settings: Settings) -> None:
    unsigned = Job(work.add, (1,), job_id="1").serialize()
    sealed = Signer([KEY], settings.namespace).seal(unsigned, "default", "1")

    assert Job.deserialize(sealed, settings=settings).args == (1,)
    for wrong, queue in ((unsigned, "default"), (sealed, "other")):
        with pytest.raises(SignatureError):
            Job.deserialize(wrong, queue=queue, settings=settings)
    keyless = replace(settings, signing_key=())
    assert Job.deserialize(sealed, settings=keyless).args == (1,)
