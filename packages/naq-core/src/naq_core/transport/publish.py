"""Pipelined JetStream publishing: one reply inbox, answers matched by token, an answer or an error for every publish."""

import asyncio
import contextlib
import logging
from collections.abc import Mapping

import msgspec
import nats.errors

from naq_core.errors import BrokerTimeoutError, PayloadTooLargeError, PermissionDeniedError
from naq_core.transport.client import QuickClient
from naq_core.transport.errors import DisconnectedError, NobodyThereError, NotReadyError, api_error, decode_ack
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
        self._pending: dict[bytes, tuple[asyncio.Future[int], float, str]] = {}
        self._prefix = ""
        self._token_at = 0
        self._next = 0
        self._room = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._sweeper: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Subscribe the reply inbox; once per client, it survives reconnects."""
        inbox = self._client.new_inbox()
        self._prefix = f"{inbox}."
        self._token_at = len(self._prefix)
        await self._client.listen(f"{inbox}.*", self._on_reply)

    @property
    def has_room(self) -> bool:
        """Whether `post` may be used now; otherwise `send` waits until it may."""
        return len(self._pending) < self._max_in_flight and not self._client.is_full

    async def send(self, subject: str, body: bytes, headers: dict[str, str] | None = None) -> asyncio.Future[int]:
        """Send one message as `post` does, after waiting for room."""
        while len(self._pending) >= self._max_in_flight:
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
        self._next += 1
        token = b"%d" % self._next
        try:
            self._client.post(subject, body, f"{self._prefix}{self._next}", headers)
        except nats.errors.MaxPayloadError as error:
            raise PayloadTooLargeError("the message", len(body), self._client.max_payload) from error
        except nats.errors.Error as error:
            raise NotReadyError(f"not sent: {error}") from error
        future: asyncio.Future[int] = self._loop.create_future()
        self._pending[token] = (future, self._loop.time() + self._timeout, subject)
        if self._sweeper is None:
            self._sweeper = self._loop.call_later(self._timeout, self._sweep)
        return future

    def _on_reply(self, subject: bytes, _: bytes, data: bytes, headers: bytes) -> None:
        waiting = self._pending.pop(subject[self._token_at :], None)
        if waiting is None:
            return  # its time-out has been reported
        if not self._room.is_set():
            self._room.set()
        future = waiting[0]
        if future.done():
            return
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
            future.set_exception(api_error(f"publish to {waiting[2]}", ack.error))

    def _sweep(self) -> None:
        """Fail what has waited too long; the table is in the order of sending, so the oldest comes first."""
        now = self._loop.time()
        self._sweeper = None
        while self._pending:
            token, (future, deadline, _) = next(iter(self._pending.items()))
            if deadline > now and not future.done():
                self._sweeper = self._loop.call_at(deadline, self._sweep)
                return
            del self._pending[token]
            if not future.done():
                future.set_exception(BrokerTimeoutError("publish", self._timeout))
            self._room.set()

    def fail_all(self, words: str = "") -> None:
        """Tell everybody who waits that the connection is gone: the outcome of each is unknown.

        Args:
            words: What the server said before it closed the connection.
        """
        reason = "the connection was lost before the answer" + (f": {words}" if words else "")
        pending, self._pending = self._pending, {}
        for future, *_ in pending.values():
            if not future.done():
                future.set_exception(DisconnectedError(reason))
        self._room.set()

    def fail_subject(self, denied: PermissionDeniedError) -> None:
        """Fail what was sent to a subject that the server has just refused: it was not stored."""
        for token, (future, _, subject) in tuple(self._pending.items()):
            if subject.lower() == denied.subject:
                del self._pending[token]
                if not future.done():
                    future.set_exception(PermissionDeniedError(denied.verb, subject))
        self._room.set()

    def close(self) -> None:
        """Fail what still waits and stop the timer."""
        self.fail_all()
        if self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None


def _status_error(headers: Mapping[str, str]) -> Exception:
    status = headers.get("Status", "")
    if status == "503":
        return NobodyThereError("no JetStream stream takes this subject right now")
    return NotReadyError(f"status {status} {headers.get('Description', '')}".strip())
