"""Pages that change while somebody looks at them."""

from playwright.sync_api import expect

from naq_core.settings import Settings
from tests.browser.conftest import Watched, program


def test_a_worker_that_starts_appears_by_itself(address: str, settings: Settings, watched: Watched) -> None:
    page = watched.open(f"{address}/workers")
    expect(page.get_by_text("No worker is up")).to_be_visible()
    expect(page.locator("#live-badge")).to_have_text("live")
    with program("-m", "naq_worker", "mail", settings=settings, ready="takes jobs from"):
        expect(page.locator("tbody tr")).to_have_count(1)
        expect(page.locator("tbody tr .chip")).to_have_text("up")
    assert watched.complaints == []
    assert {url for url in watched.requests if not url.startswith(address)} == set()
