"""Very many queues: what the first and the next job of each cost, lists of them, and workers that serve them all."""

from __future__ import annotations

import asyncio
import os
import pathlib
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

import httpx

from naq_client import Queue
from naq_core import Settings
from naq_core.inspect import list_queues
from naq_core.server import EmbeddedServer
from tests.benchmarks import jobs
from tests.benchmarks.lab import Lab, rss_mb

COUNTS = (1_000, 2_000, 4_000, 10_000)
AT_ONCE = 64
WORKERS = 4
"""Processes that share the queues, after one that has them all."""
CONCURRENCY = 100
LIMIT = 900.0
LIST = 3
BUSY = 2_000
"""Jobs of one queue beside the others, which are idle."""


async def queues(lab: Lab) -> None:
    """Enqueue one job to each of 1,000 to 10,000 queues, list them, and work everything off."""
    for count in COUNTS:
        with EmbeddedServer() as server:
            await _measure(lab, server, [f"tenant-{number:05d}" for number in range(count)])


async def _measure(lab: Lab, server: EmbeddedServer, names: list[str]) -> None:
    settings = Settings.load(nats_url=server.url, namespace="many")

    def note(what: str, unit: str, value: float) -> None:
        lab.results.add(f"{len(names):,} queues, {what}", unit, value)

    async with Queue(names[0], settings=settings) as first:
        connection = await first.connection()
        assert server.pid is not None
        before = rss_mb(server.pid)
        for what in ("first job of each", "next job of each"):
            began = time.monotonic()
            await _enqueue(first, names)
            note(f"{what}, {AT_ONCE} at a time", "jobs/s", len(names) / (time.monotonic() - began))
        note("memory of the server per queue", "KB", 1024 * (rss_mb(server.pid) - before) / len(names))
        for _ in range(LIST):
            began = time.monotonic()
            assert len(await list_queues(connection)) == len(names)
            note("inspect.list_queues", "s", time.monotonic() - began)
            began = time.monotonic()
            await asyncio.to_thread(_run_list, settings)
            note("`naq queue list`", "s", time.monotonic() - began)
        with lab.dashboard(settings) as board:
            async with httpx.AsyncClient(timeout=120) as client:
                for _ in range(LIST + 1):
                    began = time.monotonic()
                    answer = await client.get(f"{board.url}/queues")
                    assert answer.status_code == 200, answer.text
                    note("size of that page", "KB", len(answer.content) / 1024)
                    note("page /queues of the dashboard", "s", time.monotonic() - began)
                    await asyncio.sleep(3.2)  # longer than anything is shared among viewers
            note("memory of the dashboard", "MB", rss_mb(board.pid))
        for count in (1, WORKERS):
            await _work_off(lab, settings, first, names, count, server.pid, note)
        note("memory of the server, all at work", "MB", rss_mb(server.pid))


async def _enqueue(queue: Queue, names: Sequence[str]) -> None:
    connection = await queue.connection()
    for start in range(0, len(names), AT_ONCE):
        some = [Queue(name, connection=connection) for name in names[start : start + AT_ONCE]]
        await asyncio.gather(*(each.enqueue(jobs.answer, 1) for each in some))


def _run_list(settings: Settings) -> None:
    command = [sys.executable, "-m", "naq_cli", "queue", "list"]
    subprocess.run(command, env={**os.environ, **settings.as_environment()}, stdout=subprocess.DEVNULL, check=True)


async def _work_off(
    lab: Lab,
    settings: Settings,
    queue: Queue,
    names: list[str],
    workers: int,
    server: int,
    note: Callable[[str, str, float], None],
) -> None:
    """Start workers that share the queues, wait until nothing is left, then enqueue one more job to the last queue."""
    what = "one worker" if workers == 1 else f"{workers} workers"
    began = time.monotonic()
    async with _running(lab, settings, names, workers) as pids:
        await _until_empty(queue)
        note(f"{what}, from start until all jobs are done", "s", time.monotonic() - began)
        used = _cpu_seconds(pids)
        await asyncio.sleep(10)
        note(f"{what}, CPU while nothing waits, each", "%", 10 * (_cpu_seconds(pids) - used) / workers)
        note(f"{what}, memory of each", "MB", sum(map(rss_mb, pids)) / workers)
        last = Queue(names[-1], connection=await queue.connection())
        began = time.monotonic()
        await (await last.enqueue(jobs.answer, 1)).result(timeout=60)
        note(f"{what}, enqueue to result in the last queue", "ms", 1000 * (time.monotonic() - began))
        began, used = time.monotonic(), _cpu_seconds([server])
        await _enqueue(queue, names)
        await _until_empty(queue)
        note(f"{what}, one more job of each", "jobs/s", len(names) / (time.monotonic() - began))
        note(f"{what}, one more job of each: CPU of the server", "ms/job", 1000 * (_cpu_seconds([server]) - used) / len(names))
        began, used = time.monotonic(), _cpu_seconds([server])
        await queue.enqueue_many(queue.call(jobs.answer, number) for number in range(BUSY))
        await _until_empty(queue)
        note(f"{what}, jobs of one queue", "jobs/s", BUSY / (time.monotonic() - began))
        note(f"{what}, jobs of one queue: CPU of the server", "ms/job", 1000 * (_cpu_seconds([server]) - used) / BUSY)


@asynccontextmanager
async def _running(lab: Lab, settings: Settings, names: list[str], workers: int) -> AsyncIterator[list[int]]:
    async with AsyncExitStack() as stack:
        yield [
            stack.enter_context(lab.worker(settings, *names[number::workers], concurrency=CONCURRENCY))
            for number in range(workers)
        ]


async def _until_empty(queue: Queue) -> None:
    connection = await queue.connection()
    deadline = time.monotonic() + LIMIT
    while (await connection.api(f"STREAM.INFO.{connection.names.jobs_stream}"))["state"]["messages"]:
        if time.monotonic() > deadline:
            raise TimeoutError(f"jobs are left after {LIMIT:g} s")
        await asyncio.sleep(0.1)


def _cpu_seconds(pids: Sequence[int]) -> float:
    total = 0
    for pid in pids:
        with pathlib.Path(f"/proc/{pid}/stat").open() as stat:
            fields = stat.read().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / os.sysconf("SC_CLK_TCK")
