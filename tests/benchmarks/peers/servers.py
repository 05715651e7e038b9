"""A fresh server for each measurement, on this machine only."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from naq_core.server import EmbeddedServer, tie_to_this_process

READY_SECONDS = 30.0


class Server(NamedTuple):
    """A running server."""

    url: str
    pid: int


@contextmanager
def nats() -> Iterator[Server]:
    """Run a nats-server with JetStream in files and its default settings."""
    with EmbeddedServer() as server:
        process = server._process
        assert process is not None
        yield Server(server.url, process.pid)


@contextmanager
def redis() -> Iterator[Server]:
    """Run a Redis without persistence, the fastest one."""
    port = _free_port()
    with tempfile.TemporaryDirectory(prefix="peers-") as folder:
        options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", folder]
        with _running(["redis-server", *options], port) as pid:
            yield Server(f"redis://127.0.0.1:{port}/0", pid)


@contextmanager
def postgres() -> Iterator[Server]:
    """Run a PostgreSQL with its default settings: each commit is synced. It refuses to run as root, so then as its own user."""
    port = _free_port()
    become = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.getuid() == 0 else []
    with tempfile.TemporaryDirectory(prefix="peers-") as folder:
        data = Path(folder, "data")
        data.mkdir()
        if become:
            shutil.chown(folder, "postgres")
            shutil.chown(data, "postgres")
        made = [*become, _postgres("initdb"), "-D", str(data), "-U", "postgres", "-A", "trust", "-E", "UTF8"]
        subprocess.run(made, check=True, stdout=subprocess.DEVNULL, cwd=folder)
        options = ["-D", str(data), "-p", str(port), "-k", folder, "-c", "listen_addresses=127.0.0.1"]
        with _running([*become, _postgres("postgres"), *options], port) as pid:
            yield Server(f"postgres://postgres@127.0.0.1:{port}/postgres", pid)


SERVERS = {"nats": nats, "redis": redis, "postgres": postgres}


def missing(store: str) -> str | None:
    """Return the program that is needed for a server and is not there."""
    needed = {"nats": [], "redis": ["redis-server"], "postgres": [_postgres("initdb"), _postgres("postgres")]}[store]
    return next((program for program in needed if shutil.which(program) is None), None)


def _postgres(program: str) -> str:
    """Return a program of PostgreSQL, which Debian keeps away from the path."""
    found = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{program}"))
    return str(found[-1]) if found else program


@contextmanager
def _running(command: list[str], port: int) -> Iterator[int]:
    process = subprocess.Popen(
        [*tie_to_this_process(), shutil.which(command[0]) or command[0], *command[1:]],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _wait_for(port, process)
        yield process.pid
    finally:
        process.terminate()
        process.wait()


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.05)
        else:
            return


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
