"""Batched direct gets (ADR-31): the last messages of many subjects in one request, without a consumer."""

import asyncio
from typing import Any, NamedTuple

import msgspec
import nats.errors

from naq_core.errors import BrokerError, BrokerTimeoutError
from naq_core.transport.client import QuickClient
from naq_core.transport.errors import DisconnectedError, NobodyThereError, NotReadyError
from naq_core.transport.headers import parse_headers
from naq_core.transport.message import Message

TOO_MANY = "413"
NOBODY = "503"


class Batch(NamedTuple):
    """The server's answer to a batched direct get."""

    messages: list[Message]
    left: int
    """How many more match: the server ends an answer at the number asked for, and at its `max_pending` of bytes (64 MiB)."""


class TooManyError(BrokerError):
    """More messages match than the server puts into one answer (1,024)."""


class BatchReader:
    """Sends batched direct gets and collects their answers; one inbox for all."""

    def __init__(self, client: QuickClient, *, timeout: float) -> None:
        self._client = client
        self._timeout = timeout
        self._waiting: dict[bytes, tuple[asyncio.Future[Batch], list[Message]]] = {}
        self._prefix = ""
        self._next = 0
        self._starting = asyncio.Lock()

    async def get(self, stream: str, request: dict[str, Any]) -> Batch:
        """Return what the server finds, in its order, as far as one answer goes.

        Raises:
            TooManyError: Ask for less. NotReadyError, DisconnectedError, BrokerTimeoutError: No answer; ask again.
        """
        if not self._prefix:
            await self._start()
        self._next += 1
        token = b"%d" % self._next
        future: asyncio.Future[Batch] = asyncio.get_running_loop().create_future()
        self._waiting[token] = (future, [])
        try:
            body = msgspec.json.encode(request)
            await self._client.publish(f"$JS.API.DIRECT.GET.{stream}", body, f"{self._prefix}{self._next}")
            async with asyncio.timeout(self._timeout):
                return await future
        except TimeoutError as error:
            if isinstance(error, BrokerError):
                raise
            raise BrokerTimeoutError(f"direct get from {stream}", self._timeout) from None
        except (OSError, nats.errors.Error) as error:
            raise DisconnectedError(f"direct get from {stream}: {error}") from error
        finally:
            self._waiting.pop(token, None)

    async def _start(self) -> None:
        async with self._starting:
            if not self._prefix:
                inbox = self._client.new_inbox()
                await self._client.listen(f"{inbox}.*", self._on_message)
                self._prefix = f"{inbox}."

    def _on_message(self, subject: bytes, _reply: bytes, data: bytes, block: bytes) -> None:
        waiting = self._waiting.get(subject[len(self._prefix) :])
        if waiting is None or waiting[0].done():
            return
        future, found = waiting
        headers = parse_headers(block)
        status = headers.get("Status")
        if status is None:
            found.append(Message(headers["Nats-Subject"], int(headers["Nats-Sequence"]), data, block))
        elif status in {"204", "404"}:  # the end of the batch; nothing there
            future.set_result(Batch(found, int(headers.get("Nats-Num-Pending", "0"))))
        elif status == TOO_MANY:
            future.set_exception(TooManyError("too many messages match"))
        elif status == NOBODY:
            future.set_exception(NobodyThereError("direct get: nobody answers"))
        else:
            future.set_exception(NotReadyError(f"direct get: {status} {headers.get('Description', '')}"))

    def fail_all(self) -> None:
        """Tell everybody who waits that the connection is gone."""
        for future, _ in self._waiting.values():
            if not future.done():
                future.set_exception(DisconnectedError("the connection was lost before the answer"))
