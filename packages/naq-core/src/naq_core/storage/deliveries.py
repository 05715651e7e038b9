"""A queue's deliveries: one long subscription, overlapping pull requests, every status code handled.

nats-py's `fetch` hides 409s and idles after a leader change, so the requests are our own (`docs/adr/0002-own-pull-loop.md`).
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import msgspec

from naq_core.decoding import whole
from naq_core.errors import BrokerError, JetStreamError
from naq_core.storage.acks import Acks
from naq_core.storage.connection import Connection
from naq_core.storage.first_deliveries import FirstDeliveries, Freshness
from naq_core.storage.subjects import BELL, LIST, NORMAL, PLACE, TURN, WAITS
from naq_core.transport.client import Subscription
from naq_core.transport.errors import CLIENT_ERRORS
from naq_core.transport.headers import parse_headers

log = logging.getLogger(__name__)

HEARTBEAT = 1.0
EXPIRES = 30
"""Heartbeats until a request that nothing came of ends."""
SILENCE = 2.5
"""No message, no heartbeat for so many heartbeats: the request is gone, ask again."""
BACKOFF = 0.2
UNSERVED = 2.0
"""Seconds before the next request where the consumer is missing, or the server cannot say whether it is."""
DRAIN = 1.0
MOST_LOOKS = 100
"""More looks at the parents of a job are not counted: the pause between two grows no more."""


_WAITS = f"\r\n{WAITS}:".encode()
_OF_KEY = b"\r\nNaq-Key-"


class Delivery:
    """One delivered message and the means to settle it."""

    __slots__ = (
        "_connection",
        "ack_subject",
        "acks",
        "bell",
        "data",
        "delivered",
        "is_first",
        "job_id",
        "key",
        "level",
        "listed_at",
        "looks",
        "number",
        "pending",
        "place",
        "queue",
        "ready_at",
        "sequence",
        "subject",
        "turn",
    )

    def __init__(self, connection: Connection, acks: Acks, subject: str, reply: str, data: bytes, headers: bytes = b"") -> None:
        self._connection = connection
        self.acks = acks
        self.looks: int | None = None
        """Of a job whose parents have not been seen to have ended: how often it was looked at. None: it may run."""
        if headers and _WAITS in headers:
            looks = parse_headers(headers).get(WAITS, "0")
            self.looks = min(whole(looks) or 0, MOST_LOOKS)
        self.bell = self.place = self.turn = listed = ""
        """Tokens of keys: of the one whose next jobs are to be started (a bell); of the one in which the job has a place.
        And whether the job was promised a token of its queue's rate."""
        self.listed_at = 0
        """The sequence of the list in which it got its place, if known."""
        if headers and _OF_KEY in headers:
            found = parse_headers(headers)
            self.bell, self.place, self.turn, listed = (found.get(name, "") for name in (BELL, PLACE, TURN, LIST))
        self.is_first = False
        """Nobody can have been given this job before: its message says so, and nothing speaks against it."""
        self.data = data
        self.ack_subject = reply
        tokens = reply.split(".")
        at = 4 if len(tokens) == 9 else 6
        """`$JS.ACK.<stream>.<consumer>.…`, or `$JS.ACK.<domain>.<account>.<stream>.…` (ADR-15)."""
        self.delivered = int(tokens[at])
        self.sequence = int(tokens[at + 1])
        if listed:
            self.listed_at = self.sequence - (whole(listed) or self.sequence)
        self.number = int(tokens[at + 2])
        """Its place among all deliveries of the consumer."""
        self.ready_at = int(tokens[at + 3]) / 1e9
        """When the message was stored, in seconds since the epoch by the server's clock: since then the job could be run."""
        self.pending = int(tokens[at + 4])
        """How many more jobs waited at its delivery."""
        self.subject = subject
        self.level, self.queue, self.job_id = subject.rsplit(".", 3)[1:]
        self.key = self.queue, self.job_id

    async def ack(self) -> None:
        """Done: the server may forget the message. A lost acknowledgement is repaired by the record on re-delivery."""
        await self.acks.settle(self)

    async def nak(self, delay: float = 0) -> None:
        """Hand the message back, to be delivered again after `delay` seconds."""
        verb = b"-NAK" if delay <= 0 else b'-NAK {"delay":%d}' % int(delay * 1e9)
        if not self._connection.is_connected:
            return  # the server forgets in-flight state of a lost connection's pulls by itself: it will deliver again
        try:
            self._connection.client.post(self.ack_subject, verb)
        except CLIENT_ERRORS as error:
            log.warning("cannot return %s to its queue (%s): it will be redelivered", self.job_id, error)


