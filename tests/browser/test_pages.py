"""Every page as a browser shows it: clean, accessible, in both themes and on a phone, with and without scripts."""

import asyncio
import contextlib
import re
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import pytest
from playwright.sync_api import expect

from naq_client import Queue, SyncQueue
from naq_core.errors import JobFailedError
from naq_core.server import EmbeddedServer
from naq_core.settings import Settings
from naq_core.storage.worker_history import note_worker
from tests.browser.accessibility import PHONE, violations
from tests.browser.conftest import Watched, arrive, dashboard, enqueue_workflow, program
from tests.integration import work

HOSTILE = (
    "<script>window.hacked=1</script>",
    '"><img src=x onerror="window.hacked=1">',
    "'-alert(1)-'",
    "</pre></textarea><svg/onload=window.hacked=1>",
    "javascript:window.hacked=1",
    "{{7*7}}${7*7}",
    "<hx-partial hx-target='body' hx-swap='innerHTML'>owned</hx-partial>",
    "<div hx-get='/x' hx-trigger='load' hx-on:click='window.hacked=1'>",
    "\u202e\u2028 <b>bold</b>",
)
NOWHERE = "/nothing"
PATHS = (
    "/",
    "/queues",
    "/queues/mail",
    "/jobs",
    "/jobs?state=dead",
    "/jobs/{failed}",
    "/jobs/{waiting}",
    "/functions",
    "/functions/tests.integration.work:fail",
    "/errors",
    "/delayed",
    "/signals",
    "/schedules",
    "/schedules/nightly",
    "/schedules/nightly?since=3d",
    "/schedules/nightly/edit",
    "/new-schedule",
    "/workflows",
    "/workflows/{workflow}",
    "/workers",
    "/workers/vanished",
    "/events",
    "/new-job",
    "/new-job?like={waiting}",
    "/api",
    "/audit",
    "/s/other",
    "/s/other/signals",
    NOWHERE,
)


class Site(NamedTuple):
    """A dashboard with some of everything, hostile text in every field."""

    address: str
    ids: dict[str, str]

    def url(self, path: str) -> str:
        """The address of a page of `PATHS`."""
        return self.address + path.format(**self.ids)


def note_workers(settings: Settings) -> None:
    """Note a worker that has stopped and one that has vanished, in a thread of its own as `enqueue_workflow` does."""

    async def note() -> None:
        async with Queue("mail", settings=settings) as queue:
            connection = await queue.connection()
            told = {"host": HOSTILE[0], "pid": 12, "queues": ["mail"], "running": {}, "at": connection.clock.now()}
            await note_worker(connection, told | {"worker_id": "vanished"})
            await note_worker(connection, told | {"worker_id": "stopped"}, has_ended=True)

    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, note()).result(timeout=20)


@pytest.fixture(scope="module")
def site(nats_server: EmbeddedServer) -> Iterator[Site]:
    """Run a dashboard whose pages are only looked at; it is filled once for all of them."""
    settings = Settings.load(nats_url=nats_server.url, namespace=f"t{secrets.token_hex(5)}")
    with SyncQueue("mail", settings=settings) as queue:
        failing = [queue.options(max_retries=0).enqueue(work.fail, text) for text in HOSTILE]
        queue.schedule(
            work.anything, HOSTILE[0], schedule_id="nightly", cron="0 3 * * *", timezone="Europe/Berlin", origin=HOSTILE[1]
        )
        with program("-m", "naq_worker", "mail", settings=settings, ready="takes jobs from"):
            for job in failing:
                with contextlib.suppress(JobFailedError):
                    job.result(timeout=60)
        waiting = queue.enqueue(work.anything, *HOSTILE, note=HOSTILE[0])
        queue.options(depends_on=[waiting]).enqueue(print, "child")
        queue.options(wait_for="invoice-7:approved", expires=3600).enqueue(work.anything, *HOSTILE)
    workflow_id = enqueue_workflow(settings, HOSTILE[0], *HOSTILE)
    note_workers(settings)
    with dashboard(settings, servers=f"other=?namespace={settings.namespace}x") as address:
        yield Site(address, {"failed": failing[0].job_id, "waiting": waiting.job_id, "workflow": workflow_id})


@pytest.mark.parametrize("path", PATHS)
def test_every_page_is_live_asks_nobody_else_is_accessible_and_fits_on_a_phone(site: Site, watched: Watched, path: str) -> None:
    """Also that hostile data is text. All of it on one page: to open one costs the browser more than to look at it."""
    page = watched.open(site.url(path))
    expect(page.locator("h1")).to_be_visible()
    if page.locator("#live-badge").count():
        expect(page.locator("#live-badge")).to_have_text("live")
    assert page.evaluate("() => window.hacked") is None
    assert page.locator("img[src=x], [hx-on\\:click], script:not([src]), [onload], [onerror]").count() == 0
    assert page.locator("[hx-get]").count() == 0
    page.set_viewport_size(PHONE)
    assert page.evaluate("() => document.documentElement.scrollWidth <= window.innerWidth")
    assert [url for url in watched.requests if not url.startswith((site.address, "data:"))] == []
    assert violations(page) == []
    assert [each for each in watched.complaints if path != NOWHERE or "404" not in each] == []


def test_a_job_is_cancelled_and_found_without_scripts(address: str, settings: Settings, watched: Watched) -> None:
    with SyncQueue("mail", settings=settings) as queue:
        waiting = queue.enqueue(work.anything, *HOSTILE, note=HOSTILE[0])
        queue.options(depends_on=[waiting]).enqueue(print, "child")
    page = watched.open(f"{address}/jobs/{waiting.job_id}", java_script_enabled=False)
    page.get_by_role("button", name="Cancel").first.click()
    page.get_by_label("Reason (stored with the job)").fill("not needed")
    page.get_by_role("button", name="Cancel the job").click()
    expect(page.locator(".notice").first).to_contain_text("The job is cancelled")
    expect(page.locator("#live-state")).to_contain_text("not needed")
    page.get_by_role("link", name="Jobs", exact=True).first.click()
    page.locator("input[type=search]").fill("child")
    page.get_by_role("button", name="Search", exact=True).click()
    expect(page).to_have_url(re.compile("q=child"))


def test_the_theme_is_chosen_and_kept(address: str, watched: Watched) -> None:
    page = watched.open(address, color_scheme="light")
    before = page.evaluate("() => getComputedStyle(document.body).backgroundColor")
    page.get_by_role("button", name="Dark").first.click()
    page.goto(f"{address}/jobs")
    assert page.evaluate("() => document.documentElement.dataset.theme") == "dark"
    assert page.evaluate("() => getComputedStyle(document.body).backgroundColor") != before


def test_keys_lead_to_pages(address: str, watched: Watched) -> None:
    page = watched.open(address)
    page.keyboard.press("g")
    page.keyboard.press("j")
    arrive(page, re.compile("/jobs$"))
    page.keyboard.press("/")
    expect(page.locator("input[type=search]")).to_be_focused()
