"""The slots of a limited queue: as many keys as jobs may run at once, each taken by compare-and-set.

Why these and the consumer's own limit: `docs/adr/0012-limits.md`.
"""

import logging

import msgspec

from naq_core.decoding import Decoder, Instant, complain, whole
from naq_core.errors import UnreadableError
from naq_core.storage.connection import Connection
from naq_core.transport.buckets import write_document
from naq_core.transport.direct import Entry
from naq_core.transport.many import read_many
from naq_core.transport.message import Message

log = logging.getLogger(__name__)

MOST = 10_000
"""The highest limit of a queue."""


class Holder(msgspec.Struct, frozen=True, omit_defaults=True):
    """The holder of a slot; by default it is free."""

    worker: str = ""
    job_id: str = ""
    at: Instant = 0.0
    """When it was taken, in the server's time as the worker knows it, which also stamps its presence."""


class Slot(msgspec.Struct, frozen=True):
    """A slot as it was read or written."""

    number: int
    revision: int
    """To compare-and-set against; 0 where it was never taken."""
    holder: Holder = Holder()

    @property
    def is_free(self) -> bool:
        """It is free."""
        return not self.holder.worker


_encode = msgspec.json.Encoder().encode
_decoder = Decoder("the holder of a slot", Holder)


async def read_slots(connection: Connection, queue: str) -> dict[int, Slot]:
    """Read the slots of a queue that were ever taken."""
    names = connection.names
    slots: dict[int, Slot] = {}
    for message in await read_many(connection, names.queues_stream, [names.slot(queue, "*")], names.slot("*", "*")):
        number = whole(message.subject.rpartition(".")[2], MOST)
        if number is not None:
            slots[number] = Slot(number, message.sequence, holder_of(message))
    return slots


def decode_holder(data: bytes) -> Holder:
    """Read who has a slot.

    Raises:
        UnreadableError: It is not that.
    """
    return _decoder.decode(data)


def holder_of(message: Message | Entry) -> Holder:
    """Return who has a slot; one that cannot be read, or was deleted, is free."""
    try:
        return decode_holder(message.data) if message.data else Holder()
    except UnreadableError as error:
        complain(log, message.subject, error, "free")
        return Holder()


async def write_slot(connection: Connection, queue: str, slot: Slot, holder: Holder) -> Slot | None:
    """Give a slot to a holder, or free it; None if another worker was faster.

    Raises:
        BrokerError: It is unknown who has it.
    """
    names = connection.names
    revision = await write_document(connection, names.slot(queue, slot.number), _encode(holder), slot.revision)
    return None if revision is None else Slot(slot.number, revision, holder)


async def delete_slots(connection: Connection, queue: str) -> None:
    """Delete the slots of a queue that nothing runs of."""
    for slot in (await read_slots(connection, queue)).values():
        await write_document(connection, connection.names.slot(queue, slot.number), b"", slot.revision)
