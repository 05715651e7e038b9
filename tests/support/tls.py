"""Certificates for a test, servers that have them, and a listener that keeps what a client sends it."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import trustme

from naq_core.server import EmbeddedServer


class Tls:
    """A certificate authority, a server and a client with certificates of it."""

    def __init__(self, folder: Path) -> None:
        authority, foreign = trustme.CA(), trustme.CA()
        self.folder = folder
        authority.cert_pem.write_to_path(self["ca"])
        foreign.cert_pem.write_to_path(self["foreign_ca"])
        for name, names in {"server": ["127.0.0.1", "localhost"], "client": ["worker@example.org"]}.items():
            certificate = authority.issue_cert(*names)
            certificate.cert_chain_pems[0].write_to_path(self[name])
            certificate.private_key_pem.write_to_path(self[f"{name}_key"])

    def __getitem__(self, name: str) -> str:
        return os.fspath(self.folder / f"{name}.pem")

    @contextmanager
    def server(self, verify: str = "false", more: str = "", port: int = 0) -> Iterator[EmbeddedServer]:
        files = f'cert_file: "{self["server"]}", key_file: "{self["server_key"]}", ca_file: "{self["ca"]}"'
        with EmbeddedServer(config=f"tls {{ {files}, verify: {verify} }}\n{more}", port=port) as server:
            yield server


class Listener:
    """Greets as a nats-server without TLS does, or says nothing, and keeps what it is sent."""

    def __init__(self, *, greets: bool = True) -> None:
        self.received = b""
        self.visits = 0
        self.port = 0
        info = {"server_id": "X", "version": "2.15.0", "headers": True, "max_payload": 1 << 20, "auth_required": True}
        self._greeting = f"INFO {json.dumps(info)}\r\n".encode() if greets else b""

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.visits += 1
        writer.write(self._greeting)
        try:
            while data := await reader.read(65536):
                self.received += data
                if data.endswith(b"PING\r\n"):
                    writer.write(b"PONG\r\n")
        except OSError:
            pass
        finally:
            writer.close()

    @asynccontextmanager
    async def listening(self, port: int = 0) -> AsyncIterator[Listener]:
        server = await asyncio.start_server(self._greet, "127.0.0.1", port)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
