"""Health, readiness and metrics over HTTP, for orchestrators and Prometheus; a few lines instead of a web framework."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable

log = logging.getLogger(__name__)

LONGEST_REQUEST = 8192
PATIENCE = 5.0

Answer = tuple[int, str]
_REASONS = {200: "OK", 404: "Not Found", 405: "Method Not Allowed", 503: "Service Unavailable"}


@contextlib.asynccontextmanager
async def serve(routes: dict[str, Callable[[], Answer]], host: str, port: int) -> AsyncIterator[int]:
    """Answer GET requests for the paths in `routes` until the block ends; yield the port.

    Raises:
        OSError: The port cannot be had.
    """

    async def on_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                head = await reader.readuntil(b"\r\n\r\n")
                writer.write(_respond(head, routes))
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


def _respond(head: bytes, routes: dict[str, Callable[[], Answer]]) -> bytes:
    line = head.split(b"\r\n", 1)[0].decode("latin-1").split(" ")
    if len(line) != 3 or line[0] not in {"GET", "HEAD"}:
        status, text = 405, "only GET is supported\n"
    else:
        route = routes.get(line[1].partition("?")[0])
        status, text = (404, f"try {', '.join(routes)}\n") if route is None else route()
    body = text.encode()
    fields = (
        f"HTTP/1.1 {status} {_REASONS[status]}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"
        f"Content-Length: {len(body)}\r\nConnection: close\r\n\r\n"
    )
    return fields.encode() + (b"" if line[0] == "HEAD" else body)
