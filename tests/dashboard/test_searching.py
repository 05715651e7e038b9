"""A search that cannot be through in a moment goes on by itself, says how far it is, and can be stopped."""

import asyncio
import re
from typing import Any

import pytest

from naq_client import Queue
from naq_core import inspect
from naq_core.views import JobPage
from naq_dashboard.queries import search, searches
from tests.dashboard.conftest import Client
from tests.integration import work
from tests.support.eventually import eventually

JOBS = 60
PAGE = {"Accept": "text/html"}


async def shown(client: Client, path: str) -> str:
    answer = await client.get(path, headers=PAGE)
    assert answer.status_code == 200, answer.text[:2000]
    return str(answer.text)


def found(text: str) -> list[str]:
    return re.findall(r'id="j-([^"]+)"', text)


@pytest.fixture(autouse=True)
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each step look at a few entries only, as if there were a million."""
    monkeypatch.setattr(search, "MOST_LISTED", 5)
    monkeypatch.setattr(search, "MOST_COUNTED", 5)
    monkeypatch.setattr(searches, "STEP_ENTRIES", 5)


async def test_it_goes_on_until_it_is_through(dashboard: Client, queue: Queue) -> None:
    needle = await queue.enqueue(work.add, "customer-4711", 1)
    await queue.enqueue_many([queue.call(work.add, number, 1) for number in range(JOBS)])
    first = await shown(dashboard, "/jobs?q=customer-4711")
    assert "No job matches" not in first
    assert "≥ 0" not in first
    assert "Searching" in first
    assert 'http-equiv="refresh"' in first  # without scripts the page asks again

    async def is_found() -> None:
        text = await shown(dashboard, "/jobs?q=customer-4711")
        assert found(text) == [needle.job_id]
        assert "Searched all of them: 1 found" in text
        assert "1 match" in text

    await eventually(is_found)


async def test_it_fills_a_page_and_older_goes_on_from_there(dashboard: Client, queue: Queue) -> None:
    jobs = await queue.enqueue_many([queue.call(work.add, number, number % 2) for number in range(JOBS)])
    wanted = [job.job_id for number, job in enumerate(jobs) if number % 2][::-1]
    seen: list[str] = []

    async def is_full(path: str, least: int) -> str:
        async def look() -> str:
            text = await shown(dashboard, path)
            assert len(found(text)) >= least
            assert "Searching" not in text
            return text

        return await eventually(look)

    path = "/jobs?q=arg.1:1&limit=20"
    text = await is_full(path, 20)
    seen += found(text)
    older = re.search(r'href="(/jobs\?[^"]*cursor=[^"]+)">Older', text)
    assert older is not None
    seen += found(await is_full(older[1].replace("&amp;", "&"), len(wanted) - len(seen)))
    assert seen == wanted


async def test_it_can_be_stopped_and_taken_up_again(dashboard: Client, queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    await queue.enqueue_many([queue.call(work.add, number, 1) for number in range(JOBS)])
    begun = asyncio.Event()

    async def never(*_: object) -> None:
        begun.set()
        await asyncio.Event().wait()

    with monkeypatch.context() as patched:
        patched.setattr(searches, "list_jobs", never)
        await shown(dashboard, "/jobs?q=nowhere")
        await begun.wait()
        assert "Searching" in await shown(dashboard, "/jobs?q=nowhere")
        stopped = await shown(dashboard, "/jobs?q=nowhere&search=stop")
        assert "Stopped: 0 found" in stopped
        assert "Search on" in stopped

    async def is_through() -> None:
        assert "Searched all of them: 0 found" in await shown(dashboard, "/jobs?q=nowhere&search=on")

    await eventually(is_through)


async def test_an_id_is_found_at_once(dashboard: Client, queue: Queue) -> None:
    job = await queue.enqueue(work.add, 1, 1)
    keyed = await queue.options(unique="order 4711").enqueue(work.add, 2, 1)
    await queue.enqueue_many([queue.call(work.add, number, 1) for number in range(JOBS)])
    for words, job_id in ((job.job_id, job.job_id), (f"id:{job.job_id}", job.job_id), ('"key:order 4711"', keyed.job_id)):
        text = await shown(dashboard, f"/jobs?q={words}")
        assert [each.removesuffix("-default") for each in found(text)] == [job_id], words
        assert "Found by its id" in text


async def test_searches_take_turns(dashboard: Client, queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    looking = most = 0
    list_jobs = inspect.list_jobs

    async def counted(*args: Any) -> JobPage:
        nonlocal looking, most
        looking += 1
        most = max(most, looking)
        try:
            return await list_jobs(*args)
        finally:
            looking -= 1

    monkeypatch.setattr(searches, "list_jobs", counted)
    await queue.enqueue_many([queue.call(work.add, number, 1) for number in range(JOBS)])
    paths = [f"/jobs?q=nobody-{number}" for number in range(3)]

    through: set[str] = set()

    async def are_through() -> None:  # not all at one time: what the first has found is kept for 5 s
        texts = await asyncio.gather(*(shown(dashboard, path) for path in paths))
        through.update(path for path, text in zip(paths, texts, strict=True) if "No job matches" in text)
        assert through == set(paths)

    await eventually(are_through)
    assert most == 1
