"""The figures of the house: how large it is, and how many of its modules a job, a firing and a page pass through.

`hatch run house` prints them. They are for comparison with what they were before a change; nothing depends on them.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import httpx

from naq_client import Queue, SyncQueue
from naq_core import Settings
from naq_core.inspect import list_jobs
from naq_core.schedules import make_named_spec
from naq_core.schedules.store import put_schedule
from naq_core.server import EmbeddedServer
from naq_core.storage.connection import Connection
from naq_core.views import JobFilter
from naq_dashboard import DashboardSettings, create_app
from naq_scheduler import Scheduler
from naq_worker import Worker
from tests.support.eventually import eventually

PACKAGES = Path(__file__).parents[1] / "packages"
TRIES = 5


class Way:
    """The modules of NAQ that one thread enters."""

    def __init__(self) -> None:
        self.modules: set[str] = set()
        self.changes = 0
        """How often the code of another module goes on."""
        self._last = ""

    def note(self, frame: FrameType, event: str, _: Any) -> None:
        """Take account of a call (for `sys.setprofile`)."""
        name = frame.f_globals.get("__name__", "")
        if event != "call" or not name.startswith("naq_") or frame.f_code.co_name == "<module>":
            return
        self.modules.add(name)
        if name != self._last:
            self.changes += 1
            self._last = name


@contextmanager
def following() -> Iterator[Way]:
    """Note what this thread does."""
    way = Way()
    sys.setprofile(way.note)
    try:
        yield way
    finally:
        sys.setprofile(None)


def shortest(ways: Iterable[Way]) -> str:
    """Return the figures of the shortest way: a heartbeat or a timer may have come into the others."""
    way = min(ways, key=lambda each: each.changes)
    return f"{len(way.modules)} modules, {way.changes} changes of module"


async def an_enqueue(settings: Settings) -> list[Way]:
    """Enqueue jobs, after a first one."""
    ways = []
    async with Queue(settings=settings) as queue:
        for _ in range(TRIES + 1):
            with following() as way:
                await queue.enqueue(len, "a")
            ways.append(way)
    return ways[1:]


async def a_job(settings: Settings) -> list[Way]:
    """Run jobs, which another thread enqueues; longer ones than are claimed late."""
    worker = Worker(["default"], settings=settings)
    running = asyncio.create_task(worker.run())
    ways = []

    def run_one() -> None:
        with SyncQueue(settings=settings) as queue:
            queue.enqueue("time:sleep", 0.05).result(30)

    for _ in range(TRIES + 1):
        with following() as way:
            await asyncio.to_thread(run_one)
        ways.append(way)
    worker.stop()
    await running
    return ways[1:]


async def a_firing(settings: Settings) -> list[Way]:
    """Let a schedule fire each second."""
    scheduler = Scheduler(settings=settings)
    running = asyncio.create_task(scheduler.run())
    ways = []
    async with Connection(settings) as connection:
        await put_schedule(connection, make_named_spec("time:time", interval=1, schedule_id="house"))
        fired: list[int] = []
        names = connection.names

        def on_count(*_: bytes) -> None:
            fired.append(1)

        await connection.client.listen(f"{names.jobs}.*.default.*", on_count)
        for _ in range(TRIES + 1):
            fired.clear()
            with following() as way:
                await eventually(lambda: bool(fired), 5, interval=0.2)
            ways.append(way)
    scheduler.stop()
    await running
    return ways[1:]


async def a_page(settings: Settings, path: str) -> list[Way]:
    """Get a page of the dashboard, after a first time."""
    app = create_app(settings, DashboardSettings(secret="s" * 32))
    ways = []
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1", timeout=20) as client:
        for number in range(TRIES + 1):  # equal questions would share an answer
            with following() as way:
                answer = await client.get(f"{path}?q=queue:q{number}")
            assert answer.status_code == 200, answer.text
            ways.append(way)
    return ways[1:]


async def a_list(settings: Settings) -> list[Way]:
    """List jobs, as `naq job list` does."""
    ways = []
    async with Connection(settings) as connection:
        for _ in range(TRIES + 1):
            with following() as way:
                await list_jobs(connection, JobFilter())
            ways.append(way)
    return ways[1:]


def sources() -> list[Path]:
    return sorted(PACKAGES.glob("*/src/**/*.py"))


def naming(pattern: str) -> str:
    """Return in how many source files and templates a pattern stands."""
    found = [path for path in (*sources(), *PACKAGES.glob("*/src/**/*.html")) if re.search(pattern, path.read_text("utf-8"))]
    return f"{len(found)} files"


async def main() -> None:
    """Print all figures."""
    lines = {path: path.read_text("utf-8").count("\n") for path in sources()}
    print(f"source: {len(lines)} files, {sum(lines.values()):,} lines; the longest has {max(lines.values())}")
    print("the option `tags`:", naming(r"\btags\b"))
    print("the state `expired`:", naming(r"\bEXPIRED\b|\bexpired\b"))
    with EmbeddedServer() as server:
        settings = Settings.load(nats_url=server.url, namespace="house")
        print(f"an enqueue: {shortest(await an_enqueue(settings))}")
        print(f"a job in a worker: {shortest(await a_job(settings))}")
        print(f"a firing: {shortest(await a_firing(settings))}")
        for path in ("/jobs", "/api/jobs"):
            print(f"GET {path}: {shortest(await a_page(settings, path))}")
        print(f"a list of jobs: {shortest(await a_list(settings))}")


if __name__ == "__main__":
    asyncio.run(main())
