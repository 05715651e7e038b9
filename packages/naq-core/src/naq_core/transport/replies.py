"""Answers to requests: one inbox for all requests of a client, and who waits for which answer."""

import asyncio
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from naq_core.transport.errors import DisconnectedError

if TYPE_CHECKING:
    from naq_core.transport.client import QuickClient

T = TypeVar("T")

Handler: TypeAlias = Callable[[bytes, bytes, bytes, bytes], None]
"""Takes subject, reply subject, body and header block of a message."""


class Replies:
    """Hands each answer to its request. The inbox is subscribed with the first request and survives reconnects.

    Used from the client's event loop. `Publisher`, in the path of each job, has a table of its own.
    """

    def __init__(self, client: "QuickClient") -> None:
        self._client = client
        self._waiting: dict[bytes, tuple[asyncio.Future[Any], Handler]] = {}
        self._inbox = ""
        self._next = 0

    def __len__(self) -> int:
        """How many answers are waited for."""
        return len(self._waiting)

    async def ask(
        self,
        subject: str,
        payload: bytes,
        handler: "Callable[[asyncio.Future[T]], Handler]",
        *,
        timeout: float,
        headers: dict[str, str] | None = None,
    ) -> T:
        """Send a request and wait for the result of its answers.

        Args:
            handler: Returns what takes the answers, until it ends the future.
            timeout: Seconds until the last answer.

        Raises:
            TimeoutError: No (last) answer came in time. DisconnectedError: The connection was lost.
            OSError, nats.errors.Error: It was not sent.
        """
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        reply = await self.expect(future, handler(future))
        try:
            await self._client.publish(subject, payload, reply, headers)
            async with asyncio.timeout(timeout):
                return await future
        finally:
            self.forget((reply,))
            if future.done() and not future.cancelled():
                future.exception()  # it is not awaited if sending has failed

    async def expect(self, future: "asyncio.Future[Any]", handler: Handler) -> str:
        """Return a new reply subject, whose answers go to `handler` until `future` is done."""
        if not self._inbox:
            self._inbox = self._client.new_inbox()
            await self._client.listen(f"{self._inbox}.*", self._on_answer)
        self._next += 1
        reply = f"{self._inbox}.{self._next}"
        self._waiting[reply.encode()] = future, handler
        return reply

    def forget(self, replies: Iterable[str]) -> None:
        """Drop answers that still come."""
        for reply in replies:
            self._waiting.pop(reply.encode(), None)

    def fail_all(self) -> None:
        """Tell all requests that the connection is lost."""
        for future, _ in self._waiting.values():
            if not future.done():
                future.set_exception(DisconnectedError("the connection was lost before the answer"))

    def _on_answer(self, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        waiting = self._waiting.get(subject)
        if waiting is not None and not waiting[0].done():
            waiting[1](subject, reply, data, headers)
