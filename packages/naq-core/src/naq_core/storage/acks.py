"""How the message of a finished job leaves the jobs stream: by its acknowledgement or, beside many consumers, by deletion.

At each acknowledgement the server asks all consumers of a work-queue stream in turn whether they still need the message. The
deletion of a message costs the same beside one consumer and beside 10,000 (`docs/adr/0041-many-queues.md`).
"""

import asyncio
import logging
from typing import Protocol

import msgspec

from naq_core.decoding import Decoder
from naq_core.errors import BrokerError
from naq_core.storage.connection import Connection
from naq_core.transport.client import Msg
from naq_core.transport.errors import CLIENT_ERRORS

log = logging.getLogger(__name__)

MANY_CONSUMERS = 1000
"""From so many consumers on messages are deleted: an acknowledgement then takes three times as much of the server's time."""
LOOK_INTERVAL = 10.0
"""Seconds after which the consumers are counted again."""
PATIENCE = 5.0
"""Seconds to wait for each of the server's two answers; then the message is acknowledged."""


class _Deletion(msgspec.Struct):
    success: bool = False


_answer = Decoder("the answer to a deletion", _Deletion)


class Delivered(Protocol):
    """What has to be known of a message."""

    ack_subject: str
    subject: str
    sequence: int


class Acks:
    """Lets the server forget the messages of the jobs stream that one connection has worked off. Used from its event loop."""

    def __init__(self, connection: Connection) -> None:
        self.deletes = False
        """Whether messages are deleted: there were many consumers when they were last counted."""
        self._connection = connection
        stream = connection.names.jobs_stream
        self._get, self._delete = f"$JS.API.DIRECT.GET.{stream}", f"$JS.API.STREAM.MSG.DELETE.{stream}"
        self._loop = asyncio.get_running_loop()
        self._look_at = 0.0

    async def count(self) -> None:
        """Count the consumers, to decide how messages leave the stream; where that cannot be done it stays as it is."""
        self._look_at = self._loop.time() + LOOK_INTERVAL
        try:
            info = await self._connection.api(f"STREAM.INFO.{self._connection.names.jobs_stream}", restores=False)
        except BrokerError as error:
            log.debug("the consumers cannot be counted: %s", error)
            return
        self.deletes = info["state"].get("consumer_count", 0) >= MANY_CONSUMERS

    async def settle(self, message: Delivered) -> None:
        """Let the server forget a message.

        Where that fails, or the connection is lost, the message is delivered again, and its record says that it is done.
        """
        if self._loop.time() >= self._look_at:
            self._look_at = self._loop.time() + LOOK_INTERVAL
            _ = self._connection.background.start(self.count(), "naq-count-consumers")
        if not self._connection.is_connected:
            return  # the server forgets in-flight state of a lost connection's pulls by itself: it will deliver again
        if self.deletes and await self._is_deleted(message):
            return
        try:
            self._connection.client.post(message.ack_subject, b"+ACK")
        except CLIENT_ERRORS as error:
            log.warning("cannot acknowledge %s (%s): it will be redelivered", message.subject, error)

    async def _is_deleted(self, message: Delivered) -> bool:
        """Delete a message; return False where it is to be acknowledged.

        A deletion names nothing but a sequence. When the stream was deleted or restored, or the server has lost its end in a
        crash, that may now be the sequence of another job: so the message has to be there still, under its own subject.
        """
        body = b'{"seq":%d,"no_erase":true}' % message.sequence
        try:
            self._connection.denials.check(self._delete)
            found = await self._ask(self._get, b'{"seq":%d}' % message.sequence)
            if (found.headers or {}).get("Nats-Subject") != message.subject:
                return False
            return _answer.decode((await self._ask(self._delete, body)).data).success
        except (BrokerError, TimeoutError, *CLIENT_ERRORS) as error:
            log.debug("cannot delete %s, so it is acknowledged: %r", message.subject, error)
            return False

    async def _ask(self, subject: str, body: bytes) -> Msg:
        """Send a request once: a deletion that is repeated later could meet another message."""
        async with asyncio.timeout(None) as scope:
            with self._connection.denials.interrupting(subject, scope):
                return await self._connection.client.request(subject, body, timeout=PATIENCE)
