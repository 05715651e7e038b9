"""A cluster of three real nats-servers on the loopback address."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterable
from contextlib import AsyncExitStack, ExitStack
from itertools import permutations
from pathlib import Path
from types import TracebackType
from typing import Self

from naq_core.server import EmbeddedServer
from tests.support.proxy import Proxy

SIZE = 3


class Routes:
    """The network between the servers: a proxy for each server and each of its peers, run by a thread of their own.

    Args:
        ports: Where each server listens for its peers.
    """

    def __init__(self, ports: list[int]) -> None:
        self._proxies = {(one, other): Proxy(ports[other]) for one, other in permutations(range(len(ports)), 2)}
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="routes", daemon=True)
        self._ready = threading.Event()
        self._over: asyncio.Event

    def port(self, one: int, other: int) -> int:
        """Return the port at which one server finds the other."""
        return self._proxies[one, other].port

    def partition(self, *groups: Iterable[int]) -> None:
        """Forward nothing between servers of different groups. As in a cut network, no connection is ended by that."""
        group_of = {member: number for number, group in enumerate(groups) for member in group}

        def cut() -> None:
            for (one, other), proxy in self._proxies.items():
                if group_of[one] != group_of[other]:
                    proxy.blackhole()

        self._loop.call_soon_threadsafe(cut)

    def heal(self) -> None:
        """Forward everything again, also what was sent meanwhile."""

        def mend() -> None:
            for proxy in self._proxies.values():
                proxy.heal()

        self._loop.call_soon_threadsafe(mend)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(10)

    def _run(self) -> None:
        self._loop.run_until_complete(self._serve())
        self._loop.close()

    async def _serve(self) -> None:
        self._over = asyncio.Event()
        async with AsyncExitStack() as stack:
            for proxy in self._proxies.values():
                await stack.enter_async_context(proxy)
            self._ready.set()
            await self._over.wait()


class Cluster:
    """Three servers with one JetStream between them; any of them may be killed and come back.

    Args:
        folder: Holds the stores, one a server.
        divisible: Put proxies between the servers, so that `routes` can cut them off from each other.
    """

    def __init__(self, folder: Path, *, divisible: bool = False) -> None:
        self._stack = ExitStack()
        self._folder = folder
        self._ports = _free_ports(SIZE)
        self._routes = Routes(self._ports) if divisible else None
        self.servers: list[EmbeddedServer] = []

    @property
    def routes(self) -> Routes:
        """The network between the servers, of a cluster that is divisible."""
        assert self._routes is not None
        return self._routes

    @property
    def url(self) -> str:
        """The addresses of all servers."""
        return ",".join(server.url for server in self.servers)

    def named(self, name: str) -> EmbeddedServer:
        """Return the server that calls itself so in the server's own reports."""
        return self.servers[int(name.removeprefix("n"))]

    def __enter__(self) -> Self:
        if self._routes is not None:
            self._stack.enter_context(self._routes)
        self.servers = [self._server(number) for number in range(SIZE)]
        for server in self.servers:
            self._stack.enter_context(server)
        return self

    def __exit__(self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None) -> None:
        self._stack.close()

    def _server(self, number: int) -> EmbeddedServer:
        peers = [other for other in range(SIZE) if other != number]
        ports = [self._ports[peer] if self._routes is None else self._routes.port(number, peer) for peer in peers]
        routes = ", ".join(f'"nats://127.0.0.1:{port}"' for port in ports)
        # Servers tell each other where the others are: one that learns of an address would go around the proxies.
        at = "" if self._routes is None else ' advertise: "127.0.0.1:1",'
        return EmbeddedServer(
            store_dir=self._folder / f"n{number}",
            config=f"server_name: n{number}\n"
            f'cluster {{ name: naq, listen: "127.0.0.1:{self._ports[number]}", routes: [{routes}],{at} no_advertise: true }}',
        )


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
