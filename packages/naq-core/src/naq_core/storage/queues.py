"""What is set for a queue at run time, for all workers: one key per queue."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Annotated

import msgspec

from naq_core.decoding import Decoder, complain
from naq_core.errors import BrokerError, UnreadableError
from naq_core.names import is_queue
from naq_core.queue_policy import QueuePolicy
from naq_core.storage.connection import Connection
from naq_core.storage.slots import decode_holder
from naq_core.storage.subjects import Names
from naq_core.transport.buckets import delete_document, read_document, write_document
from naq_core.transport.client import Msg, Subscription
from naq_core.transport.direct import Entry
from naq_core.transport.errors import CLIENT_ERRORS

log = logging.getLogger(__name__)

PAUSE = 1.0
"""Seconds before settings that could not be read are read again."""


class QueueSettings(msgspec.Struct, frozen=True, omit_defaults=True):
    """A queue's pause and limit; the defaults are those of a queue for which nothing was ever set."""

    paused_until: str = ""
    """RFC 3339; empty: not paused. A time in the past has no effect any more."""
    limit: Annotated[int, msgspec.Meta(ge=1, le=10_000)] | None = None
    """The most jobs that may run at once over all workers."""
    key_limit: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 1
    """The most jobs of one key that may run at once over all workers."""

    rate: str | None = None
    """How many jobs may start in a time over all workers, such as `10/s`."""
    burst: Annotated[int, msgspec.Meta(ge=1, le=10_000)] | None = None
    """How many jobs may start at once after a time in which none did."""
    key_rate: str | None = None
    """How many jobs of one key may start in a time over all workers."""
    key_burst: Annotated[int, msgspec.Meta(ge=1, le=10_000)] | None = None
    """How many jobs of one key may start at once after a time in which none did."""
    weights: dict[str, int] = {}
    """Keys that have so many times the limit of the others."""

    @property
    def policy(self) -> QueuePolicy:
        """The queue's policy."""
        return QueuePolicy(**{name: getattr(self, name) for name in QueuePolicy.__struct_fields__})

    def with_policy(self, policy: QueuePolicy) -> "QueueSettings":
        """Return the settings with another policy."""
        return msgspec.structs.replace(self, **msgspec.structs.asdict(policy))


def _check(settings: QueueSettings) -> None:
    if settings.paused_until:
        datetime.fromisoformat(settings.paused_until)
    _ = settings.policy  # which checks what its parts allow


_encoder = msgspec.json.Encoder()
_decoder = Decoder("the settings of a queue", QueueSettings, check=_check)


def decode_queue_settings(data: bytes, subject: str) -> QueueSettings | None:
    """Return a queue's settings, None of what is unreadable: then nothing counts as set; the server's own pause stays."""
    try:
        return _decoder.decode(data) if data else QueueSettings()
    except UnreadableError as error:
        complain(log, subject, error, "no settings")
        return None


def check_queue_document(names: Names, found: Entry) -> None:
    """Refuse what is neither the settings nor a slot of a queue.

    Raises:
        UnreadableError: It is neither.
    """
    kind, _, rest = found.subject.removeprefix(f"{names.queues}.").partition(".")
    queue, _, number = rest.partition(".")
    if not is_queue(queue) or (kind, bool(number)) not in {("setting", False), ("slot", True)}:
        raise UnreadableError("the settings of a queue", "this key does not belong to a queue")
    if kind == "setting":
        _decoder.decode(found.data)
    else:
        decode_holder(found.data)


async def read_queue_settings(connection: Connection, queue: str) -> QueueSettings:
    """Read a queue's settings from the leader."""
    return (await _read(connection, queue))[0] or QueueSettings()


async def change_queue_settings(
    connection: Connection, queue: str, change: Callable[[QueueSettings], QueueSettings]
) -> QueueSettings:
    """Compare-and-set a queue's settings, again where somebody else was faster, and return the new ones.

    Raises:
        BrokerError: They could not be stored.
    """
    while True:
        old, revision = await _read(connection, queue)
        new = change(old or QueueSettings())
        if new == old:
            return new
        names = connection.names
        subject = names.queue_setting(queue)
        if await write_document(connection, subject, _encoder.encode(new), revision) is not None:
            return new


