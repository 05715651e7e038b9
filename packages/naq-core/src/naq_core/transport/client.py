"""nats-py's client, made safe against foreign messages and lost transports, and quick on the path of a job.

It overrides nats-py's internals (2.16), as no public hook exists; `tests/integration/test_client.py` pins what it relies on.
"""

import asyncio
import logging
from typing import Any
from urllib.parse import ParseResult, unquote

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.aio.subscription import Subscription
from nats.errors import ProtocolError
from nats.protocol.parser import Parser

from naq_core.errors import EventLoopError
from naq_core.tasks import beside, hide
from naq_core.transport.errors import DisconnectedError
from naq_core.transport.headers import FIRST, parse_headers
from naq_core.transport.lasting import LastingClient
from naq_core.transport.parser import QuickParser
from naq_core.transport.replies import Handler, Replies

__all__ = ["Msg", "QuickClient", "Subscription"]

log = logging.getLogger(__name__)

RECONNECT_PAUSE = 0.1
CLOSE_PATIENCE = 2.0
MANY = 4
"""Messages in a chunk from which on the next one is left to the read loop."""
CONGESTED = 1 << 20
"""Bytes waiting in the transport from which on nats-py's flusher takes over, which waits for the peer to read."""


class Address(ParseResult):
    """A server's address whose user and password are percent-decoded, which nats-py leaves out."""

    @property
    def username(self) -> str | None:
        """The user, or the token where there is no password."""
        found = super().username
        return None if found is None else unquote(found)

    @property
    def password(self) -> str | None:
        """The password."""
        found = super().password
        return None if found is None else unquote(found)


