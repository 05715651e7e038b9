"""What is set for a queue at run time, for all workers: one key per queue."""

from collections.abc import Callable

import msgspec

from naq_core._nats.connection import Connection
from naq_core._nats.records import read_last
from naq_core._nats.subjects import EXPECTED_SEQUENCE
from naq_core.errors import DecodeError, WrongSequenceError


class QueueSettings(msgspec.Struct, frozen=True, omit_defaults=True):
    """A queue's pause and limit; the defaults are those of a queue for which nothing was ever set."""

    paused_until: str = ""
    """RFC 3339; empty: not paused. A time in the past has no effect any more."""
    limit: int | None = None
    """The most jobs that may run at once over all workers."""


_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(QueueSettings)


def decode_queue_settings(data: bytes) -> QueueSettings:
    """Read a queue's settings.

    Raises:
        DecodeError: They are not that.
    """
    try:
        return _decoder.decode(data)
    except msgspec.DecodeError as error:
        raise DecodeError(f"not the settings of a queue: {error}") from error


async def read_queue_settings(connection: Connection, queue: str) -> QueueSettings:
    """Read a queue's settings from the leader."""
    return (await _read(connection, queue))[0]


async def change_queue_settings(
    connection: Connection, queue: str, change: Callable[[QueueSettings], QueueSettings]
) -> QueueSettings:
    """Compare-and-set a queue's settings, again where somebody else was faster, and return the new ones.

    Raises:
        BrokerError: They could not be stored.
    """
    while True:
        old, revision = await _read(connection, queue)
        new = change(old)
        if new == old:
            return old
        try:
            await connection.publish(
                connection.names.queue_setting(queue), _encoder.encode(new), {EXPECTED_SEQUENCE: str(revision)}
            )
        except WrongSequenceError:
            continue
        return new


async def _read(connection: Connection, queue: str) -> tuple[QueueSettings, int]:
    names = connection.names
    message = await read_last(connection, names.queues_stream, names.queue_setting(queue))
    return (QueueSettings(), 0) if message is None else (decode_queue_settings(message.data), message.sequence)
