"""Events for programs: filtered, numbered, made good after a break, ended with the server."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import pytest_asyncio

from naq_client import Queue
from naq_core.manage import cancel_job
from naq_core.settings import Settings
from naq_core.testing import WorkerRunner
from naq_core.views import Event
from naq_dashboard import DashboardSettings, create_app
from naq_dashboard.live.event_stream import MOST_WAITING, event_frames
from naq_dashboard.live.hub import Subscription
from naq_dashboard.state import AppState
from tests.browser.conftest import program
from tests.dashboard.conftest import SECRET
from tests.integration import work
from tests.support.eventually import eventually


@pytest_asyncio.fixture
async def state(settings: Settings) -> AsyncIterator[AppState]:
    opened: AppState = create_app(settings, DashboardSettings(secret=SECRET)).state.naq_dashboard
    yield opened
    await opened.aclose()


def event(number: int, kind: str = "started", queue: str = "mail") -> Event:
    return Event(kind=kind, at="2026-11-24T12:00:00Z", queue=queue, job_id=f"job{number}")  # type: ignore[arg-type]  # not looked at


def happen(state: AppState, number: int) -> None:
    state.feed.take(event(number))


@asynccontextmanager
async def reading(state: AppState, last_id: str = "") -> AsyncIterator[Any]:
    frames = event_frames(state.feed, state.live, lambda _: True, last_id)
    await anext(frames)
    yield frames
    await frames.aclose()


def told(frame: Any) -> tuple[str, str]:
    found = json.loads(frame.data)
    return found["kind"], found["job_id"]


async def test_who_comes_back_is_sent_what_was_missed(state: AppState) -> None:
    async with reading(state) as frames:
        happen(state, 1)
        first = await anext(frames)
    happen(state, 2)
    happen(state, 3)
    async with reading(state, str(first.id)) as frames:
        assert [told(await anext(frames)) for _ in range(2)] == [("started", "job2"), ("started", "job3")]
        happen(state, 4)
        assert told(await anext(frames)) == ("started", "job4")


async def test_a_gap_while_nobody_read_is_told_in_its_place(state: AppState) -> None:
    async with reading(state) as frames:
        happen(state, 1)
        first = await anext(frames)
    happen(state, 2)
    state.feed.take(event(0, "gap", "*"))
    happen(state, 3)
    async with reading(state, str(first.id)) as frames:
        assert [told(await anext(frames)) for _ in range(3)] == [("started", "job2"), ("gap", "job0"), ("started", "job3")]


async def test_after_a_connection_that_was_closed_for_good_it_listens_on_a_new_one(state: AppState, queue: Queue) -> None:
    async with reading(state) as frames:
        client = (await state.connection()).client
        state.feed.start()

        def listens() -> None:
            assert len(client._subs) >= 2

        await eventually(listens)
        await client.close()  # as a server does that does not accept the credentials any more
        async with asyncio.timeout(15):
            assert told(await anext(frames))[0] == "gap"
        job = await queue.enqueue(work.add, 1, 1)
        await cancel_job(await queue.connection(), job.job_id)
        async with asyncio.timeout(15):
            assert told(await anext(frames)) == ("cancelled", job.job_id)


async def test_what_is_not_kept_is_a_gap(state: AppState) -> None:
    happen(state, 1)
    for last_id in ("another-1", f"{state.feed.mark}-7", f"{state.feed.mark}--1", "rubbish", f"{state.feed.mark}-²"):
        async with reading(state, last_id) as frames:
            assert told(await anext(frames)) == ("gap", ""), last_id


async def test_a_slow_reader_loses_the_oldest_and_is_told(state: AppState) -> None:
    async with reading(state) as frames:
        for number in range(MOST_WAITING + 50):
            happen(state, number)
        assert told(await anext(frames)) == ("gap", "")
        assert told(await anext(frames)) == ("started", "job51")


async def test_streams_end_with_the_server(state: AppState) -> None:
    async with reading(state) as frames:
        assert state.live.streams == 1
        waiting = asyncio.ensure_future(anext(frames, None))
        state.live.end_streams()
        async with asyncio.timeout(15):
            assert await waiting is None
    assert state.live.streams == 0


async def test_a_stream_ends_after_a_while_so_that_its_reader_is_asked_again_who_it_is(
    state: AppState, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("naq_dashboard.live.event_stream.LONGEST", 0.0)
    async with reading(state) as frames:
        assert await anext(frames, None) is None
    monkeypatch.setattr("naq_dashboard.live.hub.LONGEST", 0.0)

    async def load() -> dict[str, str]:
        return {}

    assert [frame.comment async for frame in state.live.stream([Subscription(page="page", key="page", load=load)])] == ["live"]
    assert state.live.streams == 0


async def test_it_is_asked_over_http(settings: Settings, queue: Queue, naq_worker: WorkerRunner) -> None:
    """A real server, as an in-process client would wait for the end of the answer."""
    loop = asyncio.get_running_loop()
    context = program("-m", "naq_dashboard", "--port", "0", settings=settings, ready="naq dashboard: http")
    process, line = await loop.run_in_executor(None, context.__enter__)
    address = line.split()[-1].rstrip("/")
    try:
        async with httpx.AsyncClient(base_url=address, timeout=20) as client:
            assert (await client.get("/api/stream?kind=starts")).status_code == 400
            async with client.stream("GET", "/api/stream?kind=succeeded&kind=failed&queue=default") as answer:
                assert answer.headers["content-type"].startswith("text/event-stream")
                lines = answer.aiter_lines()
                await anext(lines)
                job = await queue.enqueue(work.add, 1, 1)
                async with naq_worker.running("default"):
                    async for each in lines:
                        if each.startswith("data: "):
                            break
                found = json.loads(each.removeprefix("data: "))
                assert (found["kind"], found["job_id"]) == ("succeeded", job.job_id)
                process.send_signal(signal.SIGTERM)
                async with asyncio.timeout(15):
                    assert [each async for each in lines if each.startswith("data: ")] == []
    finally:
        await loop.run_in_executor(None, context.__exit__, None, None, None)
