"""The dashboard with much to show: how long each page takes, and what it costs another viewer and in memory."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from urllib.parse import urlencode

import httpx

from naq_cli.bench.measures import percentile
from naq_client import Queue, Workflow, result_of
from tests.benchmarks import jobs
from tests.benchmarks.crowd import Crowd, fill
from tests.benchmarks.lab import QUEUE, Board, Lab, Namespace, rss_mb
from tests.support.eventually import eventually

VISITS = 40
APART = 6.2
"""Seconds between two visits of a page: longer than anything is shared among viewers, so each pays for its own."""
BLINK = 0.02
KEY = "invoice-4711"

Address = Callable[[], str]


async def dashboard_pages(lab: Lab) -> None:
    """Visit every page, list, search and API address of a dashboard, 40 times each, with a million jobs and as many records."""
    async with crowded(lab) as (space, crowd), Queue(QUEUE, settings=space.settings) as queue:
        await plans(queue)
        with lab.worker(space.settings), lab.dashboard(space.settings) as board:
            await visit(lab, board, crowd, VISITS)


@asynccontextmanager
async def crowded(lab: Lab) -> AsyncIterator[tuple[Namespace, Crowd]]:
    """Provide a namespace with as many jobs and records as were asked for."""
    async with Namespace(lab) as space:
        yield space, await fill(space.connection, lab.size, lab.size)


async def plans(queue: Queue) -> None:
    """Make some schedules and workflows, through the API."""
    await queue.options(unique=KEY, delay=timedelta(days=1)).enqueue(jobs.answer, 0)
    for number in range(20):
        await queue.schedule(jobs.answer, number, schedule_id=f"plan-{number}", cron="0 6 * * *")
    for number in range(30):
        flow = Workflow(f"nightly-{number}", workflow_id=f"flow-{number}")
        first = flow.add(queue.call(jobs.answer, number))
        for _ in range(10):
            flow.add(queue.call(jobs.answer, result_of(first)))
        await flow.enqueue(queue)


async def visit(lab: Lab, board: Board, crowd: Crowd, visits: int) -> None:
    """Go from page to page, again and again, while somebody else's small requests tell how long the dashboard was deaf."""
    async with httpx.AsyncClient(base_url=board.url, timeout=60) as client:
        await _until_worker(client)
        before = rss_mb(board.pid)
        addresses = await _addresses(client, crowd)
        taken: dict[str, list[float]] = {name: [] for name in addresses}
        deaf: list[float] = []
        async with other_viewer(board, deaf):
            for _ in range(visits):
                began = time.monotonic()
                for name, address in addresses.items():
                    taken[name].append(await _visit(client, address()))
                await asyncio.sleep(max(0.0, began + APART - time.monotonic()))
    for name, times in taken.items():
        lab.results.add(f"{name}, p95", "ms", percentile(times, 0.95), percentile(times, 0.5), "its p50")
    lab.results.add("another viewer meanwhile, p95", "ms", percentile(deaf, 0.95), percentile(deaf, 0.5), "its p50")
    lab.results.add("another viewer meanwhile, longest", "ms", max(deaf))
    lab.results.add("dashboard RSS after all pages", "MB", rss_mb(board.pid), before, "before")


async def _visit(client: httpx.AsyncClient, address: str) -> float:
    accept = "application/json" if address.startswith("/api") else "text/html"
    began = time.perf_counter()
    answer = await client.get(address, headers={"Accept": accept})
    taken = (time.perf_counter() - began) * 1e3
    if answer.status_code != 200:
        raise RuntimeError(f"{address}: {answer.status_code} {answer.text[:300]}")
    return taken


async def _until_worker(client: httpx.AsyncClient) -> None:
    async def reports() -> None:
        assert (await client.get("/api/workers")).json()

    await eventually(reports, timeout=30)


@asynccontextmanager
async def other_viewer(board: Board, deaf: list[float]) -> AsyncIterator[None]:
    """Ask for what needs nothing but the dashboard's event loop."""

    async def look() -> None:
        async with httpx.AsyncClient(base_url=board.url, timeout=60) as client:
            while True:
                deaf.append(await _visit(client, "/api/health/live"))
                await asyncio.sleep(BLINK)

    task = asyncio.create_task(look())
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


