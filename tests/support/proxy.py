"""A TCP proxy between NAQ and its server that can break the network on command."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from types import TracebackType
from typing import Self

CHUNK = 64 * 1024


class _Link:
    """One proxied connection."""

    def __init__(self, proxy: Proxy, client: asyncio.StreamWriter) -> None:
        self._proxy = proxy
        self._client = client
        self._server: asyncio.StreamWriter | None = None
        self.flowing = asyncio.Event()
        self.is_dead = False

    async def run(self, reader: asyncio.StreamReader) -> None:
        await self.flowing.wait()
        host, port = self._proxy.target
        try:
            upstream, self._server = await asyncio.open_connection(host, port)
        except OSError:
            self.reset()
            return
        pumps = [
            asyncio.ensure_future(self._pump(reader, self._server)),
            asyncio.ensure_future(self._pump(upstream, self._client)),
        ]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            self.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(CHUNK):
            await self.flowing.wait()
            if self._proxy.delay > 0:
                await asyncio.sleep(random.uniform(0.5, 1.5) * self._proxy.delay)
            allowed = self._proxy.take(len(data))
            writer.write(data[:allowed])
            await writer.drain()
            if allowed < len(data):
                self.reset()
                return

    def close(self) -> None:
        for writer in (self._client, self._server):
            if writer is not None:
                writer.close()

    def reset(self) -> None:
        """End both sides with RST instead of FIN."""
        for writer in (self._client, self._server):
            if writer is None:
                continue
            sock = writer.get_extra_info("socket")
            if sock is not None and sock.fileno() >= 0:
                linger = struct.pack("ii", 1, 0)
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()


class Proxy:
    """Forwards TCP connections to `target` until told otherwise.

    Args:
        port: Port of the real server.
        host: Host of the real server.
        is_narrow: Take little ahead of what is forwarded, as a slow line does.
    """

    def __init__(self, port: int, host: str = "127.0.0.1", *, is_narrow: bool = False) -> None:
        self.is_narrow = is_narrow
        self.target = (host, port)
        self.port = 0
        self.accepted = 0
        self.delay = 0.0
        """Seconds by which each chunk is delayed, give or take a half."""
        self._server: asyncio.Server | None = None
        self._links: dict[_Link, asyncio.Task[None]] = {}
        self._is_passing = True
        self._budget: int | None = None

    @property
    def url(self) -> str:
        """The address to give to NAQ in place of the server's."""
        return f"nats://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        listener = socket.create_server(("127.0.0.1", 0))
        if self.is_narrow:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, CHUNK)
        self._server = await asyncio.start_server(self._accept, sock=listener)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._server is not None
        self._server.close()
        tasks = list(self._links.values())
        self.reset()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def blackhole(self) -> None:
        """Keep every socket open and forward nothing, for new connections as well."""
        self._is_passing = False
        for link in self._links:
            link.flowing.clear()

    def heal(self, *, revive: bool = True) -> None:
        """Forward again.

        Args:
            revive: Let the connections that were cut off go on where they stopped. Without it
                they stay half-open for ever, as after a NAT box forgot them, and only new
                connections work.
        """
        self._is_passing, self._budget = True, None
        for link in self._links:
            if revive and not link.is_dead:
                link.flowing.set()
            elif not link.flowing.is_set():
                link.is_dead = True

    def reset(self) -> None:
        """Send RST on every connection; new ones are accepted."""
        for link in list(self._links):
            link.reset()

    def cut_after(self, size: int) -> None:
        """Reset whichever connection forwards the byte after the next `size`, mid-frame."""
        self._budget = size

    def take(self, size: int) -> int:
        """Return how many of `size` bytes may still be forwarded."""
        if self._budget is None:
            return size
        allowed = min(size, self._budget)
        self._budget = None if allowed < size else self._budget - allowed
        return allowed

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        link = _Link(self, writer)
        task = asyncio.current_task()
        assert task is not None
        self._links[link] = task
        if self._is_passing:
            link.flowing.set()
        try:
            await link.run(reader)
        except (OSError, asyncio.CancelledError):
            link.reset()
        finally:
            self._links.pop(link, None)
