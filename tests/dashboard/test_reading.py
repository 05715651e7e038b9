"""How pages are read: times in one zone, words as they were understood, arguments in full, pages that are small to send."""

import re
from typing import Any

import pytest

from naq_client import Queue, Workflow
from naq_core.settings import Settings
from naq_core.testing import WorkerRunner
from naq_dashboard.masking import MASK
from tests.dashboard.conftest import Client
from tests.integration import work
from tests.support.eventually import eventually

PAGE = {"Accept": "text/html"}


async def shown(client: Client, path: str, **headers: str) -> str:
    answer = await client.get(path, headers=PAGE | headers)
    assert answer.status_code == 200, answer.text[:2000]
    return str(answer.text)


async def test_a_server_without_jobs_says_what_to_type(dashboard: Client, queue: Queue) -> None:
    assert "naq enqueue tasks:hello" in await shown(dashboard, "/")
    await queue.enqueue(work.add, 1, 1)

    async def it_is_not_said_again() -> None:  # what was read is shared for a moment
        assert "naq enqueue tasks:hello" not in await shown(dashboard, "/")

    await eventually(it_is_not_said_again)


async def test_all_times_are_in_the_zone_of_the_address_or_the_one_that_was_chosen(dashboard: Client, queue: Queue) -> None:
    job = await queue.enqueue(work.add, 1, 1)
    path = f"/jobs/{job.job_id}"
    assert re.search(r'title="[^"]+ UTC"', await shown(dashboard, path))
    there = await shown(dashboard, f"{path}?tz=Asia/Kathmandu")
    assert re.search(r'title="[^"]+ \+0545"', there)
    assert not re.search(r'title="\d{4}[^"]+ UTC"', there)
    assert 'data-zone="Asia/Kathmandu"' in there
    home = "http://127.0.0.1"
    chosen = await dashboard.get("/zone?tz=Europe/Berlin", headers={"Referer": f"{home}{path}?tz=UTC"})
    assert (chosen.status_code, chosen.headers["Location"]) == (303, f"{path}?tz=Europe%2FBerlin")
    assert re.search(r'title="[^"]+ CES?T"', await shown(dashboard, path))
    assert 'data-zone="UTC"' in await shown(dashboard, f"{path}?tz=../etc/passwd")
    away = await dashboard.get("/zone?tz=UTC", headers={"Referer": "https://elsewhere.example//evil"})
    assert away.headers["Location"].startswith("/")
    assert not away.headers["Location"].startswith("//")


async def test_pages_are_compressed_unless_another_site_asks(dashboard: Client) -> None:
    small = await dashboard.get("/jobs", headers=PAGE | {"Accept-Encoding": "gzip"})
    assert small.headers["Content-Encoding"] == "gzip"
    other = await dashboard.get("/jobs", headers=PAGE | {"Accept-Encoding": "gzip", "Sec-Fetch-Site": "cross-site"})
    assert "Content-Encoding" not in other.headers
    assert "<h1>" in other.text


async def test_the_search_says_what_it_understood(dashboard: Client, queue: Queue) -> None:
    await queue.enqueue(work.add, 1, 1)
    text = await shown(dashboard, "/jobs?q=queue:default,mail+dead+state:delayed,queued")
    assert re.sub(r"<[^>]+>", "", text).count("queue default or mail") == 1
    assert "state:dead</a>?" in text  # what may have been meant
    assert text.count('id="j-') == 0
    assert (await shown(dashboard, "/jobs?q=queue:default,mail")).count('id="j-') == 1
    assert (await dashboard.get("/jobs?q=queue:a,b.c", headers=PAGE)).status_code == 400


@pytest.fixture
async def json_queue(settings: Settings) -> Any:
    async with Queue("json", settings=settings, job_serializer="json") as opened:
        yield opened


async def test_arguments_of_json_are_shown_in_full_and_secrets_are_not(dashboard: Client, json_queue: Queue) -> None:
    items = [f"item {number}" for number in range(60)]
    job = await json_queue.enqueue("shop.mail:send", items, {"deep": {"password": ["hunter2", "hunter3"]}})
    text = await shown(dashboard, f"/jobs/{job.job_id}")
    assert "item 59" in text
    assert "hunter" not in text
    assert MASK in text


async def test_a_workflow_has_names_for_its_steps_and_one_node_for_many_alike(
    dashboard: Client, queue: Queue, naq_worker: WorkerRunner
) -> None:
    workflow = Workflow("etl")
    first = workflow.add(queue.call(work.add, 1))
    fan = [workflow.add(queue.options(depends_on=[first]).call(work.add, 2, number)) for number in range(30)]
    failing = workflow.add(queue.options(depends_on=[first], max_retries=0).call(work.fail, "lost"))
    workflow.add(queue.options(depends_on=[*fan, failing]).call(work.add, 3))
    handle = await workflow.enqueue(queue)
    await naq_worker.run_until_idle()
    text = await shown(dashboard, f"/workflows/{handle.workflow_id}")
    names = re.findall(r'<text x="14" y="20">([^<]+)</text>', text)
    assert sorted(names) == ["add 1", "add 3", "add \N{MULTIPLICATION SIGN} 30", "fail"]
    assert "the way to the failure: add 1 → fail" in re.sub(r"<[^>]+>", "", text)
