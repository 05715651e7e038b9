"""Live updates: what an open page is sent, how often, and how streams end."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import TypeAlias

import pytest_asyncio
from litestar.response import ServerSentEventMessage

from naq_core.errors import BrokerUnavailableError
from naq_core.settings import Settings
from naq_dashboard.live.hub import SHORTEST, Hub
from tests.support.eventually import eventually

Frames: TypeAlias = AsyncGenerator[ServerSentEventMessage, None]


class Source:
    """A page's regions, counted and controlled."""

    def __init__(self) -> None:
        self.text = "one"
        self.loads = 0
        self.is_away = False

    async def load(self) -> dict[str, str]:
        self.loads += 1
        if self.is_away:
            raise BrokerUnavailableError("nats://nobody", "test")
        return {"live-a": self.text, "live-b": "same"}


@pytest_asyncio.fixture
async def hub(settings: Settings) -> AsyncIterator[Hub]:
    opened = Hub()
    yield opened
    await opened.close()


async def begun(frames: Frames) -> Frames:
    """Go over what every stream begins with: a comment, and whether NATS answers."""
    assert (await anext(frames)).comment == "live"
    assert (await anext(frames)).event == "up"
    return frames


async def test_only_what_has_changed_is_sent(hub: Hub) -> None:
    source = Source()
    frames = await begun(hub.stream("page", source.load))
    first = str((await anext(frames)).data)
    assert "#live-a" in first
    assert "#live-b" in first
    source.text = "two"
    hub.notify("any", "job")
    second = str((await anext(frames)).data)
    assert "two" in second
    assert "#live-b" not in second
    await frames.aclose()


async def test_a_flood_of_events_makes_few_frames(hub: Hub) -> None:
    source = Source()
    frames = await begun(hub.stream("page", source.load))
    await anext(frames)
    loop = asyncio.get_running_loop()
    started, got, before = loop.time(), 0, source.loads
    while got < 4:
        for number in range(500):
            source.text = f"{got} {number}"
            hub.notify("q", f"job{number}")
        await anext(frames)
        got += 1
    assert loop.time() - started >= 3 * SHORTEST * 0.9
    assert source.loads - before <= 6
    await frames.aclose()


async def test_who_shows_the_same_shares_the_work(hub: Hub) -> None:
    source = Source()
    streams = [await begun(hub.stream("page", source.load)) for _ in range(20)]
    for stream in streams:
        await anext(stream)
    assert source.loads == 1
    for stream in streams:
        await stream.aclose()
    assert hub.streams == 0


async def test_other_jobs_do_not_wake_a_page(hub: Hub) -> None:
    source = Source()
    frames = await begun(hub.stream("page", source.load, job_id="mine"))
    await anext(frames)
    topic = hub._topics["page"]
    hub.notify("q", "other")
    assert not topic._dirty.is_set()
    hub.notify("q", "mine")
    assert topic._dirty.is_set()
    await frames.aclose()


async def test_a_page_says_when_nats_is_away_and_when_it_is_back(hub: Hub) -> None:
    source = Source()
    frames = await begun(hub.stream("page", source.load))
    await anext(frames)
    source.is_away = True
    hub.notify_all()
    away = await anext(frames)
    assert (away.event, "nats://nobody" in str(away.data)) == ("away", True)
    source.is_away = False
    hub.notify_all()
    assert (await anext(frames)).event == "up"
    await frames.aclose()


async def test_fifty_streams_end_at_once(hub: Hub) -> None:
    source = Source()
    streams = [hub.stream(f"page{number}", source.load) for number in range(50)]

    async def read(number: int) -> None:
        async for _ in streams[number]:
            pass

    readers = [asyncio.create_task(read(number)) for number in range(50)]

    def all_open() -> None:
        assert hub.streams == 50

    await eventually(all_open)
    hub.end_streams()
    async with asyncio.timeout(15):
        await asyncio.gather(*readers)
