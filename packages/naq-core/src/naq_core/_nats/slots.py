"""The slots of a limited queue: as many keys as jobs may run at once, each taken by compare-and-set.

Why these and the consumer's own limit: `docs/adr/0012-limits.md`.
"""

import msgspec

from naq_core._nats.connection import Connection
from naq_core._nats.many import read_many
from naq_core._nats.subjects import EXPECTED_SEQUENCE
from naq_core.errors import WrongSequenceError


class Holder(msgspec.Struct, frozen=True, omit_defaults=True):
    """Who has a slot; nobody by default."""

    worker: str = ""
    job_id: str = ""
    at: float = 0.0
    """When it was taken, by the worker's clock, which also stamps its presence."""


class Slot(msgspec.Struct, frozen=True):
    """A slot as it was read or written."""

    number: int
    revision: int
    """To compare-and-set against; 0 where it was never taken."""
    holder: Holder = Holder()

    @property
    def is_free(self) -> bool:
        """Nobody has it."""
        return not self.holder.worker


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Holder).decode


async def read_slots(connection: Connection, queue: str) -> dict[int, Slot]:
    """Read the slots of a queue that were ever taken."""
    names = connection.names
    slots: dict[int, Slot] = {}
    for message in await read_many(connection, names.queues_stream, [names.slot(queue, "*")], names.slot("*", "*")):
        try:
            number = int(message.subject.rsplit(".", 1)[1])
            slots[number] = Slot(number, message.sequence, _decode(message.data))
        except (ValueError, msgspec.DecodeError):
            continue  # not ours
    return slots


async def write_slot(connection: Connection, queue: str, slot: Slot, holder: Holder) -> Slot | None:
    """Give a slot to a holder, or to nobody; None where somebody else was faster.

    Raises:
        BrokerError: It is unknown who has it.
    """
    body = _encode(holder)
    try:
        revision = await connection.publish(
            connection.names.slot(queue, slot.number), body, {EXPECTED_SEQUENCE: str(slot.revision)}
        )
    except WrongSequenceError as error:
        now = (await read_slots(connection, queue)).get(slot.number) if error.repeated else None
        return now if now is not None and now.holder == holder else None  # an earlier try of ours, its answer lost
    return Slot(slot.number, revision, holder)
