"""Open pages of the dashboard while jobs run: how soon an event is on a page, how often pages change, what it costs."""

from __future__ import annotations

import asyncio
import os
import re
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

import httpx

from naq_cli.bench.measures import percentile
from naq_client import Queue
from naq_core.connection import Connection
from naq_core.events import events
from naq_core.views import Event
from tests.benchmarks import jobs
from tests.benchmarks.dashboard import crowded, other_viewer
from tests.benchmarks.lab import QUEUE, Board, Lab, rss_mb

JOBS_A_SECOND, FEWER_JOBS_A_SECOND = 500, 200
"""Each starts and ends: two events."""
PROBES_A_SECOND = 4
PROBES = "probe"
WARM_SECONDS = 15.0
SECONDS = 60.0
TURN = 0.05
WATCHED = {
    "an event on /events": "events",
    "a job's end on /jobs?queue=…": f"jobs?queue={PROBES}",
    "a job's end on /queues/…": f"queue?queue={PROBES}",
}
OPEN = (
    *("events", "events?kind=succeeded", "jobs", "jobs", "jobs", "jobs?state=running", "jobs?state=dead", "jobs?q=anna"),
    *("overview", "overview", "overview", "queues", "queues", f"queue?queue={QUEUE}", "errors", "delayed", "workers"),
)
"""With those that are watched: twenty."""
NEWEST = re.compile(r'<time datetime=\\"([^"\\]+)\\"')


@dataclass
class Stream:
    """An open page: when frames came, and what is in them where somebody looks."""

    address: str
    is_read: bool
    frames: list[tuple[float, str]] = field(default_factory=list)

    async def follow(self, client: httpx.AsyncClient) -> None:
        rest = ""
        async with client.stream("GET", "/stream", params={"page": self.address}, timeout=None) as answer:
            async for text in answer.aiter_text():
                *frames, rest = (rest + text).replace("\r\n", "\n").split("\n\n")
                now = time.time()
                self.frames += [(now, each if self.is_read else "") for each in frames if "data:" in each]

    def most_in_a_second(self, since: float) -> int:
        times = [at for at, _ in self.frames if at >= since]
        return max((sum(at <= each < at + 1 for each in times) for at in times), default=0)


async def dashboard_live(lab: Lab) -> None:
    """Keep 20 pages open on a million jobs and records while a worker makes 1,000 events a second."""
    await _with_pages_open(lab, JOBS_A_SECOND, OPEN)


async def dashboard_tabs(lab: Lab) -> None:
    """Keep three pages open on a million jobs and records while a worker runs 200 jobs a second."""
    await _with_pages_open(lab, FEWER_JOBS_A_SECOND, ())


async def _with_pages_open(lab: Lab, rate: int, others: Sequence[str]) -> None:
    async with crowded(lab) as (space, _), Queue(QUEUE, settings=space.settings) as queue:
        with lab.worker(space.settings, QUEUE, PROBES), lab.dashboard(space.settings) as board:
            await watch(lab, board, queue, SECONDS, rate, others)


async def watch(lab: Lab, board: Board, queue: Queue, seconds: float, rate: int, others: Sequence[str]) -> None:
    """Make events, and see them arrive on pages, with others open that nobody looks at."""
    watched = {name: Stream(address, is_read=True) for name, address in WATCHED.items()}
    streams = [*watched.values(), *(Stream(address, is_read=False) for address in others)]
    seen: list[Event] = []
    deaf: list[float] = []
    async with _under_way(queue, board, streams, seen, rate):
        await asyncio.sleep(WARM_SECONDS)
        since, used, before = time.time(), _cpu_seconds(board.pid), rss_mb(board.pid)
        async with other_viewer(board, deaf):
            await asyncio.sleep(seconds)
        used, after = _cpu_seconds(board.pid) - used, rss_mb(board.pid)
        until = time.time() - 2
        await asyncio.sleep(1)
    seen = [each for each in seen if since <= each.at.timestamp() < until]
    lab.results.add("events a second", "", len(seen) / (until - since))
    for name, stream in watched.items():
        late = _on_events(stream, seen) if stream.address == "events" else _on_lists(stream, seen)
        lab.results.add(f"{name}, p95", "ms", percentile(late, 0.95), percentile(late, 0.5), "its p50")
        sys.stderr.write(f"{name}: {len(late)} seen, the latest after {max(late):.0f} ms\n")
    lab.results.add("frames of a page in a second, most", "", max(each.most_in_a_second(since) for each in streams))
    for each in streams:
        frames = sum(at >= since for at, _ in each.frames) / (time.time() - since)
        sys.stderr.write(f"{each.address}: {frames:.2f} frames/s\n")
    lab.results.add("dashboard CPU", "%", 100 * used / seconds)
    lab.results.add("another viewer meanwhile, p95", "ms", percentile(deaf, 0.95), percentile(deaf, 0.5), "its p50")
    lab.results.add("another viewer meanwhile, longest", "ms", max(deaf))
    lab.results.add(f"dashboard RSS after {seconds:g} s", "MB", after, before, "before")


@asynccontextmanager
async def _under_way(queue: Queue, board: Board, streams: Sequence[Stream], seen: list[Event], rate: int) -> AsyncIterator[None]:
    connection = await queue.connection()
    limits = httpx.Limits(max_connections=None)
    async with (
        httpx.AsyncClient(base_url=board.url, limits=limits) as client,
        Queue(PROBES, settings=queue.settings) as probes,
    ):
        duties = [
            _collect(connection, seen),
            _enqueue(queue, rate),
            _enqueue(probes, PROBES_A_SECOND),
            *(each.follow(client) for each in streams),
        ]
        tasks = [asyncio.ensure_future(duty) for duty in duties]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            for end in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(end, Exception):
                    sys.stderr.write(f"{end!r}\n")


async def _collect(connection: Connection, seen: list[Event]) -> None:
    follow = events(connection)
    while True:
        seen.append(await anext(follow))


async def _enqueue(queue: Queue, rate: int) -> None:
    """Enqueue at a rate, made up for where a turn comes late."""
    began, done = time.monotonic(), 0
    while True:
        due = int((time.monotonic() - began) * rate)
        if due > done:
            await queue.enqueue_many(queue.call(jobs.answer, number) for number in range(done, due))
            done = due
        await asyncio.sleep(TURN)


def _on_events(stream: Stream, seen: Sequence[Event]) -> list[float]:
    """Return how many milliseconds after it happened each event, or a newer one, was on the page."""
    late = []
    frames = [(at, found.group(1)) for at, text in stream.frames if (found := NEWEST.search(text))]
    shown = [(at, datetime.fromisoformat(newest).timestamp()) for at, newest in frames]
    place = 0
    for event in sorted(seen, key=lambda each: each.at):
        happened = int(event.at.timestamp() * 1000) / 1000
        while place < len(shown) and shown[place][1] < happened:
            place += 1
        if place < len(shown):
            late.append((shown[place][0] - event.at.timestamp()) * 1e3)
    return late


def _on_lists(stream: Stream, seen: Sequence[Event]) -> list[float]:
    """Return how many milliseconds after it happened the end of each job was on the page."""
    late = []
    for event in seen:
        if event.queue != PROBES or event.kind != "succeeded":
            continue
        row = re.compile(rf'id=\\"j-{event.job_id}[-\\](?:(?!</tr>).)*s-succeeded', re.DOTALL)
        shown = (at for at, text in stream.frames if at >= event.at.timestamp() and row.search(text))
        late.append((next(shown, float("inf")) - event.at.timestamp()) * 1e3)
    return late


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