class QuickClient(LastingClient):
    """nats-py's client, without the ways in which a foreign message or uvloop could end its tasks, and with cheaper headers.

    uvloop raises RuntimeError where asyncio has ConnectionResetError, when a transport is written to that has just been reset.
    """

    def __init__(self, *, is_hidden: bool = False) -> None:
        """Prepare a client.

        Args:
            is_hidden: Its tasks continue until `close`, even if all tasks of the event loop are cancelled.
        """
        super().__init__()
        self._is_hidden = is_hidden
        self._handlers: dict[int, Handler] = {}
        self._quick = QuickParser(self, self._handlers)
        self._ps: Parser = self._quick
        self._is_write_due = False
        self._own_loop = asyncio.get_running_loop()
        self.replies = Replies(self)
        """The requests that wait for answers."""
        self._domain: str | None = None
        """The JetStream domain that answers here; None while it is not known."""
        self._start_info: dict[str, Any] | None = None
        self._start, self._first_mark = "", b""

    @staticmethod
    def _parse_server_uri(connect_url: str) -> ParseResult:
        return Address(*LastingClient._parse_server_uri(connect_url))  # noqa: SLF001

    @property
    def server_version(self) -> str:
        """The version of the server it is connected to; a class of nats-py's hides the text."""
        return str(self._server_info.get("version", ""))

    @property
    def server_id(self) -> str:
        """The id of that server, new at each of its starts; nats-py shows it nowhere."""
        return str(self._server_info.get("server_id", ""))

    @property
    def server_facts(self) -> dict[str, Any]:
        """What that server says of itself."""
        return dict(self._server_info)

    @property
    def is_clustered(self) -> bool:
        """Whether that server is one of a cluster."""
        return bool(self._server_info.get("cluster"))

    def note_domain(self, domain: str) -> None:
        """Take note of the JetStream domain that answers; empty where it has no name."""
        self._domain, self._start_info = domain, None

    @property
    def server_start(self) -> str:
        """What tells one start of the server that keeps the streams from the next one; empty where that is not known.

        A cluster keeps a stream on a server that may start again while this connection stays. So may a leaf node's hub.
        """
        if self._server_info is not self._start_info:  # nats-py makes a new one at each connect
            self._start_info = info = self._server_info
            is_known = info.get("jetstream") and not info.get("cluster") and info.get("domain", "") == self._domain
            self._start = str(info["server_id"])[-10:] if is_known else ""
            self._first_mark = f"\r\n{FIRST}: {self._start}\r\n".encode() if is_known else b""
        return self._start

    @property
    def first_mark(self) -> bytes | None:
        """The header line by which a message says that it was sent as a first try to this start of the server."""
        return self._first_mark if self.server_start else None

    def new_token(self) -> str:
        """Return a unique text, for the name of something short-lived."""
        return self._nuid.next().decode()

    async def listen(self, subject: str, handler: Handler) -> Subscription:
        """Subscribe with a plain function, called as the message is read: no queue, no task, no message object."""
        if self.is_closed:
            raise nats.errors.ConnectionClosedError
        self._sid += 1
        subscription = Subscription(self, self._sid, subject, cb=_ignore)  # never started, so it has no task
        self._subs[self._sid] = subscription  # from here a reconnect subscribes it again
        self._handlers[self._sid] = handler
        self._send_soon(b"SUB %b  %d\r\n" % (subject.encode(), self._sid))  # the server ignores a second one
        return subscription

    def unlisten(self, subscription: Subscription) -> None:
        """End what `listen` began; nothing is waited for."""
        sid = subscription._id  # noqa: SLF001 - nats-py keeps its tables by it
        if self._subs.get(sid) is not subscription:
            return
        self._remove_sub(sid)
        if self.is_connected:
            self._send_soon(b"UNSUB %d\r\n" % sid)

    @property
    def is_reading(self) -> bool:
        """Whether answers can still arrive; at the end of an event loop its tasks are cancelled before connections close."""
        return self._reading_task is not None and not self._reading_task.done()

    def check_loop(self) -> None:
        """Refuse another event loop than that of the connection, before anything is sent.

        Raises:
            EventLoopError: It is another one.
        """
        if asyncio.get_running_loop() is not self._own_loop:
            raise EventLoopError

    def _send_soon(self, command: bytes) -> None:
        if asyncio.get_running_loop() is not self._own_loop:
            raise EventLoopError
        self._pending.append(command)
        self._pending_data_size += len(command)
        if not self._is_write_due:
            self._is_write_due = True
            self._own_loop.call_soon(self._write_pending)

    async def take_other(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        """Let nats-py take a message that has no listener."""
        await self._process_msg(sid, subject, reply, data, headers)

    def _remove_sub(self, sid: int, max_msgs: int = 0) -> None:
        self._handlers.pop(sid, None)
        super()._remove_sub(sid, max_msgs)

    async def publish(self, subject: str, payload: bytes = b"", reply: str = "", headers: dict[str, str] | None = None) -> None:
        """Publish as `post` does, and wait for the peer where too much is pending."""
        self.post(subject, payload, reply, headers)
        if self.is_full:
            await self.relieve()

    async def relieve(self) -> None:
        """Wait until what is pending has been written; a transport that is gone is an OSError."""
        try:
            await self._flush_pending(force_flush=True)
        except (RuntimeError, AttributeError) as error:
            raise ConnectionResetError(str(error)) from error

    @property
    def is_full(self) -> bool:
        """Whether more is pending than should be."""
        return self._pending_data_size > self._max_pending_size

    def post(self, subject: str, payload: bytes, reply: str = "", headers: dict[str, str] | None = None) -> None:
        """Publish without waiting, and without nats-py's checks of each subject and header: ours are made of checked names.

        It is written at the end of this turn of the event loop, or after the reconnect.

        Raises:
            nats.errors.Error: It was not sent: closed, too large, or the buffer of a lost connection is full.
        """
        size = len(payload)
        if self._status != Client.CONNECTED:
            if self.is_closed:
                raise nats.errors.ConnectionClosedError
            if not self.is_draining and size + self._pending_data_size > self._max_pending_size:
                raise nats.errors.OutboundBufferLimitError
        if size > self._max_payload:
            raise nats.errors.MaxPayloadError
        if headers:
            lines = "\r\n".join(map(": ".join, headers.items()))
            block = f"NATS/1.0\r\n{lines}\r\n\r\n".encode()
            command = b"HPUB %b %d %d\r\n%b%b\r\n" % (
                f"{subject} {reply}".encode(),
                len(block),
                len(block) + size,
                block,
                payload,
            )
        else:
            command = b"PUB %b %d\r\n%b\r\n" % (f"{subject} {reply}".encode(), size, payload)
        self._send_soon(command)

    def _write_pending(self) -> None:
        """Write what this turn of the event loop has published, in one go."""
        self._is_write_due = False
        if not self._pending or not self.is_connected or self._transport is None:
            return
        if self._backlog() < CONGESTED:
            try:
                self._transport.writelines(self._pending)
            except (OSError, RuntimeError, AttributeError) as error:
                log.debug("writing failed (%r); the flusher will reconnect", error)
            else:
                self._pending = []
                self._pending_data_size = 0
                return
        if self._flush_queue is not None and self._flush_queue.empty():
            self._flush_queue.put_nowait(asyncio.get_running_loop().create_future())

    async def request(
        self,
        subject: str,
        payload: bytes = b"",
        timeout: float = 0.5,
        old_style: bool = False,
        headers: dict[str, str] | None = None,
    ) -> Msg:
        """Ask and wait for one answer.

        nats-py waits with `asyncio.wait_for`, which in Python 3.11 swallows a cancellation that comes with the answer: a
        caller with a time-out would then wait without end.

        Raises:
            nats.errors.NoRespondersError: There is no subscriber. nats.errors.TimeoutError: There was no answer.
            nats.errors.ConnectionReconnectingError: The connection was lost.
        """
        del old_style
        try:
            return await self.replies.ask(subject, payload, self._answer_handler, timeout=timeout, headers=headers)
        except DisconnectedError:
            raise nats.errors.ConnectionReconnectingError from None
        except TimeoutError as error:
            if isinstance(error, nats.errors.Error):
                raise
            raise nats.errors.TimeoutError from None

    def _answer_handler(self, future: "asyncio.Future[Msg]") -> Handler:
        def on_answer(subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
            parsed = parse_headers(headers)
            if parsed.get("Status") == "503":
                future.set_exception(nats.errors.NoRespondersError())
            else:
                future.set_result(self._build_message(0, subject, reply, data, parsed or None))

        return on_answer

    async def flush(self, timeout: float = 10) -> None:
        """Make a round trip; a transport that is gone is an OSError. Not with `asyncio.wait_for`, as in `request`.

        Raises:
            nats.errors.FlushTimeoutError: No answer within `timeout` seconds.
        """
        if self.is_closed:
            raise nats.errors.ConnectionClosedError
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(timeout):
                await self._send_ping(future)
                await future
        except TimeoutError:
            raise nats.errors.FlushTimeoutError from None
        except (RuntimeError, AttributeError) as error:
            raise ConnectionResetError(str(error)) from error

    async def close(self) -> None:
        """Close, within two seconds: nats-py waits for its reconnecting task, whose cancellation may have been swallowed."""
        async with beside(super().close(), "naq-close-client") as closing:
            await asyncio.wait([closing], timeout=CLOSE_PATIENCE)
        if not closing.cancelled() and (error := closing.exception()) is not None:
            log.debug("closing failed: %r", error)

    def _hide_this_task(self) -> None:
        task = asyncio.current_task()
        if self._is_hidden and task is not None:
            hide(task)

    async def _read_loop(self) -> None:
        self._hide_this_task()
        self._read_at_once()
        await super()._read_loop()

    def _read_at_once(self) -> None:
        """Hand messages to their listeners as they are read, without waking the read loop, a turn of the event loop later.

        The loop takes what it has to await, and all that comes until it is through with that, so that the order stays. It also
        takes what comes while there is much: what gathers in that turn is worked off, and answered, together.
        """
        reader = getattr(self._transport, "_io_reader", None)
        if reader is None:
            return
        feed, parser = reader.feed_data, self._quick

        def feed_data(data: bytes) -> None:
            self.received += len(data)
            # Where the loop waits for it, it has taken all before.
            if parser.taken < MANY and reader._waiter is not None:  # noqa: SLF001
                try:
                    data = parser.take(data)
                except ProtocolError as error:
                    reader.set_exception(error)
                    return
            if data:
                feed(data)

        reader.feed_data = feed_data

    async def _flusher(self) -> None:
        self._hide_this_task()
        await super()._flusher()

    async def _ping_interval(self) -> None:
        self._hide_this_task()
        await super()._ping_interval()

    async def _send_ping(self, future: "asyncio.Future[Any] | None" = None) -> None:
        """Send what is pending first: nats-py's ping overtakes it, so a flush answered for commands not yet sent."""
        if self._pending and self._transport is not None and self.is_connected:
            self._transport.writelines(self._pending)
            self._pending = []
            self._pending_data_size = 0
        await super()._send_ping(future)

    async def _process_pong(self) -> None:
        """Take an answer to a ping whose sender has given up: nats-py's read loop would end on it."""
        if self._pongs and self._pongs[0].done():
            self._pongs[0] = asyncio.get_running_loop().create_future()
        await super()._process_pong()

    async def _attempt_reconnect(self) -> None:
        """Reconnect without end: otherwise an unforeseen error ends the task, and the connection never comes back."""
        self._hide_this_task()
        while not self.is_closed:
            try:
                await super()._attempt_reconnect()
            except (RuntimeError, AttributeError) as error:
                log.info("reconnecting failed (%r); trying again", error)
                self._status = Client.RECONNECTING
                await asyncio.sleep(RECONNECT_PAUSE)
            else:
                return

    async def _process_headers(self, headers: bytes | None) -> dict[str, str] | None:
        """Return the headers; nats-py's parser stood out in a profile of the drain, and may raise."""
        return parse_headers(headers) or None

    def _build_message(self, sid: int, subject: bytes, reply: bytes, data: bytes, headers: Any) -> Msg:
        """A subject that is not UTF-8 must not raise: the server stores such messages and would redeliver them."""
        return self.msg_class(
            subject=subject.decode(errors="replace"),
            reply=reply.decode(errors="replace"),
            data=data,
            headers=headers,
            _client=self,
            _sid=sid,
        )


async def _ignore(message: Msg) -> None:
    """Stand in for a callback where a listener takes the messages."""
