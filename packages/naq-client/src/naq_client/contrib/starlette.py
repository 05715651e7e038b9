"""Starlette: the lifespan opens one queue for the whole application, and routes get it from their request."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import Any, TypeAlias, cast

try:
    from starlette.requests import HTTPConnection, Request
    from starlette.responses import JSONResponse
except ImportError as error:
    raise ImportError('Starlette is not installed: pip install "naq-client[starlette]"') from error

from naq_client.contrib._requests import RETRY_AFTER, explained, request_settings
from naq_client.queue import Queue
from naq_client.sync import SyncQueue
from naq_core.errors import BrokerError, JobTimeoutError, NaqError

__all__ = ["EXCEPTION_HANDLERS", "get_queue", "get_sync_queue", "lifespan", "unavailable"]

Lifespan: TypeAlias = Callable[[Any], AbstractAsyncContextManager[Mapping[str, Any] | None]]

_QUEUE, _SYNC_QUEUE = "naq_queue", "naq_sync_queue"


def lifespan(
    queue: Queue | None = None, *, inner: Lifespan | None = None, connect: bool = True
) -> Callable[[Any], AbstractAsyncContextManager[dict[str, Any]]]:
    """Return a lifespan that opens a queue for all requests, and closes it at the end.

    Args:
        queue: The queue; by default one with the settings of the environment, in which a request waits 2 s for a NATS server that
            is away (`publish_budget`).
        inner: A lifespan of the application's own, which runs inside: it may enqueue, and its state is added.
        connect: Whether to connect at once, so that the application does not start without NATS. Otherwise the first use does.
    """

    @asynccontextmanager
    async def opened(app: Any) -> AsyncIterator[dict[str, Any]]:
        found = Queue(settings=request_settings()) if queue is None else queue
        blocking = SyncQueue(found.name if found.is_named else None, settings=found.settings)
        state: dict[str, Any] = {_QUEUE: found, _SYNC_QUEUE: blocking}
        try:
            if connect:
                await found.connection()
            async with nullcontext() if inner is None else inner(app) as own:
                yield {**state, **(own or {})}
        finally:
            await found.close()
            await asyncio.to_thread(blocking.close)

    return opened


def get_queue(connection: HTTPConnection) -> Queue:
    """Return the application's queue, for async routes; with FastAPI as `Depends(get_queue)`.

    Raises:
        NaqError: The lifespan has not run.
    """
    return cast("Queue", _of_state(connection, _QUEUE))


def get_sync_queue(connection: HTTPConnection) -> SyncQueue:
    """Return the application's blocking queue, for plain routes, which run in threads. It connects at its first use.

    Raises:
        NaqError: The lifespan has not run.
    """
    return cast("SyncQueue", _of_state(connection, _SYNC_QUEUE))


def _of_state(connection: HTTPConnection, name: str) -> Any:
    try:
        return connection.scope["state"][name]
    except KeyError:
        raise NaqError(
            "the application has no queue: make it with lifespan=naq_client.contrib.starlette.lifespan(), and in tests enter it "
            "(with TestClient(app) as client)"
        ) from None


async def unavailable(request: Request, error: Exception) -> JSONResponse:
    """Answer 503 if NATS is away or a job was not finished in time; what happened is logged, and not told to the client."""
    del request
    return JSONResponse({"detail": explained(error)}, status_code=503, headers={"Retry-After": RETRY_AFTER})


EXCEPTION_HANDLERS: dict[Any, Any] = {BrokerError: unavailable, JobTimeoutError: unavailable}
"""For `Starlette(exception_handlers=…)` and `FastAPI(exception_handlers=…)`."""
