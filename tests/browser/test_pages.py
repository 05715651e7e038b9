"""Every page as a browser shows it: clean, accessible, in both themes and on a phone, with and without scripts."""

import contextlib
import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from naq_client import SyncQueue
from naq_core.errors import JobFailedError
from naq_core.settings import Settings
from tests.browser.conftest import Watched, enqueue_workflow, program
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
PATHS = (
    "/",
    "/queues",
    "/queues/mail",
    "/jobs",
    "/jobs?state=dead",
    "/jobs/{failed}",
    "/jobs/{waiting}",
    "/errors",
    "/delayed",
    "/schedules",
    "/schedules/nightly",
    "/schedules/nightly/edit",
    "/new-schedule",
    "/workflows",
    "/workflows/{workflow}",
    "/workers",
    "/events",
    "/new-job",
    "/api",
    "/audit",
    "/nothing",
)
PHONE = {"width": 390, "height": 844}


@pytest.fixture
def filled(settings: Settings) -> dict[str, str]:
    """Make some of everything, hostile text in every field, and return the ids."""
    with SyncQueue("mail", settings=settings) as queue:
        failing = [queue.options(max_retries=0).enqueue(work.fail, text) for text in HOSTILE]
        queue.schedule(work.add, HOSTILE[0], schedule_id="nightly", cron="0 3 * * *", timezone="Europe/Berlin", origin=HOSTILE[1])
        with program("-m", "naq_worker", "mail", settings=settings, ready="takes jobs from"):
            for job in failing:
                with contextlib.suppress(JobFailedError):
                    job.result(timeout=20)
        waiting = queue.enqueue(print, *HOSTILE, note=HOSTILE[0])
        queue.options(depends_on=[waiting]).enqueue(print, "child")
    workflow_id = enqueue_workflow(settings, HOSTILE[0], *HOSTILE)
    return {"failed": failing[0].job_id, "waiting": waiting.job_id, "workflow": workflow_id}


def fill(path: str, ids: dict[str, str]) -> str:
    return path.format(**ids)


class TestEveryPage:
    @pytest.mark.parametrize("theme", ["light", "dark"])
    @pytest.mark.timeout(120)
    def test_is_clean_and_accessible(self, address: str, filled: dict[str, str], watched: Watched, theme: str) -> None:
        axe = Axe()
        for path in PATHS:
            page = watched.open(address + fill(path, filled), color_scheme=theme, bypass_csp=True)
            expect(page.locator("h1")).to_be_visible()
            found = axe.run(page)
            problems = [f"{each['id']}: {each['nodes'][0]['html'][:200]}" for each in found.response["violations"]]
            assert problems == [], f"{path} in {theme}"
            page.context.close()
        assert [each for each in watched.complaints if "404" not in each] == []

    @pytest.mark.timeout(120)
    def test_asks_nobody_else_and_breaks_no_rule(self, address: str, filled: dict[str, str], watched: Watched) -> None:
        for path in PATHS[:-1]:
            page = watched.open(address + fill(path, filled))
            if page.locator("#live-badge").count():
                expect(page.locator("#live-badge")).to_have_text("live")
            page.context.close()
        assert watched.complaints == []
        assert [url for url in watched.requests if not url.startswith((address, "data:"))] == []

    @pytest.mark.timeout(120)
    def test_hostile_data_changes_nothing(self, address: str, filled: dict[str, str], watched: Watched) -> None:
        for path in PATHS:
            page = watched.open(address + fill(path, filled))
            if page.locator("#live-badge").count():
                expect(page.locator("#live-badge")).to_have_text("live")
            assert page.evaluate("() => window.hacked") is None, path
            assert page.locator("img[src=x], [hx-on\\:click], script:not([src]), [onload], [onerror]").count() == 0, path
            assert page.locator("[hx-get]").count() == 0, path
            page.context.close()
        assert not [each for each in watched.complaints if "404" not in each]

    def test_fits_on_a_phone(self, address: str, filled: dict[str, str], watched: Watched) -> None:
        for path in PATHS:
            page = watched.open(address + fill(path, filled), viewport=PHONE)
            assert page.evaluate("() => document.documentElement.scrollWidth <= window.innerWidth"), path
            page.context.close()

    def test_works_without_scripts(self, address: str, filled: dict[str, str], watched: Watched) -> None:
        page = watched.open(f"{address}/jobs/{filled['waiting']}", java_script_enabled=False)
        page.get_by_role("button", name="Cancel").first.click()
        page.get_by_label("Why? (kept with the job)").fill("not needed")
        page.get_by_role("button", name="Cancel the job").click()
        expect(page.locator(".notice").first).to_contain_text("The job is cancelled")
        expect(page.locator("#live-state")).to_contain_text("not needed")
        page.get_by_role("link", name="Jobs", exact=True).first.click()
        page.get_by_role("searchbox").fill("child")
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
    expect(page).to_have_url(re.compile("/jobs$"))
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox")).to_be_focused()
