"""Pages that change while somebody looks at them."""

import dataclasses
from pathlib import Path

import pytest
from playwright.sync_api import expect

from naq_client import SyncQueue
from naq_core.server import EmbeddedServer
from naq_core.settings import Settings
from tests.browser.conftest import Serve, Watched, dashboard, program
from tests.integration import work

SEEN = """seen => {
    Object.defineProperty(document, "hidden", { get: () => !seen, configurable: true });
    document.dispatchEvent(new Event("visibilitychange"));
}"""


def test_a_worker_that_starts_appears_by_itself(address: str, settings: Settings, watched: Watched) -> None:
    page = watched.open(f"{address}/workers")
    expect(page.get_by_text("No worker is running")).to_be_visible()
    expect(page.locator("#live-badge")).to_have_text("live")
    with program("-m", "naq_worker", "mail", settings=settings, ready="takes jobs from"):
        expect(page.locator("tbody tr")).to_have_count(1)
        expect(page.locator("tbody tr .chip")).to_have_text("up")
    assert watched.complaints == []
    assert {url for url in watched.requests if not url.startswith(address)} == set()


@pytest.mark.parametrize("late", ["app.js", "htmx-", "live.js"])
def test_a_page_is_live_in_whatever_order_its_scripts_come(address: str, watched: Watched, late: str) -> None:
    page = watched.open(f"{address}/workflows", late=late)
    expect(page.locator("#live-badge")).to_have_text("live")
    assert watched.complaints == []


def test_eight_pages_of_a_browser_are_live_over_one_stream(address: str, settings: Settings, watched: Watched) -> None:
    pages = [watched.open(f"{address}/jobs")]  # a browser has six connections to a host at most
    others = ("", "jobs", "queues", "workers", "events", "schedules")
    pages += [watched.open(f"{address}/{path}", beside=pages[0]) for path in others]
    pages.append(watched.open(f"{address}/jobs?state=queued", beside=pages[0]))
    for page in pages:
        expect(page.locator("#live-badge")).to_have_text("live")
    unseen = pages[0]
    unseen.evaluate(SEEN, False)
    with SyncQueue("mail", settings=settings) as queue:
        queue.enqueue(work.add, 1, 1)
    for page in pages[1:]:
        if "/jobs" in page.url:
            expect(page.locator("tbody tr")).to_have_count(1)
    assert unseen.locator("tbody tr").count() == 0
    unseen.evaluate(SEEN, True)
    expect(unseen.locator("tbody tr")).to_have_count(1)
    assert watched.complaints == []


def test_a_running_job_shows_its_log_and_then_its_result(
    address: str, settings: Settings, watched: Watched, tmp_path: Path
) -> None:
    release = tmp_path / "release"
    with SyncQueue("mail", settings=settings) as queue:
        job = queue.enqueue(work.log_lines, 3, release=str(release))
    page = watched.open(f"{address}/jobs/{job.job_id}")
    with program("-m", "naq_worker", "mail", settings=settings, ready="takes jobs from"):
        expect(page.locator("#live-state .chip")).to_have_text("running")
        expect(page.locator("#live-logs")).to_contain_text("line 3 of 3")
        release.touch()
        expect(page.locator("#live-state .chip")).to_have_text("succeeded")
        expect(page.locator("#live-result")).to_contain_text("3")
    assert watched.complaints == []


def test_live_updates_can_be_paused(address: str, settings: Settings, watched: Watched) -> None:
    page, witness = watched.open(f"{address}/jobs"), watched.open(f"{address}/jobs")
    for each in (page, witness):
        expect(each.locator("#live-badge")).to_have_text("live")
    page.locator("#live-badge").click()
    expect(page.locator("#live-badge")).to_have_text("paused")
    with SyncQueue("mail", settings=settings) as queue:
        queue.enqueue(work.add, 1, 1)
    expect(witness.locator("tbody tr")).to_have_count(1)
    expect(page.locator("tbody tr")).to_have_count(0)
    page.locator("#live-badge").click()
    expect(page.locator("tbody tr")).to_have_count(1)


def test_rows_do_not_move_under_a_pointer_that_moves(address: str, settings: Settings, watched: Watched) -> None:
    with SyncQueue("mail", settings=settings) as queue:
        queue.enqueue(work.add, 1, 1)
        page, witness = watched.open(f"{address}/jobs"), watched.open(f"{address}/jobs")
        for each in (page, witness):
            expect(each.locator("#live-badge")).to_have_text("live")
        box = page.locator("tbody tr").bounding_box()
        assert box is not None
        page.mouse.move(box["x"] + 300, box["y"] + 5)
        queue.enqueue(work.add, 2, 2)
        while witness.locator("tbody tr").count() < 2:
            page.mouse.move(box["x"] + 310, box["y"] + 5, steps=3)
            page.mouse.move(box["x"] + 300, box["y"] + 5, steps=3)
        assert page.locator("tbody tr").count() == 1
        page.mouse.move(5, 5)
        expect(page.locator("tbody tr")).to_have_count(2)


def test_a_page_says_that_nats_is_away_and_goes_on_when_it_is_back(settings: Settings, watched: Watched) -> None:
    with EmbeddedServer() as server:
        there = dataclasses.replace(settings, nats_url=server.url)
        with dashboard(there) as address:
            page = watched.open(f"{address}/jobs")
            expect(page.locator("#live-badge")).to_have_text("live")
            server.kill()
            expect(page.locator("#away")).to_contain_text("NATS does not answer")
            expect(page.locator("#live-badge")).to_have_text("not live")
            server.start()
            expect(page.locator("#live-badge")).to_have_text("live")
            expect(page.locator("#away")).to_be_hidden()
            with SyncQueue("mail", settings=there) as queue:
                queue.enqueue(work.add, 1, 1)
            expect(page.locator("tbody tr")).to_have_count(1)


def test_a_dashboard_that_went_away_is_connected_to_again(serve: Serve, watched: Watched) -> None:
    with serve() as address:
        page = watched.open(f"{address}/jobs")
        expect(page.locator("#live-badge")).to_have_text("live")
    expect(page.locator("#live-badge")).to_have_text("reconnecting")
    with serve(port=address.rsplit(":", 1)[1]):
        expect(page.locator("#live-badge")).to_have_text("live", timeout=20_000)
