"""Live updates: what an open page is sent, how often, and how streams end."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, TypeAlias

import msgspec
import pytest_asyncio
from litestar.response import ServerSentEventMessage

from naq_core.errors import BrokerUnavailableError
from naq_core.settings import Settings
from naq_dashboard.live.hub import SHORTEST, Hub, Subscription
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


def stream(hub: Hub, source: Source, name: str = "page", job_id: str = "") -> Frames:
    return hub.stream([Subscription(page=name, key=name, load=source.load, job_id=job_id)])


async def told(frames: Frames) -> dict[str, Any]:
    """Return what the next frame says."""
    found: dict[str, Any] = msgspec.json.decode(str((await anext(frames)).data))
    return found


async def begun(frames: Frames) -> dict[str, Any]:
    """Go over the comment that every stream begins with, and return the first frame: everything, and that NATS answers."""
    assert (await anext(frames)).comment == "live"
    first = await told(frames)
    assert first["away"] == ""
    return first


async def test_only_what_has_changed_is_sent(hub: Hub) -> None:
    source = Source()
    frames = stream(hub, source)
    assert (await begun(frames))["regions"] == {"live-a": "one", "live-b": "same"}
    source.text = "two"
    hub.notify("any", "job")
    assert await told(frames) == {"page": "page", "regions": {"live-a": "two"}}
    await frames.aclose()


async def test_one_stream_keeps_all_pages_of_a_browser_up_to_date(hub: Hub) -> None:
    first, second = Source(), Source()
    frames = hub.stream(
        [Subscription(page=name, key=name, load=source.load) for name, source in (("jobs", first), ("queues", second))]
    )
    assert {(await begun(frames))["page"], (await told(frames))["page"]} == {"jobs", "queues"}
    assert hub.streams == 1
    second.text = "two"
    hub.notify_all()
    assert await told(frames) == {"page": "queues", "regions": {"live-a": "two"}}
    await frames.aclose()
    assert not hub._topics


async def test_a_flood_of_events_makes_few_frames(hub: Hub) -> None:
    source = Source()
    frames = stream(hub, source)
    await begun(frames)
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
    streams = [stream(hub, source) for _ in range(20)]
    for each in streams:
        await begun(each)
    assert source.loads == 1
    for each in streams:
        await each.aclose()
    assert hub.streams == 0


async def test_other_jobs_do_not_wake_a_page(hub: Hub) -> None:
    source = Source()
    frames = stream(hub, source, job_id="mine")
    await begun(frames)
    topic = hub._topics["page"]
    hub.notify("q", "other")
    assert not topic._dirty.is_set()
    hub.notify("q", "mine")
    assert topic._dirty.is_set()
    await frames.aclose()


async def test_a_page_says_when_nats_is_away_and_when_it_is_back(hub: Hub) -> None:
    source = Source()
    frames = stream(hub, source)
    await begun(frames)
    source.is_away = True
    hub.notify_all()
    assert "nats://nobody" in (await told(frames))["away"]
    source.is_away = False
    hub.notify_all()
    assert (await told(frames))["away"] == ""
    await frames.aclose()


async def test_fifty_streams_end_at_once(hub: Hub) -> None:
    source = Source()
    streams = [stream(hub, source, f"page{number}") for number in range(50)]

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