async def _addresses(client: httpx.AsyncClient, crowd: Crowd) -> dict[str, Address]:
    """Return what to visit, by its name in the table; words and ids differ from visit to visit."""
    worker = (await client.get("/api/workers")).json()[0]["worker_id"]
    first = (await client.get("/api/jobs")).json()["cursor"].partition("-")[0]
    held = (await client.get("/api/jobs?state=held&state=retrying")).json()["cursor"].split("-")
    held[-1] = str(crowd.waiting)

    def fixed(address: str) -> Address:
        return lambda: address

    def one(kind: str, form: str) -> Address:
        return lambda: form.format(random.choice(crowd.jobs[kind]))

    def absent(form: str) -> Address:
        return lambda: form.format(f"nothing{random.randrange(10**9)}")

    found: dict[str, Address] = {}
    plain = ("/", "/?range=72h", "/queues", "/queues/mail", "/queues/webhooks", "/jobs", "/jobs?limit=500", "/jobs?queue=mail")
    states = ("queued", "held", "running", "retrying", "succeeded", "dead", "cancelled", "expired")
    rare = ("/jobs?queue=webhooks&state=expired", "/jobs?function=hooks", "/jobs?q=error:TimeoutError", "/jobs?q=since:2h")
    others = ("/errors", "/errors?queue=mail", "/delayed", "/delayed?queue=webhooks", "/schedules", "/schedules/plan-1")
    plans = ("/schedules/plan-1/edit", "/new-schedule", "/workflows", "/workflows/flow-1", "/workers", "/events", "/metrics")
    more_pages = (
        "/functions",
        "/functions?range=72h",
        "/functions/shop.mail:send_receipt",
        "/audit",
        "/new-job",
        "/find?q=mail",
        "/api",
    )
    labels = ("tag:vip", "arg.customer:4711", f"key:{KEY}", "tag:vip state:dead", "arg.customer:4711 state:queued")
    api = ("overview", "queues", "queues/mail", "jobs", "errors", "workers", "schedules", "workflows", "jobs/count")
    more = (
        "functions",
        "attention",
        "deploys",
        "audit",
        "jobs/count?state=succeeded",
        "jobs/count?state=dead",
        "jobs/count?queue=webhooks",
        "metrics/series?hours=1",
    )
    for address in (*plain, *(f"/jobs?state={state}" for state in states), *rare, *others, *plans, *more_pages):
        found[address] = fixed(address)
    for address in (*api, *more, "metrics/series?hours=6", "metrics/series?hours=72"):
        found[f"/api/{address}"] = fixed(f"/api/{address}")
    found["/workers/{one}"] = fixed(f"/workers/{worker}")
    for kind in ("succeeded", "dead", "queued", "held"):
        found[f"/jobs/{{one that is {kind}}}"] = one(kind, "/jobs/{}")
    found["/api/jobs/{one}"] = one("dead", "/api/jobs/{}")
    found["/jobs?q={an id}"] = one("succeeded", "/jobs?q={}")
    for words in labels:
        found[f"/jobs?q={words}"] = fixed(f"/jobs?{urlencode({'q': words})}")
    found["/jobs?q=tag:{nothing like it}"] = absent("/jobs?q=tag:{}")
    found["/new-job?like={one that is dead}"] = one("dead", "/new-job?like={}")
    found["/jobs?q=anna"] = fixed("/jobs?q=anna")
    found["/jobs?q={nothing like it}"] = absent("/jobs?q={}")
    found["/jobs?state=dead&q={nothing like it}"] = absent("/jobs?state=dead&q={}")
    found["/delayed?q={nothing like it}"] = absent("/delayed?q={}")
    found["/api/jobs?q={nothing like it}"] = absent("/api/jobs?q={}")
    found["/api/jobs/count?q={nothing like it}"] = absent("/api/jobs/count?q={}")
    found["/jobs?cursor={half-way down}"] = fixed(f"/jobs?cursor={first}-{crowd.middle[0]}-{crowd.middle[1]}")
    found["/jobs?state=succeeded&cursor={half-way down}"] = fixed(f"/jobs?state=succeeded&cursor={first}-{crowd.middle[0]}")
    found["/delayed?cursor={half-way down}"] = fixed(f"/delayed?cursor={'-'.join(held)}")
    return found
