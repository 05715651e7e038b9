"""What is set for a queue at run time, for all workers: one key per queue."""

import logging
from collections.abc import Callable

import msgspec
from nats.aio.msg import Msg

from naq_core._nats.connection import Connection
from naq_core._nats.documents import read_document, write_document
from naq_core.errors import BrokerError, DecodeError

log = logging.getLogger(__name__)


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
        names = connection.names
        subject = names.queue_setting(queue)
        if await write_document(connection, subject, _encoder.encode(new), revision) is not None:
            return new


async def follow_queue_settings(connection: Connection, queue: str, handle: Callable[[QueueSettings], None]) -> None:
    """Call `handle` with a queue's settings now, and again whenever they change, until the connection is closed.

    Raises:
        BrokerError: They cannot be read.
    """

    async def on_change(message: Msg) -> None:
        try:
            handle(decode_queue_settings(message.data))
        except DecodeError as error:
            log.warning("queue %s: %s", queue, error)

    async def read() -> None:
        try:
            handle(await read_queue_settings(connection, queue))
        except BrokerError as error:
            log.warning("the settings of queue %s are not known: %s", queue, error)

    def read_again() -> None:  # a change may have been missed while the connection was lost
        _ = connection.background.start(read(), f"naq-settings-{queue}")

    await connection.client.subscribe(connection.names.queue_event(queue), cb=on_change)
    connection.on_reconnect(read_again)
    handle(await read_queue_settings(connection, queue))


async def _read(connection: Connection, queue: str) -> tuple[QueueSettings, int]:
    names = connection.names
    found = await read_document(connection, names.queues_stream, names.queue_setting(queue))
    return (decode_queue_settings(found.data) if found.data else QueueSettings()), found.revision
