"""What people do to jobs: buttons, dialogs, chosen rows, all that match."""

import re

import pytest
from playwright.sync_api import expect

from naq_client import SyncQueue
from naq_core.settings import Settings
from tests.browser.conftest import Watched, program
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
    expect(page.locator(".toast")).to_contain_text("requeued")
    expect(page.locator("tbody tr .chip").first).to_have_text("queued")
    assert watched.complaints == []


def test_what_somebody_does_meanwhile_survives_an_update(address: str, settings: Settings, watched: Watched) -> None:
    with SyncQueue("mail", settings=settings) as queue:
        first = queue.enqueue(work.add, 1, 1)
        page = watched.open(f"{address}/jobs")
        expect(page.locator("#live-badge")).to_have_text("live")
        page.get_by_label(f"Select {first.job_id}").check()
        page.locator("input[type=search]").fill("half typ")
        queue.enqueue(work.add, 2, 2)
        expect(page.locator("tbody tr")).to_have_count(2)
        expect(page.get_by_label(f"Select {first.job_id}")).to_be_checked()
        expect(page.locator("input[type=search]")).to_have_value("half typ")
        expect(page.locator("input[type=search]")).to_be_focused()


def test_chosen_jobs_and_all_that_match(address: str, settings: Settings, watched: Watched) -> None:
    with SyncQueue("mail", settings=settings) as queue:
        for number in range(70):
            queue.enqueue(work.add, number, 1)
    page = watched.open(f"{address}/jobs?state=queued")
    boxes = page.locator("input[name=chosen]")
    boxes.nth(0).check()
    boxes.nth(4).click(modifiers=["Shift"])
    expect(page.locator("#bulk [data-chosen-count]")).to_have_text("5 selected")
    page.locator("#bulk").get_by_role("button", name="Cancel").click()
    dialog = page.get_by_role("dialog", name="Cancel these jobs")
    expect(dialog).to_contain_text("5 selected")
    expect(dialog.get_by_role("button", name="Back")).to_be_focused()
    dialog.get_by_role("button", name="Cancel the jobs").click()
    expect(page.locator(".toast")).to_contain_text("5 jobs cancelled")
    expect(page.locator("#bulk")).to_contain_text("all 65 that match")
    page.get_by_label("all 65 that match").check()
    page.locator("#bulk").get_by_role("button", name="Cancel").click()
    expect(dialog).to_contain_text("all 65 jobs that match")
    dialog.get_by_role("button", name="Cancel the jobs").click()
    expect(page.locator("#live-list")).to_contain_text("65 jobs cancelled.")
    expect(page.get_by_text("No job matches")).to_be_visible()


@pytest.mark.parametrize("scripts", [True, False])
def test_a_row_asks_before_it_cancels(address: str, settings: Settings, watched: Watched, scripts: bool) -> None:
    with SyncQueue("mail", settings=settings) as queue:
        job = queue.enqueue(work.add, 1, 1)
    page = watched.open(f"{address}/jobs?function=add", java_script_enabled=scripts)
    box = page.locator("td.tick label").bounding_box()
    assert min(box["width"], box["height"]) >= 24  # type: ignore[index]  # it is there
    button = page.locator("tbody").get_by_role("button", name="Cancel")
    button.click()
    if scripts:
        dialog = page.get_by_role("dialog", name="Cancel tests.integration.work:add?")
        expect(dialog).to_contain_text(f"{job.job_id} of queue mail is queued")
        page.keyboard.press("Escape")
        expect(button).to_be_focused()
        expect(page.locator("tbody .chip")).to_have_text("queued")
        button.click()
        dialog.get_by_role("button", name="Cancel the job").click()
        expect(page.locator("tbody .chip")).to_have_text("cancelled")
        page.get_by_role("button", name="Retry").last.click()
        expect(page.locator("tbody .chip")).to_have_text("queued")
    else:
        expect(page).to_have_url(re.compile(f"/jobs/{job.job_id}"))
        page.get_by_role("button", name="Cancel").first.click()
        page.get_by_role("button", name="Cancel the job").click()
        expect(page.locator("#live-state .chip")).to_have_text("cancelled")
        page.goto(f"{address}/jobs?function=add")
        page.get_by_role("button", name="Retry").last.click()
        expect(page).to_have_url(re.compile(r"/jobs\?function=add"))
    assert watched.complaints == []


def test_what_can_be_taken_back_offers_it(address: str, settings: Settings, watched: Watched) -> None:
    with SyncQueue("mail", settings=settings) as queue:
        queue.enqueue(work.add, 1, 1)
    page = watched.open(f"{address}/queues")
    page.get_by_role("button", name="Pause").click()
    expect(page.locator("tbody .s-paused")).to_be_visible()
    page.get_by_role("button", name="Undo").click()
    expect(page.locator("tbody .s-paused")).to_have_count(0)


