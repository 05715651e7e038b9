"""Health, readiness and metrics over HTTP, for orchestrators and Prometheus; a few lines instead of a web framework."""

import asyncio
import contextlib
import logging
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from concurrent.futures import Future
from typing import TypeAlias

log = logging.getLogger(__name__)

LONGEST_REQUEST = 8192
PATIENCE = 5.0
LEAVE = 1.0
"""Seconds that the thread of `serve_beside` may take to end."""

Answer: TypeAlias = tuple[int, str]
Routes: TypeAlias = Mapping[str, Callable[[], Answer | Awaitable[Answer]]]
"""What to answer, by path."""
_REASONS = {200: "OK", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}


@contextlib.asynccontextmanager
async def serve(routes: Routes, host: str, port: int) -> AsyncIterator[int]:
    """Answer GET requests for the paths in `routes` until the block ends; yield the port.

    Raises:
        OSError: The port cannot be had.
    """

    async def on_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(await _respond(head, routes))
                await writer.drain()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
            log.debug("a request failed: %r", error)
        finally:
            writer.close()

    server = await asyncio.start_server(on_connection, host, port, limit=LONGEST_REQUEST)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()


@contextlib.contextmanager
def serve_beside(routes: Routes, host: str, port: int) -> Iterator[int]:
    """As `serve`, from a thread and an event loop of its own: it also answers while those of the program are blocked.

    Args:
        routes: Called in that thread.
        host: The address to listen on.
        port: 0: any free one.

    Raises:
        OSError: The port cannot be had.
    """
    begun: Future[tuple[int, Callable[[], object]]] = Future()

    async def live() -> None:
        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        async with serve(routes, host, port) as found:
            begun.set_result((found, lambda: loop.call_soon_threadsafe(stop.set)))
            await stop.wait()

    def run() -> None:
        try:
            asyncio.run(live())
        except BaseException as error:
            if begun.done():
                raise
            begun.set_exception(error)  # also where there is no descriptor left for the event loop

    thread = threading.Thread(target=run, name="naq-health", daemon=True)
    thread.start()
    found, stop = begun.result()
    try:
        yield found
    finally:
        with contextlib.suppress(RuntimeError):  # its loop is closed
            stop()
        thread.join(LEAVE)


async def _respond(head: bytes, routes: Routes) -> bytes:
    line = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
    if len(line) != 3 or line[0] not in {"GET", "HEAD"}:
        status, text = 405, "only GET is supported\n"
    else:
        route = routes.get(line[1].partition("?")[0])
        answer = (404, f"try {', '.join(routes)}\n") if route is None else route()
        status, text = answer if isinstance(answer, tuple) else await answer
    body = text.encode()
    fields = (
        f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return fields.encode() + (b"" if line[0] == "HEAD" else body)
