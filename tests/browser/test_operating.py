"""What people do to queues, schedules, workflows and workers."""

import re

from playwright.sync_api import expect

from naq_client import SyncQueue
from naq_core.settings import Settings
from tests.browser.conftest import Watched, enqueue_workflow, program
from tests.integration import work


def test_a_queue_is_paused_and_purged_by_typing_its_name(address: str, settings: Settings, watched: Watched) -> None:
    with SyncQueue("mail", settings=settings) as queue:
        queue.enqueue(work.add, 1, 1)
    page = watched.open(f"{address}/queues/mail")
    page.get_by_role("button", name="Pause").first.click()
    page.get_by_label("For how long, or until when?").fill("1h")
    page.get_by_role("dialog").get_by_role("button", name="Pause").click()
    expect(page.locator("#live-tiles")).to_contain_text("Paused until")
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_role("button", name="Pause").first).to_be_visible()
    page.get_by_role("button", name="Purge").click()
    page.get_by_label(re.compile("to confirm")).fill("mial")
    page.get_by_role("button", name="Delete the queued and held jobs").click()
    expect(page.locator(".toast.bad")).to_contain_text("type the name exactly")
    page.get_by_label(re.compile("to confirm")).fill("mail")
    page.get_by_role("button", name="Delete the queued and held jobs").click()
    expect(page.locator(".toast").last).to_contain_text("1 job of queue mail was deleted")


def test_what_is_done_appears_in_the_open_trail_and_on_the_queues_page(
    address: str, settings: Settings, watched: Watched
) -> None:
    with SyncQueue("mail", settings=settings) as queue:
        queue.enqueue(work.add, 1, 1)
    trail = watched.open(f"{address}/audit")
    expect(trail.locator("#live-trail")).to_contain_text("No actions yet")
    page = watched.open(f"{address}/queues/mail")
    page.get_by_role("button", name="Pause").first.click()
    page.get_by_role("dialog").get_by_role("button", name="Pause").click()
    expect(page.locator("#live-activity")).to_contain_text("pause-queue")
    row = trail.locator("#live-trail tbody tr")
    expect(row).to_contain_text(re.compile("nobody.*pause-queue.*mail.*done", re.DOTALL))
    row.get_by_role("link", name="mail").click()
    expect(trail).to_have_url(re.compile("/queues/mail$"))
    trail.get_by_role("link", name="All activity").click()
    expect(trail).to_have_url(re.compile("/audit[?]kind=queue&target=mail$"))
    expect(trail.locator("#live-trail tbody tr")).to_have_count(1)
    assert watched.complaints == []


def test_a_queue_gets_a_limit_and_loses_it(address: str, settings: Settings, watched: Watched) -> None:
    with SyncQueue("mail", settings=settings) as queue:
        queue.enqueue(work.add, 1, 1)
    page = watched.open(f"{address}/queues/mail")
    for limit, shown in (("3", "limit 3"), ("", "no limit")):
        page.get_by_role("button", name="Limit").first.click()
        page.get_by_label("Jobs at once").fill(limit)
        page.get_by_role("button", name="Set the limit").click()
        expect(page.locator("#live-tiles")).to_contain_text(shown)
    assert watched.complaints == []


def test_a_schedule_is_made_edited_triggered_and_deleted(address: str, watched: Watched) -> None:
    page = watched.open(f"{address}/schedules")
    page.get_by_role("link", name="New schedule").click()
    page.get_by_label("Schedule id").fill("report")
    page.get_by_label("Function").fill("math:sqrt")
    page.get_by_label("Arguments").fill("[2]")
    page.get_by_label("Cron").fill("61 * * * *")
    page.get_by_role("button", name="Create schedule").click()
    expect(page.locator(".toast.bad")).to_be_visible()
    page.get_by_label("Cron").fill("0 3 * * *")
    page.get_by_role("button", name="Create schedule").click()
    expect(page).to_have_url(re.compile("/schedules/report$"))
    page.get_by_role("link", name="Edit").click()
    page.get_by_label("Cron").fill("30 4 * * *")
    page.get_by_role("button", name="Save changes").click()
    expect(page.locator("#live-facts")).to_contain_text("30 4 * * *")
    page.get_by_role("button", name="Run now").click()
    expect(page.locator("#live-history")).to_contain_text("manual")
    page.get_by_role("button", name="Pause").click()
    page.get_by_role("button", name="Resume").click()
    expect(page.get_by_role("button", name="Pause")).to_be_visible()
    page.get_by_role("button", name="Delete").first.click()
    page.get_by_role("button", name="Delete the schedule").click()
    expect(page.get_by_text("No schedules yet")).to_be_visible()


def test_a_worker_goes_quiet_comes_back_and_stops(address: str, settings: Settings, watched: Watched) -> None:
    with program("-m", "naq_worker", "mail", settings=settings, ready="takes jobs from") as (process, _):
        page = watched.open(f"{address}/workers")
        page.get_by_role("button", name="Quiet").click()
        expect(page.locator("tbody .chip")).to_have_text("quiet")
        page.get_by_role("button", name="Resume").click()
        expect(page.locator("tbody .chip")).to_have_text("up")
        page.locator("tbody td.main a").click()
        expect(page.locator("#live-about")).to_be_visible()  # the page that is left has such a button, too
        page.get_by_role("button", name="Stop").first.click()
        page.get_by_role("button", name="Stop the worker").click()
        expect(page.locator("main")).to_contain_text("It has ended.")
        assert process.wait(timeout=20) == 0
    assert watched.complaints == []


def test_a_workflow_is_cancelled_and_put_back(address: str, settings: Settings, watched: Watched) -> None:
    workflow_id = enqueue_workflow(settings, "nightly", "a row")
    page = watched.open(f"{address}/workflows/{workflow_id}")
    expect(page.locator("svg .node")).to_have_count(2)
    page.get_by_role("button", name="Cancel").first.click()
    page.get_by_role("button", name="Cancel the workflow").click()
    expect(page.locator("#live-state")).to_contain_text("2 cancelled")
    page.get_by_role("button", name="Retry what failed").click()
    expect(page.locator("#live-state")).to_contain_text("1 queued")
    with program("-m", "naq_worker", "mail", settings=settings, ready="takes jobs from"):
        expect(page.locator("#live-state")).to_contain_text("2 succeeded")
    assert watched.complaints == []
