"""What the measurements share: the server, namespaces, worker processes, the table."""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, TypeAlias

from naq_cli.bench.stamps import VARIABLE, Stamps
from naq_core import Settings
from naq_core.server import EmbeddedServer
from naq_core.storage.connection import Connection
from naq_core.storage.topology import ensure_queue

ROOT = Path(__file__).resolve().parents[2]
QUEUE = "bench"
LIMIT = 120.0


@dataclass
class Figure:
    """One measured quantity: NAQ's values and, where there is one, the floor's, one per repetition."""

    name: str
    unit: str
    values: list[float] = field(default_factory=list)
    floors: list[float] = field(default_factory=list)
    floor_is: str = ""

    def row(self) -> list[str]:
        ratio = ""
        if self.values and self.floors and statistics.median(self.floors):
            ratio = f"{statistics.median(self.values) / statistics.median(self.floors):.2f}"
        return [self.name, self.unit, _spread(self.values), _spread(self.floors), ratio, self.floor_is]


def _spread(values: list[float]) -> str:
    if not values:
        return "-"
    return f"{_number(statistics.median(values))} [{_number(min(values))}-{_number(max(values))}]"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2f}"


class Results:
    """The figures of a run, in the order in which they first appear."""

    def __init__(self) -> None:
        self._figures: dict[str, Figure] = {}

    def add(self, name: str, unit: str, value: float, floor: float | None = None, floor_is: str = "") -> None:
        figure = self._figures.setdefault(name, Figure(name, unit, floor_is=floor_is))
        figure.values.append(value)
        if floor is not None:
            figure.floors.append(floor)

    def table(self) -> str:
        head = ["figure", "unit", "NAQ median [min-max]", "floor median [min-max]", "ratio", "the floor is"]
        rows = [head, ["-" * len(cell) for cell in head], *(figure.row() for figure in self._figures.values())]
        widths = [max(len(row[column]) for row in rows) for column in range(len(head))]
        return "\n".join(
            "| " + " | ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
        )


@dataclass(frozen=True)
class Board:
    """A dashboard that runs as a process of its own."""

    pid: int
    url: str


class Lab:
    """A server and the means to start workers on it."""

    def __init__(self, server: EmbeddedServer, folder: Path, size: int = 1_000_000) -> None:
        self.server = server
        self.folder = folder
        self.size = size
        """How many jobs, and how many records, a dashboard is shown."""
        self.results = Results()

    def stamps(self, slots: int) -> Stamps:
        """Make a fresh file of stamps, which the next workers write."""
        path = self.folder / f"stamps-{secrets.token_hex(4)}"
        os.environ[VARIABLE] = str(path)
        return Stamps.create(path, slots)

    @contextmanager
    def worker(self, settings: Settings, *queues: str, concurrency: int = 100) -> Iterator[int]:
        """Run `python -m naq_worker` and yield its process id."""
        command = [sys.executable, "-m", "naq_worker", *(queues or (QUEUE,)), "--concurrency", str(concurrency)]
        environment = {
            **settings.as_environment(),
            "NAQ_LOG_LEVEL": "WARNING",
        }
        with _process(command, environment) as pid:
            yield pid

    @contextmanager
    def workers(self, settings: Settings, count: int) -> Iterator[None]:
        """Run so many of them."""
        with ExitStack() as stack:
            for _ in range(count):
                stack.enter_context(self.worker(settings))
            yield

    @contextmanager
    def dashboard(self, settings: Settings) -> Iterator[Board]:
        """Run `python -m naq_dashboard` and yield its address once it answers."""
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        environment = {**settings.as_environment(), "NAQ_LOG_LEVEL": "WARNING"}
        with _process([sys.executable, "-m", "naq_dashboard", "--port", str(port)], environment) as pid:
            deadline = time.monotonic() + LIMIT
            while socket.socket().connect_ex(("127.0.0.1", port)):
                if time.monotonic() > deadline:
                    raise TimeoutError("the dashboard does not listen")
                time.sleep(0.05)
            yield Board(pid, f"http://127.0.0.1:{port}")

    @contextmanager
    def floor_worker(self, settings: Settings, mode: str) -> Iterator[int]:
        command = [sys.executable, "-m", "tests.benchmarks.floor_worker", settings.nats_url, settings.namespace, mode]
        with _process(command, {}) as pid:
            yield pid


Measure: TypeAlias = Callable[[Lab], Awaitable[None]]


@contextmanager
def _process(command: list[str], environment: dict[str, str]) -> Iterator[int]:
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("NATS_")}
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
    process = subprocess.Popen(command, cwd=ROOT, env={**inherited, "PYTHONPATH": path, **environment})
    try:
        yield process.pid
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def laboratory(size: int) -> Iterator[Lab]:
    """Provide a server on a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="naq-bench-") as folder, EmbeddedServer() as server:
        yield Lab(server, Path(folder), size)


class Namespace:
    """A namespace for one measurement, with its streams and the queue, all deleted at the end."""

    def __init__(self, lab: Lab, **settings: Any) -> None:
        self.settings = Settings.load(nats_url=lab.server.url, namespace=f"b{secrets.token_hex(5)}", **settings)
        self.connection = Connection(self.settings, name="bench")

    async def __aenter__(self) -> Self:
        await self.connection.open()
        await ensure_queue(self.connection, QUEUE)
        return self

    async def __aexit__(self, *_: object) -> None:
        names = self.connection.names
        for stream in (names.jobs_stream, names.results_stream, names.workers_stream):
            await self.connection.api(f"STREAM.DELETE.{stream}")
        await self.connection.close()


async def until(condition: Callable[[], bool], what: str, limit: float = LIMIT) -> None:
    """Wait for a condition.

    Raises:
        TimeoutError: It did not come true; says what was awaited.
    """
    deadline = time.monotonic() + limit
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not within {limit:g} s")
        await asyncio.sleep(0.02)


def rss_mb(pid: int | str) -> float:
    """Return the resident memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise RuntimeError(f"process {pid} has no memory: it has ended")
