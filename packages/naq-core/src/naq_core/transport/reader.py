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
from naq_core.transport.replies import Handler

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
    """Sends batched direct gets and collects their answers."""

    def __init__(self, client: QuickClient, *, timeout: float) -> None:
        self._client = client
        self._timeout = timeout

    async def get(self, stream: str, request: dict[str, Any]) -> Batch:
        """Return what the server finds, in its order, as far as one answer goes.

        Raises:
            TooManyError: Ask for less. NotReadyError, DisconnectedError, BrokerTimeoutError: No answer; ask again.
        """
        subject, body = f"$JS.API.DIRECT.GET.{stream}", msgspec.json.encode(request)
        try:
            return await self._client.replies.ask(subject, body, _collector, timeout=self._timeout)
        except TimeoutError as error:
            if isinstance(error, BrokerError):
                raise
            raise BrokerTimeoutError(f"direct get from {stream}", self._timeout) from None
        except (OSError, nats.errors.Error) as error:
            raise DisconnectedError(f"direct get from {stream}: {error}") from error


def _collector(future: "asyncio.Future[Batch]") -> Handler:
    """Return what collects the messages of a batch until its end."""
    found: list[Message] = []

    def on_message(_subject: bytes, _reply: bytes, data: bytes, block: bytes) -> None:
        headers = parse_headers(block)
        status = headers.get("Status")
        if status is None:
            found.append(Message(headers["Nats-Subject"], int(headers["Nats-Sequence"]), data, block))
        elif status in {"204", "404"}:  # the end of the batch; nothing there
            future.set_result(Batch(found, int(headers.get("Nats-Num-Pending", "0"))))
        elif status == TOO_MANY:
            future.set_exception(TooManyError("too many messages match"))
        elif status == NOBODY:
            future.set_exception(NobodyThereError("direct get: no responders"))
        else:
            future.set_exception(NotReadyError(f"direct get: {status} {headers.get('Description', '')}"))

    return on_message
