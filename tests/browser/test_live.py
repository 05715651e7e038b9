"""Pages that change while somebody looks at them."""

from playwright.sync_api import expect

from naq_client import SyncQueue
from naq_core.settings import Settings
from tests.browser.conftest import Serve, Watched, program
from tests.integration import work


def test_a_worker_that_starts_appears_by_itself(address: str, settings: Settings, watched: Watched) -> None:
    page = watched.open(f"{address}/workers")
    expect(page.get_by_text("No worker is up")).to_be_visible()
    expect(page.locator("#live-badge")).to_have_text("live")
    with program("-m", "naq_worker", "mail", settings=settings, ready="takes jobs from"):
        expect(page.locator("tbody tr")).to_have_count(1)
        expect(page.locator("tbody tr .chip")).to_have_text("up")
    assert watched.complaints == []
    assert {url for url in watched.requests if not url.startswith(address)} == set()


def test_live_updates_can_be_paused(address: str, settings: Settings, watched: Watched) -> None:
    page = watched.open(f"{address}/jobs")
    expect(page.locator("#live-badge")).to_have_text("live")
    page.locator("#live-badge").click()
    expect(page.locator("#live-badge")).to_have_text("paused")
    with SyncQueue("mail", settings=settings) as queue:
        queue.enqueue(work.add, 1, 1)
    page.locator("#live-badge").click()
    expect(page.locator("tbody tr")).to_have_count(1)


def test_a_dashboard_that_went_away_is_connected_to_again(serve: Serve, watched: Watched) -> None:
    with serve() as address:
        page = watched.open(f"{address}/jobs")
        expect(page.locator("#live-badge")).to_have_text("live")
    expect(page.locator("#live-badge")).to_have_text("reconnecting")
    with serve(port=address.rsplit(":", 1)[1]):
        expect(page.locator("#live-badge")).to_have_text("live", timeout=20_000)
