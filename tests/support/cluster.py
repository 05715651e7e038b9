"""A cluster of three real nats-servers on the loopback address."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from naq_core.server import EmbeddedServer

SIZE = 3


class Cluster:
    """Three servers with one JetStream between them; any of them may be killed and come back.

    Args:
        folder: Holds the stores, one a server.
    """

    def __init__(self, folder: Path) -> None:
        routes = _free_ports(SIZE)
        others = ", ".join(f'"nats://127.0.0.1:{port}"' for port in routes)
        self.servers = [
            EmbeddedServer(
                store_dir=folder / f"n{number}",
                config=f"server_name: n{number}\n"
                f'cluster {{ name: naq, listen: "127.0.0.1:{port}", routes: [{others}], no_advertise: true }}',
            )
            for number, port in enumerate(routes)
        ]
        self._stack = ExitStack()

    @property
    def url(self) -> str:
        """The addresses of all servers."""
        return ",".join(server.url for server in self.servers)

    def named(self, name: str) -> EmbeddedServer:
        """Return the server that calls itself so in the server's own reports."""
        return self.servers[int(name.removeprefix("n"))]

    def __enter__(self) -> Self:
        for server in self.servers:
            self._stack.enter_context(server)
        return self

    def __exit__(self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None) -> None:
        self._stack.close()


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
