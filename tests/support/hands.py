"""One worker's hands without the worker: deliveries, their claims, and what is told the server of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from naq_client import Queue
from naq_core import transitions
from naq_core.envelope import decode_envelope
from naq_core.record import JobRecord
from naq_core.storage.acks import Acks
from naq_core.storage.connection import Connection
from naq_core.storage.deliveries import Delivery, Pull
from naq_core.storage.first_deliveries import Freshness
from naq_core.storage.records import read_record, write_record
from naq_core.storage.topology import ensure_queue
from naq_core.transport.message import Message
from naq_core.transport.streams import read_last
from naq_worker._active import Claim
from tests.integration import work

ME = "me"
"""The id of the worker."""


def nak(seconds: float) -> str:
    """Return what the server is told of a delivery that is to come again after so many seconds."""
    return f'-NAK {{"delay":{int(seconds * 1e9)}}}'


class Hands:
    """Takes jobs of the queue `default` one by one, and hears what becomes of their messages."""

    def __init__(self, queue: Queue, connection: Connection) -> None:
        self.queue, self.connection = queue, connection
        self.said: list[str] = []
        """What the server was told of deliveries: `+ACK`, `-NAK`."""
        self._arrived: asyncio.Queue[Delivery] = asyncio.Queue()
        on_delivery: Callable[[Delivery], None] = self._arrived.put_nowait
        self.pull = Pull(connection, Acks(connection), Freshness(connection), "default", on_delivery, lambda: None)

    async def next(self) -> Delivery:
        """Take the next delivery."""
        await self.pull.ask(1)
        return await self._arrived.get()

    async def take(self, **options: Any) -> Delivery:
        """Enqueue a job and take its delivery; of others, which were handed back before, do nothing."""
        job = await self.queue.options(**options).enqueue(work.add, 1)
        while (delivery := await self.next()).job_id != job.job_id:
            pass
        return delivery

    def record(self, delivery: Delivery, **changes: Any) -> JobRecord:
        """Return the record of a claim of a delivery, with some of its fields changed."""
        envelope = decode_envelope(delivery.data)
        record = transitions.claimed(envelope, delivery.queue, ME, self.connection.clock.now(), delivery.sequence)
        for name, value in changes.items():
            setattr(record, name, value)
        return record

    async def store(self, record: JobRecord) -> Claim:
        """Store a record, over what is there."""
        there = await read_record(self.connection, record.queue, record.job_id)
        revision = await write_record(self.connection, record, 0 if there is None else there.revision)
        assert revision is not None
        return Claim(record, revision, revision)

    async def claim(self, **changes: Any) -> tuple[Delivery, Claim]:
        """Enqueue a job, take its delivery and store its claim, with some of its fields changed."""
        delivery = await self.take()
        return delivery, await self.store(self.record(delivery, **changes))

    async def stored(self, delivery: Delivery) -> tuple[JobRecord, str]:
        """Return the stored record of a job and its time to live; empty for one without an end."""
        found = await read_record(self.connection, delivery.queue, delivery.job_id)
        message = await self.last("results", delivery)
        assert found is not None
        assert message is not None
        return found.record, message.headers.get("Nats-TTL", "")

    async def last(self, place: str, delivery: Delivery) -> Message | None:
        """Return the message of a job on its record's subject, or on a place in the jobs stream."""
        names = self.connection.names
        if place == "results":
            return await read_last(self.connection, names.results_stream, names.result(delivery.queue, delivery.job_id))
        subject = f"{names.jobs}.{place}.{delivery.queue}.{delivery.job_id}"
        return await read_last(self.connection, names.jobs_stream, subject)

    async def heard(self) -> list[str]:
        """Return what the server has been told of deliveries since it was asked last."""
        await self.connection.client.flush()
        said, self.said[:] = list(self.said), []
        return said


@asynccontextmanager
async def open_hands(queue: Queue) -> AsyncIterator[Hands]:
    """Make hands for the queue `default`; give the leases enough time, or jobs come again."""
    connection = await queue.connection()
    await ensure_queue(connection, "default")
    hands = Hands(queue, connection)

    def on_verb(_subject: bytes, _reply: bytes, data: bytes, _headers: bytes) -> None:
        hands.said.append(data.decode())

    listening = await connection.client.listen(f"$JS.ACK.{connection.names.jobs_stream}.>", on_verb)
    await hands.pull.start()
    yield hands
    await hands.pull.stop()
    connection.client.unlisten(listening)
