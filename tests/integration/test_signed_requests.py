"""Requests to workers that have a signing key: only a holder of the key is obeyed, and each request once."""

import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import msgspec
import pytest

from naq_client import Queue
from naq_core import JobState, Settings, SignatureError, manage
from naq_core.connection import Connection
from naq_core.inspect import list_workers
from naq_core.manage import quiet_worker, resume_worker, stop_worker
from naq_core.signing import CONTROL
from naq_core.storage.control import FRESH, ControlRequest, _signed, ask_worker
from naq_worker import Worker
from tests.conftest import RunWorker
from tests.integration import work
from tests.support.eventually import eventually

KEY = "k" * 32

pytestmark = pytest.mark.naq(signing_key=(KEY,))

VERBS = ("quiet", "resume", "resize", "stop", "stop_now", "cancel")


async def send(connection: Connection, worker_id: str, data: bytes) -> dict[str, object]:
    answer = await connection.client.request(connection.names.control(worker_id), data, timeout=10)
    return dict(msgspec.json.decode(answer.data))


async def is_present(connection: Connection, worker: Worker) -> None:
    """A worker whose presence can be read answers requests."""
    assert worker.worker_id in {each["worker_id"] for each in await list_workers(connection)}


async def test_a_holder_of_the_key_is_obeyed(queue: Queue, run_worker: RunWorker) -> None:
    connection = await queue.connection()
    async with run_worker() as worker:
        await eventually(lambda: is_present(connection, worker))
        await quiet_worker(connection, worker.worker_id)
        assert worker.state == "quiet"
        await resume_worker(connection, worker.worker_id)
        assert worker.state == "running"


@pytest.mark.parametrize("key", [(), ("f" * 32,)])
async def test_without_the_key_a_worker_cannot_be_stopped(queue: Queue, run_worker: RunWorker, key: tuple[str, ...]) -> None:
    async with run_worker() as worker, Connection(replace(queue.settings, signing_key=key)) as stranger:
        await eventually(partial(is_present, await queue.connection(), worker))
        for verb in (quiet_worker, stop_worker):
            with pytest.raises(SignatureError, match=r"refused|signed with another key"):
                await verb(stranger, worker.worker_id)
        for each in VERBS:
            assert (await send(stranger, worker.worker_id, msgspec.json.encode({"verb": each})))["done"] is False
        assert worker.state == "running"


async def test_a_request_is_of_no_use_elsewhere_later_or_again(queue: Queue, run_worker: RunWorker) -> None:
    connection = await queue.connection()
    async with run_worker() as worker, run_worker() as other:
        for each in (worker, other):
            await eventually(partial(is_present, connection, each))
        quiet = msgspec.json.encode(_signed(connection, worker.worker_id, ControlRequest("quiet")))
        resume = msgspec.json.encode(_signed(connection, worker.worker_id, ControlRequest("resume")))
        first = await send(connection, worker.worker_id, quiet)
        assert (first["done"], worker.state) == (True, "quiet")
        await send(connection, worker.worker_id, resume)
        assert await send(connection, worker.worker_id, quiet) == first, "the same request, whose answer was lost"
        assert worker.state == "running", "and it is not carried out again"

        elsewhere = await send(connection, other.worker_id, quiet)
        assert (elsewhere["done"], other.state) == (False, "running")
        changed = msgspec.structs.replace(msgspec.json.decode(quiet, type=ControlRequest), verb="stop_now")
        assert "refused" in await send(connection, worker.worker_id, msgspec.json.encode(changed))

        old = ControlRequest("quiet", at=time.time() - FRESH - 5, nonce="old")
        signature = connection.signer.sign(CONTROL, (worker.worker_id,), msgspec.json.encode(old))
        signed = msgspec.structs.replace(old, signature=signature)
        late = await send(connection, worker.worker_id, msgspec.json.encode(signed))
        assert "clock" in str(late["refused"])
        assert worker.state == "running"


async def test_an_answer_that_is_not_the_workers_is_not_believed(queue: Queue, settings: Settings) -> None:
    connection = await queue.connection()
    async with Connection(replace(settings, signing_key=())) as impostor:

        async def answer(message: object) -> None:
            await impostor.client.publish(message.reply, b'{"done":true,"state":"quiet"}')  # type: ignore[attr-defined]

        await impostor.client.subscribe(connection.names.control("w-1"), cb=answer)
        await impostor.client.flush()
        with pytest.raises(SignatureError, match="is not signed"):
            await ask_worker(connection, "w-1", ControlRequest("quiet"), patience=0.5)


async def test_a_running_job_is_cancelled_without_the_key_in_its_record_only(
    queue: Queue, run_worker: RunWorker, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    work.started.clear()
    gate = tmp_path / "gate"
    async with run_worker(), Connection(replace(queue.settings, signing_key=())) as operator:
        job = await queue.enqueue(work.hold, gate)
        await work.has_started()
        await manage.cancel_job(operator, job.job_id)
        assert await job.status() is JobState.CANCELLED
        assert "continues until its worker reports" in caplog.text
        gate.touch()


async def test_a_worker_without_keys_obeys_a_signed_request(queue: Queue, run_worker: RunWorker, settings: Settings) -> None:
    async with run_worker(settings=replace(settings, signing_key=())) as worker:
        connection = await queue.connection()
        await eventually(lambda: is_present(connection, worker))
        with pytest.raises(SignatureError, match="is not signed"):  # its answer: the key reaches the workers first
            await quiet_worker(connection, worker.worker_id)
        assert worker.state == "quiet"
