"""Which deliveries are certainly the first of their job, so that it may start before it is claimed.

The proof, danger by danger, is in `docs/adr/0046-late-claims.md`.
"""

import asyncio
import logging

from naq_core.decoding import parse_instant
from naq_core.errors import BrokerError
from naq_core.platforms import boottime
from naq_core.storage.connection import Connection
from naq_core.transport.errors import CLIENT_ERRORS

log = logging.getLogger(__name__)

UNKNOWN = float("inf")
UNSERVED = 2.0
"""Seconds before the server is asked again when a consumer was created."""
ROUNDS = 8
"""Round trips made in the time of a lease."""
PATIENCE = 2
"""A round trip that takes longer than so many of the pauses between them shows that the server or the network stood still."""
FRESH = 3
"""For so many pauses after it was sent, an answered round trip proves that deliveries which are read were sent since."""
SETTLED = 1.0
"""Seconds after the server's start in which other workers claim what they have begun; they reconnect every 0.1 s."""


class Freshness:
    """Tells whether the server has sent what is read now a moment ago.

    Deliveries wait in socket buffers while the event loop is blocked or the network stalls, until the server gives their jobs
    to another worker. Answers come in order: what is read after the answer to a ping was sent after the ping.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._pause = connection.settings.ack_wait.total_seconds() / ROUNDS
        self._sent_after = -UNKNOWN
        self._following: asyncio.Task[None] | None = None

    @property
    def is_fresh(self) -> bool:
        """Whether what is read now was sent within the last part of a lease; False while that is not known."""
        return boottime() - self._sent_after < FRESH * self._pause

    def follow(self) -> None:
        """Make round trips from now on, as long as the connection lives."""
        if self._following is None:
            self._following = self._connection.background.start(self._follow(boottime()), "naq-freshness")

    async def _follow(self, asked: float) -> None:
        """Note when the last ping was sent, if it and the one before it were answered promptly.

        A server that stood still may answer pings before it sends deliveries that it had counted before. It can have counted
        none before the first ping, as no job had been asked for.

        Args:
            asked: When the first ping was due, before any job was asked for.
        """
        was_prompt = True
        while True:
            try:
                await self._connection.client.flush(timeout=PATIENCE * self._pause)
            except CLIENT_ERRORS:
                was_prompt = False
            else:
                if was_prompt:
                    self._sent_after = asked
                was_prompt = True
            await asyncio.sleep(self._pause)
            asked = boottime()


class FirstDeliveries:
    """Judges the deliveries of one consumer.

    Args:
        queue: For the log.
        info: The subject, without its prefix, at which the server tells about the consumer.
    """

    def __init__(self, connection: Connection, freshness: Freshness, queue: str, info: str) -> None:
        self._connection = connection
        self._freshness = freshness
        self._queue = queue
        self._info = info
        self._is_on = bool(connection.settings.claim_after) and not connection.signer
        self._last_number = 0
        self._created = UNKNOWN
        """When the consumer was created, by the server's clock: its count of deliveries goes back to then."""
        self._learning: asyncio.Task[None] | None = None
        self._doubts = 0
        self._start = ""

    def begin(self) -> float:
        """Note that the consumer is used from now on, or again after a reconnect.

        Returns:
            For how many seconds no job should be asked for: after a new start of the server, other workers claim what they have
            begun, and what they had from the server before comes as a first delivery once more.
        """
        self.doubt()
        if not self._is_on:
            return 0
        self._freshness.follow()
        before, self._start = self._start, self._connection.client.server_start
        return SETTLED if before not in {"", self._start} else 0

    def doubt(self) -> None:
        """Note that the consumer may have been created again."""
        self._created = UNKNOWN
        self._last_number = 0
        self._doubts += 1

    def is_first(self, delivered: int, number: int, ready_at: float, headers: bytes) -> bool:
        """Return whether nobody can have been given a job before.

        Its message is the first try of a job with a new id, stored since the server has started and since the consumer was
        created, so that the server's count is right; and it was sent a moment ago.

        Args:
            delivered: How often the server has delivered it, by its count.
            number: The place of the delivery among all of the consumer.
            ready_at: When the message was stored.
            headers: Of the message.
        """
        if not self._is_on:
            return False
        if number <= self._last_number:  # the consumer is another one, or has forgotten what it had delivered
            self.doubt()
        self._last_number = number
        mark = self._connection.client.first_mark if delivered == 1 else None
        if mark is None or mark not in headers:
            return False
        if self._created is UNKNOWN and self._learning is None:
            self._learning = self._connection.background.start(self._learn(), f"naq-learn-{self._queue}")
        return ready_at >= self._created and self._freshness.is_fresh

    async def _learn(self) -> None:
        """Ask when the consumer was created."""
        doubts = self._doubts
        try:
            async with self._connection.turns:
                info = await self._connection.api(self._info)
            created = parse_instant(str(info.get("created")))
            if created is not None and doubts == self._doubts:
                self._created = created.timestamp()
        except BrokerError as error:
            log.debug("queue %s: every job is claimed before it starts: %r", self._queue, error)
            await asyncio.sleep(UNSERVED)
        finally:
            self._learning = None
