"""Answers: one inbox for all requests and publishes of a client, and who waits for which answer."""

import asyncio
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from naq_core.transport.errors import DisconnectedError

if TYPE_CHECKING:
    from naq_core.transport.client import QuickClient

T = TypeVar("T")

Handler: TypeAlias = Callable[[bytes, bytes, bytes, bytes], None]
"""Takes subject, reply subject, body and header block of a message."""
Waiting: TypeAlias = tuple["asyncio.Future[Any]", Handler, str, float]
"""What an answer ends, who reads it, and, of a publish, its subject and when it is given up in loop time; otherwise "" and 0."""


class Replies:
    """Hands each answer to its request. The inbox is subscribed with the first request and survives reconnects.

    Used from the client's event loop.
    """

    def __init__(self, client: "QuickClient") -> None:
        self._client = client
        self.waiting: dict[bytes, Waiting] = {}
        """By the subject of the answer, in the order of sending."""
        self._inbox = ""
        self._next = 0

    def __len__(self) -> int:
        """How many answers are waited for."""
        return len(self.waiting)

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

    async def start(self) -> None:
        """Subscribe the inbox, if it is not subscribed yet."""
        if not self._inbox:
            self._inbox = self._client.new_inbox()
            await self._client.listen(f"{self._inbox}.*", self._on_answer)

    async def expect(self, future: "asyncio.Future[Any]", handler: Handler) -> str:
        """Return a new reply subject, whose answers go to `handler` until `future` is done."""
        await self.start()
        return self.add(future, handler)

    def add(self, future: "asyncio.Future[Any]", handler: Handler, subject: str = "", deadline: float = 0.0) -> str:
        """Return a new reply subject as `expect` does, once the inbox is subscribed; see `Waiting`."""
        self._next += 1
        reply = f"{self._inbox}.{self._next}"
        self.waiting[reply.encode()] = future, handler, subject, deadline
        return reply

    def forget(self, replies: Iterable[str]) -> None:
        """Drop answers that still come."""
        for reply in replies:
            self.waiting.pop(reply.encode(), None)

    def fail_all(self, words: str = "") -> None:
        """Tell everybody who waits that the connection is lost: the outcome of each publish is unknown.

        Args:
            words: What the server said before it closed the connection.
        """
        reason = "the connection was lost before the answer" + (f": {words}" if words else "")
        for future, *_ in self.waiting.values():
            if not future.done():
                future.set_exception(DisconnectedError(reason))

    def _on_answer(self, subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        waiting = self.waiting.get(subject)
        if waiting is not None and not waiting[0].done():
            waiting[1](subject, reply, data, headers)
