"""Calls of JetStream over a supervised connection: repeated while that is safe, and never lost silently."""

import asyncio
import logging
from collections.abc import Coroutine, Iterable
from functools import partial
from typing import Any

import msgspec
import nats.errors
from nats.aio.msg import Msg

from naq_core.errors import BrokerError, BrokerTimeoutError, JetStreamError, MissingError, PayloadTooLargeError
from naq_core.platforms import boottime
from naq_core.settings import Settings
from naq_core.transport.clock import ServerClock
from naq_core.transport.errors import CLIENT_ERRORS, NobodyThereError, NotReadyError, api_error
from naq_core.transport.keeper import CHECK_INTERVAL, CONSUMER_NOT_FOUND, STREAM_NOT_FOUND, Keeper
from naq_core.transport.link import Link
from naq_core.transport.repeat import repeat

log = logging.getLogger("naq_core.connection")

HEADER_ROOM = 1024
"""Bytes kept free below `max_payload` for headers."""


class JetStream(Link):
    """A connection for streams: a call is repeated until its outcome is known, and what was deleted is created again.

    Args:
        keeps: Look every few seconds whether the streams and consumers that were needed are still there, and create again
            what was deleted. Without it that is noticed at their next use.
        settings, name, patient, is_hidden, clock: As of `Link`.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        name: str = "naq",
        patient: bool = True,
        is_hidden: bool = False,
        keeps: bool = False,
        clock: ServerClock | None = None,
    ) -> None:
        super().__init__(settings, name=name, patient=patient, is_hidden=is_hidden, clock=clock)
        self.keeper = Keeper(self)
        self._keeps = keeps
        self.steps: dict[tuple[str, str | None], int] = {}
        """How far apart messages of a subject lay when they were read last."""
        self._checked_at = self._loop.time()

    def stream_of(self, subject: str) -> str:
        """Return the stream that takes a subject; empty where it is not known."""
        return self.keeper.stream_of(subject)

    @property
    def max_payload(self) -> int:
        """The server's limit for one message, in bytes."""
        return self.client.max_payload

    @property
    def is_clustered(self) -> bool:
        """Whether the server is one of a cluster, so that a stream may have several leaders, one after the other."""
        return self.client.is_clustered

    def publish(
        self,
        subject: str,
        body: bytes,
        headers: dict[str, str] | None = None,
        *,
        deadline: float | None = None,
        is_repeated: bool = False,
    ) -> Coroutine[Any, Any, int]:
        """Publish to JetStream, repeating until it is acknowledged or the budget is used up.

        Repeat only what is safe to repeat: a write with an expected sequence, or one that replaces itself.

        Args:
            deadline: In loop time, until which it is repeated; None: as the settings say.
            is_repeated: The outcome of an earlier try is unknown.

        Returns:
            The stream sequence.

        Raises:
            WrongSequenceError: The expected sequence was wrong, by somebody else's message.
            BrokerUnavailableError: The server could not be reached; nothing was stored.
            BrokerTimeoutError: The budget is used up; it is unknown whether it was stored.
        """
        headers = headers or {}
        return repeat(
            self,
            partial(self.publish_once, subject, body, headers),
            [(subject, body, headers)],
            deadline=deadline or self.budget(),
            is_repeated=is_repeated,
        )

    async def publish_once(self, subject: str, body: bytes, headers: dict[str, str] | None) -> int:
        """Publish to JetStream without repeating; only where the stream was missing and is created again, once more.

        Raises:
            BrokerError: Refused, not sent, or the outcome is unknown. MissingError: The stream is missing for good.
        """
        publisher = self.publisher
        try:
            return await (
                publisher.post(subject, body, headers) if publisher.has_room else await publisher.send(subject, body, headers)
            )
        except NobodyThereError:
            if not await self.keeper.restore(self.keeper.stream_of(subject)):
                raise
        return await (await publisher.send(subject, body, headers))

    async def tell_all(self, subjects: Iterable[str], body: bytes, *, timeout: float) -> bool:
        """Send the same to many subjects without answers, and return whether the server has got it all, by a round trip."""
        try:
            for subject in subjects:
                await self.client.publish(subject, body)
            await self.client.flush(timeout=timeout)
        except CLIENT_ERRORS as error:
            log.warning("round trip to NATS failed: %r", error)
            return False
        return True

    async def request(
        self,
        subject: str,
        payload: bytes = b"",
        *,
        timeout: float = 5.0,
        deadline: float | None = None,
        restores: bool = True,
    ) -> Msg:
        """Send an idempotent request, repeating it while there is no answer.

        Args:
            timeout: Seconds to wait for each answer.
            deadline: In loop time, until which it is repeated; None: as the settings say.
            restores: Create the stream again if it is missing.

        Raises:
            MissingError: The stream is missing for good.
            BrokerUnavailableError, BrokerTimeoutError: The budget is used up.
            PermissionDeniedError: This user may not ask that, or may not receive answers.
        """
        deadline = deadline or self.budget()
        pause = 0.05
        while True:
            await self.wait_connected(deadline)
            self.denials.check_request(subject, self.settings.nats_inbox_prefix)
            try:
                async with asyncio.timeout(None) as scope:
                    with self.denials.interrupting(subject, scope):
                        return await self.client.request(subject, payload, timeout=timeout)
            except (TimeoutError, *CLIENT_ERRORS) as error:
                last = error
            self.denials.check_request(subject, self.settings.nats_inbox_prefix)
            is_missing = restores and isinstance(last, nats.errors.NoRespondersError)
            if is_missing and await self.keeper.restore(self.keeper.stream_of(subject)):
                continue
            if self._loop.time() + pause > deadline:
                raise BrokerTimeoutError(f"request to {subject} ({last})", self._budget) from last
            await asyncio.sleep(pause)
            pause = min(pause * 2, 1.0)

    async def api(
        self, operation: str, body: dict[str, Any] | None = None, *, deadline: float | None = None, restores: bool = True
    ) -> dict[str, Any]:
        """Call the JetStream API and return its answer.

        Args:
            deadline: In loop time, until which it is repeated; None: as the settings say.
            restores: Create the stream or consumer again that the call is about, where it is missing, and repeat the call.

        Raises:
            BrokerError: As `naq_core.transport.errors.api_error` translates it.
        """
        deadline = deadline or self.budget()
        payload = msgspec.json.encode(body) if body is not None else b""
        while True:
            asked = boottime()
            message = await self.request(f"$JS.API.{operation}", payload, deadline=deadline, restores=restores)
            answer: dict[str, Any] = msgspec.json.decode(message.data)
            if "ts" in answer:
                self.clock.note(answer["ts"], asked, boottime())
            if "error" not in answer:
                return answer
            error = api_error(operation, answer["error"])
            if restores and isinstance(error, JetStreamError) and await self._restores(operation, error):
                continue
            if not isinstance(error, NotReadyError) or self._loop.time() + 0.2 > deadline:
                raise error
            await asyncio.sleep(0.2)

    async def _restores(self, operation: str, error: JetStreamError) -> bool:
        """Create again what an API call found missing; return whether to repeat the call.

        Where it cannot be created the call ends as the server has answered it: for who reads, nothing is there.
        """
        if ".DELETE." in operation:
            return False
        tokens = operation.split(".")
        try:
            if error.err_code == STREAM_NOT_FOUND:
                return await self.keeper.restore(self.keeper.stream_of(f"$JS.API.{operation}"))
            if error.err_code == CONSUMER_NOT_FOUND:
                return await self.keeper.restore(tokens[-1])
        except MissingError as missing:
            log.debug("%s: %s", operation, missing)
        return False

    async def _look_after(self) -> None:
        """See to what may have been deleted unnoticed, every few seconds."""
        if not self._keeps or self._loop.time() - self._checked_at < CHECK_INTERVAL:
            return
        try:
            await self.keeper.check()
        except BrokerError as error:
            log.debug("the streams cannot be checked: %s", error)
        self._checked_at = self._loop.time()

    @property
    def message_limit(self) -> int:
        """How many bytes the body of a message may take: `max_payload` less room for headers."""
        return self.client.max_payload - HEADER_ROOM

    def check_size(self, what: str, size: int) -> None:
        """Refuse what the server would not take.

        Raises:
            PayloadTooLargeError: `size` exceeds `message_limit`.
        """
        if size > self.message_limit:
            raise PayloadTooLargeError(what, size, self.message_limit)