async def delete_queue_settings(connection: Connection, queue: str) -> None:
    """Delete a queue's settings. The mark of the deletion stays for an hour, see `was_deleted`.

    Raises:
        BrokerError: It is unknown whether they were deleted.
    """
    names = connection.names
    while True:
        _, revision = await _read(connection, queue)
        if await delete_document(connection, names.queues_stream, names.queue_setting(queue), revision):
            return


async def was_deleted(connection: Connection, queue: str) -> bool:
    """Whether a queue was deleted lately and has not been used since."""
    names = connection.names
    found = await read_document(connection, names.queues_stream, names.queue_setting(queue))
    return found.revision > 0 and not found.data


async def revive_queue(connection: Connection, queue: str) -> None:
    """Remove the mark of a queue's deletion: it is used again."""
    if await was_deleted(connection, queue):
        settings, revision = await _read(connection, queue)
        data = _encoder.encode(settings or QueueSettings())
        # Where somebody else was faster, the mark is gone too.
        await write_document(connection, connection.names.queue_setting(queue), data, revision)


class QueueSettingsWatch:
    """Calls a function with the settings of some queues, and again whenever they change, until the connection is closed.

    Args:
        handle: Called with the queue and what is set for it, from the event loop; must not raise.
        on_deleted: Called with a queue that was deleted, likewise.
    """

    def __init__(
        self,
        connection: Connection,
        queues: Sequence[str],
        handle: Callable[[str, QueueSettings], None],
        on_deleted: Callable[[str], None] | None = None,
    ) -> None:
        self._connection = connection
        self._first = queues
        self._handle = handle
        self._on_deleted = on_deleted
        self._subscriptions: dict[str, Subscription] = {}
        self._was_lost = asyncio.Event()

    async def start(self) -> None:
        """Read all settings, and hear of each change from now on.

        Raises:
            BrokerError: They cannot be read.
        """
        self._connection.on_reconnect(self._was_lost.set)
        _ = self._connection.background.start(self._read_after_reconnects(), "naq-settings")
        await self.add(self._first)

    async def add(self, queues: Sequence[str]) -> None:
        """Follow some more queues.

        Raises:
            BrokerError: Their settings cannot be read.
        """
        for queue in queues:
            on_change, subject = partial(self._on_change, queue), self._connection.names.queue_event(queue)
            if queue not in self._subscriptions:
                self._subscriptions[queue] = await self._connection.client.subscribe(subject, cb=on_change)
        for error in (await self._read(queues)).values():
            raise error

    async def remove(self, queue: str) -> None:
        """Follow a queue no longer."""
        if (subscription := self._subscriptions.pop(queue, None)) is not None:
            with suppress(*CLIENT_ERRORS):  # the connection is closed
                await subscription.unsubscribe()

    async def _on_change(self, queue: str, message: Msg) -> None:
        self._handle(queue, decode_queue_settings(message.data, message.subject) or QueueSettings())
        if not message.data and self._on_deleted is not None:
            self._on_deleted(queue)

    async def _read_after_reconnects(self) -> None:
        """Read all settings after each reconnect: a change may have been missed while the connection was lost."""
        while True:
            await self._was_lost.wait()
            self._was_lost.clear()
            failed = await self._read(self._subscriptions)
            while failed and not self._was_lost.is_set():
                queue, error = next(iter(failed.items()))
                log.warning("cannot read the settings of %d queues, such as %s; trying again: %s", len(failed), queue, error)
                await asyncio.sleep(PAUSE)
                failed = await self._read(failed)

    async def _read(self, queues: Iterable[str]) -> dict[str, BrokerError]:
        """Read the settings of some queues and return those that could not be read."""
        failed: dict[str, BrokerError] = {}

        async def read(queue: str) -> None:
            try:
                async with self._connection.turns:
                    settings = await read_queue_settings(self._connection, queue)
            except BrokerError as error:
                failed[queue] = error
            else:
                self._handle(queue, settings)

        await asyncio.gather(*map(read, tuple(queues)))
        return failed


async def _read(connection: Connection, queue: str) -> tuple[QueueSettings | None, int]:
    names = connection.names
    subject = names.queue_setting(queue)
    found = await read_document(connection, names.queues_stream, subject)
    return decode_queue_settings(found.data, subject), found.revision
