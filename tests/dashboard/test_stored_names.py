"""Names that were stored by others: rows show them, and every link that is shown leads to a page."""

from __future__ import annotations

import html
import json
import re
import time
from typing import Any

import pytest

from naq_client import Queue
from naq_core.storage.topology import ensure_streams
from tests.dashboard.conftest import Client

PAGE = {"Accept": "text/html"}
QUEUES: tuple[Any, ...] = ("a b", "", ".", "..", "a/b", "a.b.>", "x" * 300, "é", "\u202e<b>", "%2e%2e", 7, None)
KEYS = ("w-1", "w/1", "%2F", "é", "w?x=1", "w#1", "<b>", "w\\1")


async def put(queue: Queue, key: str, **fields: Any) -> None:
    connection = await queue.connection()
    await ensure_streams(connection)
    document = {"worker_id": key, "at": time.time(), "started_at": time.time(), "running": {}, "queues": [], **fields}
    await connection.publish(connection.names.worker(key), json.dumps(document).encode(), {})


async def links_work(client: Client, path: str) -> str:
    """Follow every link of the page's own content."""
    answer = await client.get(path, headers=PAGE)
    assert answer.status_code == 200, path
    content = answer.text[answer.text.index("<main") :]
    for address in set(re.findall(r'<a [^>]*href="([^"#]+)"', content)):
        status = (await client.get(html.unescape(address), headers=PAGE)).status_code
        assert status == 200, (path, address, status)
    return str(answer.text)


@pytest.mark.parametrize("name", QUEUES, ids=lambda name: ascii(name)[:20])
async def test_a_worker_with_an_impossible_queue_is_a_row_and_a_page(dashboard: Client, queue: Queue, name: Any) -> None:
    await put(queue, "odd", queues=["default", name])
    for path in ("/workers", "/"):
        text = await links_work(dashboard, path)
        assert 'href="/workers/odd"' in text
        assert "unreadable" in text
    assert "unreadable" in await links_work(dashboard, "/workers/odd")
    for path in ("/queues", "/jobs", "/api/workers", "/api/queues"):
        assert (await dashboard.get(path, headers=PAGE)).status_code == 200


@pytest.mark.parametrize("key", KEYS, ids=ascii)
async def test_a_worker_of_any_name_is_a_row(dashboard: Client, queue: Queue, key: str) -> None:
    await put(queue, key, queues=["default"], running={"job/1": time.time(), "a b": time.time(), "": 1.0})
    for path in ("/workers", "/"):
        assert html.escape(key) in html.unescape(await links_work(dashboard, path)).replace(key, html.escape(key))


async def test_running_jobs_with_impossible_ids_are_shown(dashboard: Client, queue: Queue) -> None:
    await put(queue, "w-1", queues=["default"], running={"job/1": time.time(), "": 1.0})
    text = (await dashboard.get("/workers/w-1", headers=PAGE)).text
    assert "job/1" in text
    assert 'href="/jobs/job%2F1"' not in text


async def test_a_queue_that_only_a_worker_names_is_a_page(dashboard: Client, queue: Queue) -> None:
    await put(queue, "w-1", queues=["fresh"])
    assert 'href="/workers/w-1"' in await links_work(dashboard, "/queues/fresh")
    assert (await dashboard.get("/queues/unheard-of", headers=PAGE)).status_code == 404
