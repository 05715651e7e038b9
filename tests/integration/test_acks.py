"""How messages of finished jobs leave the stream beside many consumers: on the real server."""

from __future__ import annotations

import asyncio

import pytest

from naq_client import Queue
from naq_core import Settings
from naq_core.server import EmbeddedServer
from naq_core.storage import acks
from naq_core.storage.acks import Acks
from naq_core.storage.connection import Connection
from naq_core.storage.deliveries import Delivery
from naq_core.storage.records import find_job
from naq_worker import Worker
from tests.conftest import RunWorker
from tests.integration import work

MAY_NOT_DELETE = """authorization { users: [
  { user: a, password: a, permissions: { publish: { allow: ">", deny: "$JS.API.STREAM.MSG.DELETE.>" } } }
] }"""


@pytest.fixture
def many(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let one consumer count as many."""
    monkeypatch.setattr(acks, "MANY_CONSUMERS", 1)


async def delivery_of(connection: Connection, queue: str, job_id: str) -> Delivery:
    names = connection.names
    found = await find_job(connection, job_id, queue)
    assert found is not None
    reply = f"$JS.ACK.{names.jobs_stream}.{names.consumer(queue)}.1.{found.sequence}.1.0.0"
    return Delivery(connection, Acks(connection), found.subject, reply, found.data)


@pytest.mark.usefixtures("many")
async def test_beside_many_consumers_messages_are_deleted(queue: Queue, run_worker: RunWorker) -> None:
    connection = await queue.connection()
    names = connection.names
    deleted, all_deleted = 0, asyncio.Event()

    def on_advisory(*_: object) -> None:
        """The server tells so of each message that is deleted after its delivery."""
        nonlocal deleted
        deleted += 1
        if deleted == 50:
            all_deleted.set()

    advisories = f"$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.{names.jobs_stream}.*"
    await connection.client.listen(advisories, on_advisory)
    async with run_worker():
        jobs = await queue.enqueue_many(queue.call(work.add, number) for number in range(50))
        assert [await job.result(30) for job in jobs] == list(range(50))
        await asyncio.wait_for(all_deleted.wait(), 30)
        info = await connection.api(f"CONSUMER.INFO.{names.jobs_stream}.{names.consumer(queue.name)}")
        assert (info["num_pending"], info["num_ack_pending"], info["num_redelivered"]) == (0, 0, 0)
        assert info["ack_floor"]["stream_seq"] == info["delivered"]["stream_seq"] >= 50
        assert (await connection.api(f"STREAM.INFO.{names.jobs_stream}"))["state"]["messages"] == 0


async def test_a_job_that_got_the_sequence_of_another_is_not_deleted(queue: Queue) -> None:
    """Somebody deleted the stream while a job ran; the new stream counts from one again."""
    connection = await queue.connection()
    old = await queue.enqueue(work.add, 1)
    delivery = await delivery_of(connection, queue.name, old.job_id)
    await connection.api(f"STREAM.DELETE.{connection.names.jobs_stream}")
    new = await queue.enqueue(work.add, 2)
    other = await delivery_of(connection, queue.name, new.job_id)
    assert other.sequence == delivery.sequence
    for each in (delivery, other):
        each.acks.deletes = True
    await delivery.ack()
    assert await find_job(connection, new.job_id, queue.name) is not None
    await other.ack()
    assert await find_job(connection, new.job_id, queue.name) is None


@pytest.mark.usefixtures("many")
async def test_who_may_not_delete_acknowledges(namespace: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(acks, "PATIENCE", 600.0)
    with EmbeddedServer(config=MAY_NOT_DELETE) as server:
        settings = Settings.load(nats_url=server.url, namespace=namespace, nats_user="a", nats_password="a")
        async with Queue("default", settings=settings) as queue:
            jobs = [await queue.enqueue(work.add, number) for number in range(3)]
            await Worker(["default"], settings=settings, burst=True).run()
            assert [await job.result(30) for job in jobs] == [0, 1, 2]
            connection = await queue.connection()
            assert (await connection.api(f"STREAM.INFO.{connection.names.jobs_stream}"))["state"]["messages"] == 0
