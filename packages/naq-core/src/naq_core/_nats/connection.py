"""What is done over a supervised NATS connection: writes and requests that are repeated and never lose an answer silently."""

import asyncio
import logging
import sys
from collections.abc import Iterable
from typing import Any

import msgspec
from nats.aio.msg import Msg

from naq_core._nats.errors import CLIENT_ERRORS, DisconnectedError, NotReadyError, api_error
from naq_core._nats.link import Link
from naq_core.errors import BrokerTimeoutError, BrokerUnavailableError, PayloadTooLargeError, WrongSequenceError

log = logging.getLogger(__name__)

HEADER_ROOM = 1024
"""Bytes kept free below `max_payload` for headers."""


class Connection(Link):
    """One client connection with what NAQ needs on top of nats-py."""

    @property
    def max_payload(self) -> int:
        """The server's limit for one message, in bytes."""
        return self.client.max_payload

    @property
    def large_limit(self) -> int:
        """How many bytes arguments or a result may take inside a message; more go to the object store."""
        threshold = self.settings.large_threshold
        return min(threshold, (self.client.max_payload - HEADER_ROOM) // 2) if threshold else sys.maxsize

    async def publish(
        self, subject: str, body: bytes, headers: dict[str, str] | None = None, *, deadline: float | None = None
    ) -> int:
        """Publish to JetStream, repeating until it is acknowledged or the budget is used up.

        Repeat only what is safe to repeat: a write with an expected sequence, or one that replaces itself.

        Returns:
            The stream sequence.

        Raises:
            WrongSequenceError: The expected sequence was wrong; its `repeated` tells whether an earlier try's outcome is
                unknown, so that the message found there may be ours.
            BrokerUnavailableError, BrokerTimeoutError: The budget is used up.
        """
        repeated = False
        pause = 0.02
        deadline = deadline or self.budget()
        while True:
            try:
                if not self._up.is_set() or self._lost is not None:
                    await self.wait_connected(deadline)
            except BrokerUnavailableError as error:
                if not repeated:
                    raise
                raise BrokerTimeoutError(f"publish to {subject} ({error})", self._budget) from error
            try:
                return await self.publish_once(subject, body, headers)
            except WrongSequenceError as error:
                error.repeated = repeated
                raise
            except NotReadyError as error:
                last: Exception = error
            except (BrokerTimeoutError, DisconnectedError) as error:
                repeated, last = True, error
            if self._loop.time() + pause > deadline:
                raise BrokerTimeoutError(f"publish to {subject} ({last})", self._budget) from last
            await asyncio.sleep(pause)
            pause = min(pause * 2, 1.0)

    async def publish_once(self, subject: str, body: bytes, headers: dict[str, str] | None) -> int:
        """Publish to JetStream without repeating.

        Raises:
            BrokerError: Refused, not sent, or the outcome is unknown.
        """
        publisher = self.publisher
        return await (
            publisher.post(subject, body, headers) if publisher.has_room else await publisher.send(subject, body, headers)
        )

    async def tell_all(self, subjects: Iterable[str], body: bytes, *, timeout: float) -> bool:
        """Send the same to many subjects without answers, and return whether the server has got it all, by a round trip."""
        try:
            for subject in subjects:
                await self.client.publish(subject, body)
            await self.client.flush(timeout=timeout)
        except CLIENT_ERRORS as error:
            log.warning("no round trip to NATS: %r", error)
            return False
        return True

    async def request(self, subject: str, payload: bytes = b"", *, timeout: float = 5.0, deadline: float | None = None) -> Msg:
        """Send an idempotent request, repeating it while nobody answers.

        Raises:
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
            if self._loop.time() + pause > deadline:
                raise BrokerTimeoutError(f"request to {subject} ({last})", self._budget) from last
            await asyncio.sleep(pause)
            pause = min(pause * 2, 1.0)

    async def api(self, operation: str, body: dict[str, Any] | None = None, *, deadline: float | None = None) -> dict[str, Any]:
        """Call the JetStream API and return its answer.

        Raises:
            BrokerError: As `naq_core._nats.errors.api_error` translates it.
        """
        deadline = deadline or self.budget()
        payload = msgspec.json.encode(body) if body is not None else b""
        while True:
            message = await self.request(f"$JS.API.{operation}", payload, deadline=deadline)
            answer: dict[str, Any] = msgspec.json.decode(message.data)
            if "error" not in answer:
                return answer
            error = api_error(operation, answer["error"])
            if not isinstance(error, NotReadyError) or self._loop.time() + 0.2 > deadline:
                raise error
            await asyncio.sleep(0.2)

    def check_size(self, what: str, size: int) -> None:
        """Refuse what the server would not take.

        Raises:
            PayloadTooLargeError: `size` and room for headers exceed `max_payload`.
        """
        if size + HEADER_ROOM > self.client.max_payload:
            raise PayloadTooLargeError(what, size, self.client.max_payload - HEADER_ROOM)
