"""Pipelined JetStream publishing: an answer or an error for every publish."""

import asyncio
import contextlib
import logging
from collections.abc import Mapping

import msgspec
import nats.errors

from naq_core.errors import BrokerTimeoutError, PayloadTooLargeError, PermissionDeniedError
from naq_core.transport.client import QuickClient
from naq_core.transport.errors import NobodyThereError, NotReadyError, api_error, decode_ack
from naq_core.transport.headers import parse_headers

log = logging.getLogger(__name__)


class Publisher:
    """Sends messages and hands out futures of their stream sequences.

    A future ends in the stream sequence, or in `WrongSequenceError`, `QueueFullError`, `JetStreamError` (refused),
    `NotReadyError` (no responders, nothing stored), `BrokerTimeoutError` or `DisconnectedError` (outcome unknown).
    """

    def __init__(self, client: QuickClient, *, timeout: float, max_in_flight: int) -> None:
        self._client = client
        self._timeout = timeout
        self._max_in_flight = max_in_flight
        self._replies = client.replies
        self._in_flight = 0
        self._room = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._sweeper: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Subscribe the reply inbox, before the first message."""
        await self._replies.start()

    @property
    def has_room(self) -> bool:
        """Whether `post` may be used now; otherwise `send` waits until it may."""
        return self._in_flight < self._max_in_flight and not self._client.is_full

    async def send(self, subject: str, body: bytes, headers: dict[str, str] | None = None) -> asyncio.Future[int]:
        """Send one message as `post` does, after waiting for room."""
        while self._in_flight >= self._max_in_flight:
            self._room.clear()
            await self._room.wait()
        future = self.post(subject, body, headers)
        if self._client.is_full:
            with contextlib.suppress(OSError):  # the connection is lost: the future will tell
                await self._client.relieve()
        return future

    def post(self, subject: str, body: bytes, headers: dict[str, str] | None = None) -> asyncio.Future[int]:
        """Send one message; await the returned future for its stream sequence.

        Raises:
            NotReadyError: It was not sent. PayloadTooLargeError: It never can be.
        """
        future: asyncio.Future[int] = self._loop.create_future()
        reply = self._replies.add(future, self._on_answer, subject, self._loop.time() + self._timeout)
        try:
            self._client.post(subject, body, reply, headers)
        except nats.errors.Error as error:
            self._replies.forget((reply,))
            if isinstance(error, nats.errors.MaxPayloadError):
                raise PayloadTooLargeError("the message", len(body), self._client.max_payload) from error
            raise NotReadyError(f"not sent: {error}") from error
        self._in_flight += 1
        if self._sweeper is None:
            self._sweeper = self._loop.call_later(self._timeout, self._sweep)
        return future

    def _on_answer(self, reply: bytes, _: bytes, data: bytes, headers: bytes) -> None:
        future, _handler, subject, _deadline = self._replies.waiting.pop(reply)
        self._in_flight -= 1
        if not self._room.is_set():
            self._room.set()
        if not data:
            future.set_exception(_status_error(parse_headers(headers)))
            return
        try:
            ack = decode_ack(data)
        except msgspec.DecodeError:
            future.set_exception(BrokerTimeoutError(f"unreadable answer {data[:80]!r}", self._timeout))
            return
        if ack.error is None:
            future.set_result(ack.seq)
        else:
            future.set_exception(api_error(f"publish to {subject}", ack.error))

    def _sweep(self) -> None:
        """Fail what has waited too long; the table is in the order of sending, so the oldest comes first."""
        now = self._loop.time()
        self._sweeper = None
        for reply, future, _, deadline in self._pending():
            if deadline > now and not future.done():
                self._sweeper = self._loop.call_at(deadline, self._sweep)
                return
            self._end(reply, future, BrokerTimeoutError("publish", self._timeout))

    def fail_all(self, words: str = "") -> None:
        """Tell everybody who waits for an answer that the connection is gone; see `Replies.fail_all`."""
        self._replies.fail_all(words)
        for reply, *_ in self._pending():
            del self._replies.waiting[reply]
        self._in_flight = 0
        self._room.set()

    def fail_subject(self, denied: PermissionDeniedError) -> None:
        """Fail what was sent to a subject that the server has just refused: it was not stored."""
        for reply, future, subject, _ in self._pending():
            if subject.lower() == denied.subject:
                self._end(reply, future, PermissionDeniedError(denied.verb, subject))

    def close(self) -> None:
        """Fail what still waits and stop the timer."""
        self.fail_all()
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None

    def _pending(self) -> list[tuple[bytes, "asyncio.Future[int]", str, float]]:
        """Return what was published and is not answered: the reply's subject, the future, the subject and the deadline."""
        waiting = self._replies.waiting.items()
        return [(reply, future, subject, deadline) for reply, (future, _, subject, deadline) in waiting if deadline]

    def _end(self, reply: bytes, future: "asyncio.Future[int]", error: Exception) -> None:
        del self._replies.waiting[reply]
        self._in_flight -= 1
        if not future.done():
            future.set_exception(error)
        self._room.set()


def _status_error(headers: Mapping[str, str]) -> Exception:
    status = headers.get("Status", "")
    if status == "503":
        return NobodyThereError("no JetStream stream takes this subject right now")
    return NotReadyError(f"status {status} {headers.get('Description', '')}".strip())
