"""How an operator finds what is wrong, and is not led astray."""

import re

import pytest
from playwright.sync_api import Page, expect

from naq_client import SyncQueue
from naq_core.errors import JobFailedError
from naq_core.settings import Settings
from tests.browser.conftest import Serve, Watched, program
from tests.integration import work


def fail_all(settings: Settings, *messages: str) -> None:
    """Let one job fail for good with each message."""
    with SyncQueue("mail", settings=settings) as queue:
        jobs = [queue.options(max_retries=0).enqueue(work.fail, message) for message in messages]
        with program("-m", "naq_worker", "mail", settings=settings, ready="takes jobs from"):
            for job in jobs:
                with pytest.raises(JobFailedError):
                    job.result(timeout=20)


def does_not_scroll_sideways(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth <= innerWidth"))


@pytest.mark.parametrize("width", [390, 1360])
def test_whatever_a_job_says_stays_in_its_place(address: str, settings: Settings, watched: Watched, width: int) -> None:
    fail_all(settings, "first line\nsecond " + "y" * 3000 + " \u202ebackwards")
    page = watched.open(f"{address}/errors", viewport={"width": width, "height": 800})
    assert page.locator("tbody tr").bounding_box()["height"] < (80 if width > 820 else 300)  # type: ignore[index]  # it is there
    assert does_not_scroll_sideways(page)
    page.get_by_role("link", name="Example").click()
    expect(page.locator(".message")).to_contain_text("second")
    assert does_not_scroll_sideways(page)
    assert "\n" in page.locator(".message").inner_text()


def test_only_the_jobs_of_one_cause_are_put_back(address: str, settings: Settings, watched: Watched) -> None:
    fail_all(settings, "order 1 is lost", "order 2 is lost", "card: 'x' was declined")
    page = watched.open(f"{address}/errors")
    row = page.locator("tbody tr").filter(has_text="is lost")
    row.locator("a.err-type").click()
    expect(page.locator("#bulk")).to_contain_text("all 2 that match")
    expect(page.locator(".also")).to_contain_text("error: ValueError")
    page.go_back()
    page.locator("tbody tr").filter(has_text="declined").get_by_role("button", name="Retry all").click()
    expect(page.locator("#live-list")).to_contain_text("1 job requeued.")
    page.goto(f"{address}/errors")
    expect(page.locator("tbody tr")).to_have_count(1)
    expect(page.locator("tbody tr")).to_contain_text("is lost")
    assert watched.complaints == []


def test_a_filter_that_a_link_brought_is_seen_kept_and_taken_away(address: str, watched: Watched) -> None:
    page = watched.open(f"{address}/jobs?state=dead&worker=w-17&error=OSError")
    page.get_by_label("States").get_by_role("link", name="queued").click()
    expect(page).to_have_url(re.compile("worker=w-17.*error=OSError|error=OSError.*worker=w-17"))
    page.locator(".also").get_by_role("link", name="worker").click()
    expect(page.locator(".also")).to_have_text(re.compile("error: OSError"))
    expect(page).not_to_have_url(re.compile("w-17"))


def test_a_search_that_cannot_be_made_says_so_beside_what_was_typed(address: str, watched: Watched) -> None:
    page = watched.open(f"{address}/jobs")
    page.locator("input[type=search]").fill("state:asleep")
    page.keyboard.press("Enter")
    expect(page.locator("main")).to_contain_text("unknown state 'asleep'")
    expect(page.locator("input[type=search]")).to_have_value("state:asleep")


@pytest.mark.parametrize("scripts", [True, False])
def test_many_jobs_are_deleted_only_after_a_question(address: str, settings: Settings, watched: Watched, scripts: bool) -> None:
    fail_all(settings, "one", "two")
    page = watched.open(f"{address}/jobs?state=dead", java_script_enabled=scripts)
    page.get_by_label("all 2 that match").check()
    page.locator("#bulk").get_by_role("button", name="Delete").click()
    dialog = page.get_by_role("dialog", name="Delete these jobs")
    if scripts:
        expect(dialog).to_contain_text("all 2 jobs that match")
    dialog.get_by_role("button", name="Back").click()
    expect(page.locator("tbody tr")).to_have_count(2)
    page.locator("#bulk").get_by_role("button", name="Delete").click()
    dialog.get_by_role("button", name="Delete the jobs").click()
    expect(page).to_have_url(re.compile("bulk="))
    if not scripts:
        page.reload()
    expect(page.get_by_text("No job matches")).to_be_visible()


def test_the_keys_are_told_and_work(address: str, watched: Watched) -> None:
    page = watched.open(f"{address}/jobs")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog", name="Keys")).to_be_hidden()
    page.keyboard.press("g")
    page.keyboard.press("a")
    expect(page).to_have_url(re.compile("/audit$"))
    assert watched.complaints == []


def test_the_row_that_one_walked_to_keeps_the_focus_when_rows_move(address: str, settings: Settings, watched: Watched) -> None:
    with SyncQueue("mail", settings=settings) as queue:
        jobs = [queue.enqueue(work.add, number) for number in range(4)]
        page = watched.open(f"{address}/jobs")
        expect(page.locator("#live-badge")).to_have_text("live")
        expect(page.locator("tbody tr")).to_have_count(len(jobs))  # on a busy machine a list may first end before its last row
        for _ in jobs:
            page.keyboard.press("j")
        link = page.locator(f"#j-{jobs[0].job_id} td.main a")
        expect(link).to_be_focused()
        with program("-m", "naq_worker", "mail", settings=settings, ready="takes jobs from"):
            expect(page.locator("tbody .s-succeeded")).to_have_count(4)
        queue.enqueue(work.add, 5)
        expect(page.locator("tbody tr")).to_have_count(5)
        expect(link).to_be_focused()
    assert watched.complaints == []


def test_a_form_says_before_it_is_filled_in_that_one_may_not(serve: Serve, watched: Watched) -> None:
    with serve(read_only="1") as address:
        for path, button in (("new-job", "Enqueue job"), ("new-schedule", "Create schedule")):
            page = watched.open(f"{address}/{path}")
            expect(page.locator("main")).to_contain_text("You are not allowed to")
            expect(page.get_by_role("button", name=button)).to_be_disabled()


LONG_TIMES = """() => {
    for (const cell of document.querySelectorAll("td.num"))
        if (/^\\d+m?s$/.test(cell.innerText.trim())) cell.innerText = "23h 59m";
}"""
"""How long a job took is the one thing that the test cannot choose."""
COVERED = """() => [...document.querySelectorAll(".scroll table")].flatMap((table) => {
    const box = table.closest(".scroll").getBoundingClientRect();
    return [...table.querySelectorAll("tbody tr")].flatMap((row) => {
        const last = row.cells[row.cells.length - 1], pinned = getComputedStyle(last).position === "sticky";
        const edge = pinned ? Math.min(box.right, last.getBoundingClientRect().left) : box.right;
        return [...row.cells].filter((cell) => !(pinned && cell === last) && cell.innerText.trim()).filter((cell) => {
            const text = document.createRange();
            text.selectNodeContents(cell);
            return Math.min(text.getBoundingClientRect().right, cell.getBoundingClientRect().right) > edge + 1;
        }).map((cell) => `${table.closest(".scroll").ariaLabel}: ${cell.innerText}`);
    });
})"""


def test_every_column_can_be_read_and_on_a_phone_every_action(address: str, settings: Settings, watched: Watched) -> None:
    with SyncQueue("legacy_import-eu", settings=settings) as queue:
        queue.options(max_retries=0).schedule(
            work.fail, "y" * 80, cron="30 2 * * *", timezone="America/Argentina/Buenos_Aires", schedule_id="reconcile-the-ledger"
        )
        jobs = [queue.options(max_retries=0).enqueue(work.fail, "customer-with-a-long-name@example.org " * 3)]
        with program("-m", "naq_worker", "legacy_import-eu", "mail", settings=settings, ready="takes jobs from"):
            with pytest.raises(JobFailedError):
                jobs[0].result(timeout=20)
            queue.enqueue_in(3600, work.add, 1, 1)
            page = watched.open(address)
            for path in ("", "queues", "jobs", "errors", "delayed", "schedules", "workers"):
                page.goto(f"{address}/{path}")
                for width in (1280, 1440):
                    page.set_viewport_size({"width": width, "height": 900})
                    page.evaluate(LONG_TIMES)
                    assert page.evaluate(COVERED) == [], f"/{path} at {width}"
            page.set_viewport_size({"width": 390, "height": 800})
            page.goto(f"{address}/schedules")
            button = page.locator("tbody").get_by_role("button", name="Run now")
            box = button.bounding_box()
            assert box is not None
            assert box["x"] + box["width"] <= 390
            expect(page.locator("tbody td").filter(has_text="legacy_import-eu")).to_have_attribute("data-label", "Queue")
            assert does_not_scroll_sideways(page)
    assert watched.complaints == []