def test_a_delayed_job_gets_another_time_runs_now_and_is_deleted(address: str, settings: Settings, watched: Watched) -> None:
    with SyncQueue("mail", settings=settings) as queue:
        job = queue.enqueue_in(3600, work.add, 1, 1)
    page = watched.open(f"{address}/jobs/{job.job_id}")
    page.get_by_role("button", name="Reschedule").first.click()
    page.get_by_label("When?").fill("next week or so")
    page.get_by_role("dialog").get_by_role("button", name="Reschedule").click()
    expect(page.locator(".toast.bad")).to_contain_text("next week or so")
    page.get_by_label("When?").fill("3d")
    page.get_by_role("dialog").get_by_role("button", name="Reschedule").click()
    expect(page.locator(".toast").last).to_contain_text("The job is due at")
    expect(page.locator("#live-facts")).to_contain_text("in 2d")
    page.get_by_role("button", name="Run now").click()
    expect(page.locator("#live-state .chip")).to_have_text("queued")
    page.get_by_role("button", name="Cancel").first.click()
    page.get_by_role("button", name="Cancel the job").click()
    expect(page.locator("#live-state .chip")).to_have_text("cancelled")
    page.get_by_role("button", name="Delete").first.click()
    page.get_by_role("button", name="Delete the job").click()
    expect(page).to_have_url(re.compile("/jobs$"))
    expect(page.get_by_text("Nothing has been enqueued")).to_be_visible()


def test_jobs_that_failed_alike_are_put_back_together(address: str, settings: Settings, watched: Watched) -> None:
    with SyncQueue("mail", settings=settings) as queue:
        for number in range(3):
            queue.options(max_retries=0).enqueue(work.fail, f"order {number} is lost")
        with program("-m", "naq_worker", "mail", settings=settings, ready="takes jobs from"):
            page = watched.open(f"{address}/errors")
            expect(page.locator("tbody tr")).to_have_count(1)
            expect(page.locator("tbody tr")).to_contain_text("order")
            expect(page.get_by_role("heading", name="1 cause")).to_be_visible()
            expect(page.locator("header")).to_contain_text(["3 dead jobs"])
    page.get_by_role("button", name="Retry all").click()
    expect(page).to_have_url(re.compile("/jobs\\?bulk="))
    expect(page.locator("#live-list")).to_contain_text("3 jobs requeued.")
    page.goto(f"{address}/errors")
    expect(page.get_by_text("No dead jobs")).to_be_visible()


@pytest.mark.parametrize("scripts", [True, False])
def test_a_job_is_enqueued_with_the_form(address: str, settings: Settings, watched: Watched, scripts: bool) -> None:
    page = watched.open(f"{address}/jobs?queue=mail", java_script_enabled=scripts)
    form = page.locator("main")
    page.get_by_role("link", name="New job").click()
    expect(form.get_by_label("Queue")).to_have_value("mail")
    form.get_by_label("Function").fill("math:hypot")
    form.get_by_label("Arguments").fill("[3, 4")
    page.get_by_role("button", name="Enqueue job").click()
    if scripts:
        expect(page.locator(".toast.bad")).to_contain_text("must be JSON")
    else:
        expect(page.locator("main")).to_contain_text("must be JSON")
        page.go_back()
        form.get_by_label("Function").fill("math:hypot")  # nothing of what was sent is kept in the browser
    form.get_by_label("Arguments").fill("[3, 4]")
    form.get_by_label("Id").fill("hypotenuse")
    page.get_by_role("button", name="Enqueue job").click()
    expect(page).to_have_url(re.compile(r"/jobs/hypotenuse\?queue=mail$"))
    expect(page.locator("#live-state")).to_contain_text("queued")
    with program("-m", "naq_worker", "mail", settings=settings, ready="takes jobs from"):
        if not scripts:
            with SyncQueue("mail", settings=settings) as queue:
                assert queue.job("hypotenuse").result(timeout=20) == 5.0
            page.reload()
        expect(page.locator("#live-state")).to_contain_text("succeeded")
        expect(page.locator("#live-result")).to_contain_text("5.0")


@pytest.mark.parametrize("scripts", [True, False])
def test_an_operation_of_the_api_is_read_and_opened(address: str, settings: Settings, watched: Watched, scripts: bool) -> None:
    with SyncQueue("mail", settings=settings) as queue:
        job = queue.enqueue(work.add, 1, 1)
    page = watched.open(f"{address}/jobs", java_script_enabled=scripts)
    page.get_by_role("link", name="API", exact=True).first.click()
    page.locator("summary", has_text="/api/jobs/{job_id}").filter(has_text="Return all").click()
    one = page.locator("#one_job")
    expect(one.locator(".code-line code")).to_have_text(f"curl {address}/api/jobs/JOB_ID")
    one.get_by_label("job_id").fill(job.job_id)
    with page.context.expect_page() as opened:
        one.get_by_role("button", name="Open").click()
    expect(opened.value.locator("body")).to_contain_text(f'"job_id":"{job.job_id}"')
    assert opened.value.url == f"{address}/api/jobs/{job.job_id}"
