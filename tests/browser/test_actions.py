"""Actions as people do them: buttons, dialogs, chosen rows, all that match."""

import re

import pytest
from playwright.sync_api import expect

from naq_client import SyncQueue
from naq_core.settings import Settings
from tests.browser.conftest import Serve, Watched, program
from tests.integration import work


def test_a_job_goes_through_its_life_before_our_eyes(address: str, settings: Settings, watched: Watched) -> None:
    page = watched.open(f"{address}/jobs")
    expect(page.locator("#live-badge")).to_have_text("live")
    with SyncQueue("mail", settings=settings) as queue:
        queue.options(max_retries=0).enqueue(work.fail, "the printer burns")
        expect(page.locator("tbody tr .chip").first).to_have_text("queued")
        with program("-m", "naq_worker", "mail", settings=settings, ready="takes jobs from"):
            expect(page.locator("tbody tr .chip").first).to_have_text("dead")
    page.get_by_role("button", name="Retry").last.click()
    expect(page.locator(".toast")).to_contain_text("put back to work")
    expect(page.locator("tbody tr .chip").first).to_have_text("queued")
    assert watched.complaints == []


def test_what_somebody_does_meanwhile_survives_an_update(address: str, settings: Settings, watched: Watched) -> None:
    with SyncQueue("mail", settings=settings) as queue:
        first = queue.enqueue(work.add, 1, 1)
        page = watched.open(f"{address}/jobs")
        expect(page.locator("#live-badge")).to_have_text("live")
        page.get_by_label(f"Choose {first.job_id}").check()
        page.get_by_label("Search").fill("half typ")
        queue.enqueue(work.add, 2, 2)
        expect(page.locator("tbody tr")).to_have_count(2)
        expect(page.get_by_label(f"Choose {first.job_id}")).to_be_checked()
        expect(page.get_by_label("Search")).to_have_value("half typ")
        expect(page.get_by_label("Search")).to_be_focused()


def test_chosen_jobs_and_all_that_match(address: str, settings: Settings, watched: Watched) -> None:
    with SyncQueue("mail", settings=settings) as queue:
        for number in range(70):
            queue.enqueue(work.add, number, 1)
    page = watched.open(f"{address}/jobs?state=queued")
    boxes = page.locator("input[name=chosen]")
    boxes.nth(0).check()
    boxes.nth(4).click(modifiers=["Shift"])
    expect(page.locator("[data-chosen-count]")).to_have_text("5 chosen")
    page.locator("#bulk").get_by_role("button", name="Cancel").click()
    expect(page.locator(".toast")).to_contain_text("5 jobs cancelled")
    expect(page.locator("#bulk")).to_contain_text("all 65 that match")
    page.get_by_label("all 65 that match").check()
    page.locator("#bulk").get_by_role("button", name="Cancel").click()
    expect(page.locator("#live-list")).to_contain_text("65 jobs cancelled.")
    expect(page.get_by_text("No job matches")).to_be_visible()


def test_a_queue_is_paused_and_purged_by_typing_its_name(address: str, settings: Settings, watched: Watched) -> None:
    with SyncQueue("mail", settings=settings) as queue:
        queue.enqueue(work.add, 1, 1)
    page = watched.open(f"{address}/queues/mail")
    page.get_by_role("button", name="Pause").first.click()
    page.get_by_label("For how long?").select_option("1h")
    page.get_by_role("dialog").get_by_role("button", name="Pause").click()
    expect(page.locator("#live-tiles")).to_contain_text("Paused until")
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_role("button", name="Pause").first).to_be_visible()
    page.get_by_role("button", name="Purge").click()
    page.get_by_label(re.compile("to confirm")).fill("mial")
    page.get_by_role("button", name="Delete the waiting jobs").click()
    expect(page.locator(".toast.bad")).to_contain_text("type the name exactly")
    page.get_by_label(re.compile("to confirm")).fill("mail")
    page.get_by_role("button", name="Delete the waiting jobs").click()
    expect(page.locator(".toast").last).to_contain_text("1 jobs of queue mail are deleted")


def test_a_schedule_is_made_edited_triggered_and_deleted(address: str, watched: Watched) -> None:
    page = watched.open(f"{address}/schedules")
    page.get_by_role("link", name="New schedule").click()
    page.get_by_label("Id").fill("report")
    page.get_by_label("Function").fill("math:sqrt")
    page.get_by_label("Arguments").fill("[2]")
    page.get_by_label("Cron").fill("61 * * * *")
    page.get_by_role("button", name="Make it").click()
    expect(page.locator(".toast.bad")).to_be_visible()
    page.get_by_label("Cron").fill("0 3 * * *")
    page.get_by_role("button", name="Make it").click()
    expect(page).to_have_url(re.compile("/schedules/report$"))
    page.get_by_role("link", name="Edit").click()
    page.get_by_label("Cron").fill("30 4 * * *")
    page.get_by_role("button", name="Change it").click()
    expect(page.locator("#live-facts")).to_contain_text("30 4 * * *")
    page.get_by_role("button", name="Run now").click()
    expect(page.locator("#live-history")).to_contain_text("manual")
    page.get_by_role("button", name="Pause").click()
    expect(page.get_by_role("button", name="Resume")).to_be_visible()
    page.get_by_role("button", name="Delete").first.click()
    page.get_by_role("button", name="Delete the schedule").click()
    expect(page.get_by_text("No schedule yet")).to_be_visible()


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


@pytest.mark.timeout(90)
def test_a_login_with_a_password(serve: Serve, watched: Watched) -> None:
    with serve(users="vera:viewer:pw1 adam:admin:pw2") as address:
        page = watched.open(f"{address}/jobs?state=dead")
        for name, word in (("vera", "wrong"), ("vera", "pw1")):
            page.get_by_label("Name").fill(name)
            page.get_by_label("Password").fill(word)
            page.get_by_role("button", name="Log in").click()
        expect(page).to_have_url(re.compile(r"/jobs\?state=dead$"))
        expect(page.locator(".side > .foot")).to_contain_text("read-only")
        page.get_by_role("button", name="Log out").first.click()
        expect(page.get_by_label("Password")).to_be_visible()