async def ack_all(deliveries: Sequence[Delivery]) -> None:
    """Acknowledge deliveries together: each by itself would wait for the server where messages are deleted."""
    if deliveries and deliveries[0].acks.deletes:
        await asyncio.gather(*(each.ack() for each in deliveries))
        return
    for each in deliveries:
        await each.ack()


class Pull:
    """The pull requests of one level of a queue.

    Args:
        acks: Acknowledges what is delivered.
        freshness: Tells whether deliveries were sent a moment ago.
        on_delivery: Called for each delivery, from the event loop; must not raise.
        on_change: Called when more can be asked for (a request ended); usually sets an event.
        heartbeat: Seconds between two signs of life that the server gives of a request that waits.
    """

    def __init__(
        self,
        connection: Connection,
        acks: Acks,
        freshness: Freshness,
        queue: str,
        on_delivery: Callable[[Delivery], None],
        on_change: Callable[[], None],
        level: str = NORMAL,
        heartbeat: float = HEARTBEAT,
    ) -> None:
        self.queue = queue
        self.level = level
        self.credit = 0
        """Deliveries that were asked for and have not come yet."""
        self.is_empty = False
        """The last `no_wait` request found nothing."""
        self._heartbeat = heartbeat
        self._connection = connection
        self._acks = acks
        self._on_delivery = on_delivery
        self._on_change = on_change
        names = connection.names
        self._next = f"$JS.API.CONSUMER.MSG.NEXT.{names.jobs_stream}.{names.consumer(queue, level)}"
        self._info = f"CONSUMER.INFO.{names.jobs_stream}.{names.consumer(queue, level)}"
        self._inbox = ""
        self._subscription: Subscription | None = None
        self._loop = asyncio.get_running_loop()
        self._seen = 0.0
        self._not_before = 0.0
        self._firsts = FirstDeliveries(connection, freshness, queue, self._info)
        self._checking: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Subscribe; nothing is delivered before `ask`."""
        self._begin()
        self._inbox = self._connection.client.new_inbox()
        self._subscription = await self._connection.client.listen(self._inbox, self._on_message)
        self._connection.on_reconnect(self._forget)

    async def ask(self, count: int, *, no_wait: bool = False) -> None:
        """Ask for `count` more deliveries; with `no_wait` only for what is there now."""
        if count <= 0 or not self._connection.is_connected or self._loop.time() < self._not_before:
            return
        request: dict[str, Any] = {"batch": count}
        if no_wait:
            request["no_wait"] = True
        else:
            request["expires"] = int(EXPIRES * self._heartbeat * 1e9)
            request["idle_heartbeat"] = int(self._heartbeat * 1e9)
        if self.credit == 0:
            self._seen = self._loop.time()
        self.credit += count
        self.is_empty = False
        try:
            await self._connection.client.publish(self._next, msgspec.json.encode(request), reply=self._inbox)
        except CLIENT_ERRORS as error:
            log.debug("pull on %s: %r", self.queue, error)
            self.credit = 0

    def check(self) -> None:
        """Notice a request that died silently; call about once a second."""
        if self.credit > 0 and self._loop.time() - self._seen > SILENCE * self._heartbeat and self._connection.is_connected:
            log.info("no heartbeat on queue %s for %g s; pulling again", self.queue, SILENCE * self._heartbeat)
            self._forget()
            self._look()

    async def stop(self) -> None:
        """End the subscription, after handing on what the server has sent already: nothing is left to wait for its lease.

        It can be started again.
        """
        self.credit = 0
        self._connection.forget_listener(self._forget)
        if self._checking is not None:
            self._checking.cancel()
        if self._subscription is None or self._connection.client.is_closed:
            return
        try:
            async with asyncio.timeout(DRAIN):
                if self._connection.is_connected:
                    _ = await self._subscription.drain()  # type: ignore[no-untyped-call]  # nats-py's has no types
                else:
                    await self._subscription.unsubscribe()
        except (TimeoutError, *CLIENT_ERRORS) as error:
            log.info("queue %s: deliveries in transit will be redelivered (%r)", self.queue, error)

    def _begin(self) -> None:
        if pause := self._firsts.begin():
            self._ask_later(pause)

    def _ask_later(self, seconds: float) -> None:
        """Ask for nothing for a while."""
        self._not_before = self._loop.time() + seconds
        self._loop.call_later(seconds + 0.01, self._on_change)

    def _forget(self) -> None:
        """The server has dropped our requests (reconnect, leader change): start again."""
        self._begin()
        self.credit = 0
        self._seen = self._loop.time()
        self._on_change()

    def _on_message(self, subject: bytes, reply: bytes, data: bytes, header_block: bytes) -> None:
        self._seen = self._loop.time()
        if reply:
            if self.credit > 0:
                self.credit -= 1
            # A subject that is not UTF-8 must not raise: the server stores such messages and would redeliver it without end.
            where, how = subject.decode(errors="replace"), reply.decode(errors="replace")
            delivery = Delivery(self._connection, self._acks, where, how, data, header_block)
            delivery.is_first = self._firsts.is_first(delivery.delivered, delivery.number, delivery.ready_at, header_block)
            self._on_delivery(delivery)
            return
        headers = parse_headers(header_block)
        status = headers.get("Status", "")
        if status == "100":
            return
        description = headers.get("Description", "")
        if status in {"404", "408"} or description == "Batch Completed":
            missing = int(headers.get("Nats-Pending-Messages", "0") or "0")
            self.credit = max(0, self.credit - missing) if missing else 0
            self.is_empty = status == "404"
            self._on_change()
            return
        self._on_trouble(status, description)

    def _on_trouble(self, status: str, description: str) -> None:
        """409 leadership change, shutdown, consumer deleted; 503 no responders: back off, look, ask again."""
        log.info("queue %s: pull ended with %s %s", self.queue, status, description)
        self._firsts.doubt()
        self.credit = 0
        self._ask_later(BACKOFF)
        self._look()

    def _look(self) -> None:
        """Create the consumer again if it was deleted; without it the queue would stand still in silence."""
        if self._checking is None or self._checking.done():
            self._checking = self._connection.background.start(self._check_consumer(), f"naq-check-{self.queue}")

    async def _check_consumer(self) -> None:
        """Ask for the consumer, which creates it again if need be; jobs in flight are delivered again, their claims hold."""
        try:
            async with self._connection.turns:
                await self._connection.api(self._info)
        except BrokerError as error:
            # What is missing and cannot be created has been reported by the keeper, once.
            log.log(logging.DEBUG if isinstance(error, JetStreamError) else logging.WARNING, "queue %s: %s", self.queue, error)
            self._ask_later(UNSERVED)
        else:
            self._on_change()


class ConsumerState(NamedTuple):
    """What the server says of a queue's level."""

    pending: int
    """How many jobs wait."""
    unsettled: int
    """How many are delivered and not settled."""
    is_paused: bool
    newest: int
    """The highest sequence of a message that is or was delivered."""


async def consumer_state(connection: Connection, queue: str, level: str = NORMAL) -> ConsumerState:
    """Ask the server how full a queue's level is."""
    names = connection.names
    info = await connection.api(f"CONSUMER.INFO.{names.jobs_stream}.{names.consumer(queue, level)}")
    delivered = int((info.get("delivered") or {}).get("stream_seq", 0))
    return ConsumerState(int(info["num_pending"]), int(info["num_ack_pending"]), bool(info.get("paused", False)), delivered)
