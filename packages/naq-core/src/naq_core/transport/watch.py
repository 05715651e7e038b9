"""Following a bucket: its present content, then every change.

An ephemeral push consumer delivers them. It answers for nothing itself, so whatever may have been lost (a gap in its count, a
missing heartbeat, a reconnect) makes a new one, which goes on after the last change seen. What was deleted stays there as an
empty document for an hour; a watcher that was away for longer starts over.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any, NamedTuple

from nats.aio.subscription import Subscription

from naq_core.errors import BrokerError
from naq_core.transport.buckets import DELETED_FOR
from naq_core.transport.errors import CLIENT_ERRORS
from naq_core.transport.headers import parse_headers
from naq_core.transport.jetstream import JetStream

log = logging.getLogger(__name__)

HEARTBEAT = 2.0
PATIENCE = 2.5 * HEARTBEAT
PAUSE = 0.25
LONGEST_PAUSE = 5.0


class Change(NamedTuple):
    """A document as it is now; its data is empty where it was deleted."""

    key: str
    """The subject's last token."""
    revision: int
    data: bytes


class Watch:
    """Calls a function with each document of a bucket, and with each change from then on.

    Args:
        stream: The bucket's stream.
        subjects: Which of its subjects.
        on_change: Called from the event loop, in order; a document may come again. It must not raise.
        on_reset: Called before everything is reported again.
    """

    def __init__(
        self,
        connection: JetStream,
        stream: str,
        subjects: str,
        on_change: Callable[[Change], None],
        on_reset: Callable[[], None] = lambda: None,
    ) -> None:
        self.ready = asyncio.Event()
        """Set once the present content was passed on."""
        self._connection = connection
        self._stream = stream
        self._subjects = subjects
        self._on_change = on_change
        self._on_reset = on_reset
        self._last = 0
        """The stream sequence of the last change seen."""
        self._created = ""
        """When the stream was created that it belongs to."""
        self._count = 0
        """How many messages the present consumer has delivered."""
        self._heard_at = 0.0
        self._broken = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    async def run(self) -> None:
        """Follow until cancelled."""
        self._connection.on_reconnect(self._broken.set)
        try:
            pause = PAUSE
            while True:
                began = self._loop.time()
                await self._follow()
                pause = PAUSE if self._loop.time() - began > PATIENCE else min(2 * pause, LONGEST_PAUSE)
                await asyncio.sleep(pause)
        finally:
            self._connection.forget_listener(self._broken.set)

    async def _follow(self) -> None:
        """Make a consumer and listen to it until something is wrong with it."""
        self._broken.clear()
        inbox = self._connection.client.new_inbox()
        subscription: Subscription | None = None
        try:
            self._count = 0
            subscription = await self._connection.client.listen(inbox, self._on_message)
            pending = await self._create_consumer(inbox)
            if pending == 0:
                self.ready.set()
            await self._listen()
        except (BrokerError, *CLIENT_ERRORS) as error:
            log.warning("cannot follow %s: %s", self._subjects, error)
        finally:
            if subscription is not None:
                with contextlib.suppress(Exception):  # of a connection that is gone
                    await subscription.unsubscribe()

    async def _listen(self) -> None:
        self._heard_at = self._loop.time()
        while not self._broken.is_set():
            silent = self._loop.time() - self._heard_at
            if silent > PATIENCE:
                log.warning("no heartbeat of the consumer that follows %s; creating a new one", self._subjects)
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE - silent + 0.01):
                    await self._broken.wait()

    async def _create_consumer(self, inbox: str) -> int:
        """Create the consumer, and return how many messages it will deliver at first."""
        await self._check_stream()
        name = f"naq-watch-{self._connection.client.new_token()}"
        start: dict[str, Any] = {"deliver_policy": "last_per_subject"}
        if self._last:
            start = {"deliver_policy": "by_start_sequence", "opt_start_seq": self._last + 1}
        answer = await self._connection.api(
            f"CONSUMER.CREATE.{self._stream}.{name}.{self._subjects}",
            {
                "stream_name": self._stream,
                "config": {
                    "name": name,
                    "filter_subject": self._subjects,
                    "deliver_subject": inbox,
                    "ack_policy": "none",
                    "mem_storage": True,
                    "num_replicas": 1,
                    "flow_control": True,
                    "idle_heartbeat": int(HEARTBEAT * 1e9),
                    "inactive_threshold": int(60e9),
                    **start,
                },
                "action": "create",
            },
        )
        return int(answer.get("num_pending", 0)) + int(answer.get("delivered", {}).get("consumer_seq", 0)) - self._count

    async def _check_stream(self) -> None:
        """Begin again where the stream is another one, or deletions may have gone unseen."""
        info = await self._connection.api(f"STREAM.INFO.{self._stream}")
        away = self._loop.time() - self._heard_at if self._heard_at else 0.0
        if self._created != info["created"] or self._last > info["state"]["last_seq"] or away > DELETED_FOR / 2:
            self._last = 0
        self._created = info["created"]
        if self._last == 0:
            self._on_reset()

    def _on_message(self, subject: bytes, reply: bytes, data: bytes, block: bytes) -> None:
        self._heard_at = self._loop.time()
        tokens = reply.split(b".")
        if len(tokens) < 9 or tokens[1] != b"ACK":
            self._on_status(reply, block)
            return
        # `$JS.ACK.<stream>.<consumer>.<delivered>.<sequence>.<count>.<time>.<pending>`, with two tokens more in front and
        # one behind for a domain (ADR-15).
        at = 5 if len(tokens) == 9 else 7
        sequence, count, pending = int(tokens[at]), int(tokens[at + 1]), int(tokens[at + 3])
        self._count += 1
        if count != self._count:
            self._broken.set()  # something was lost on the way
            return
        self._last = sequence
        self._on_change(Change(subject.decode(errors="replace").rpartition(".")[2], sequence, data))
        if pending == 0:
            self.ready.set()

    def _on_status(self, reply: bytes, block: bytes) -> None:
        headers = parse_headers(block)
        if headers.get("Status") != "100":
            self._broken.set()  # the consumer was deleted, or its server shuts down
            return
        respond_to = reply.decode(errors="replace") or headers.get("Nats-Consumer-Stalled", "")
        if respond_to:
            self._connection.client.post(respond_to, b"")
        if int(headers.get("Nats-Last-Consumer", self._count)) != self._count:
            self._broken.set()
