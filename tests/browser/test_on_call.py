"""What somebody on call asks and does, in at most four clicks from the overview: the table of `docs/dashboard.md`."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from naq_core.attention import needs_attention
from naq_core.inspect import get_job, get_queue, list_jobs, list_workers
from naq_core.manage import resume_worker
from naq_core.record import JobState
from naq_core.server import EmbeddedServer
from naq_core.settings import Settings
from naq_core.views import JobFilter
from tests.browser.hand import Hand, Way, context_of
from tests.browser.shop import BULK, Shop, opened

MOST_CLICKS = 4


@pytest.fixture(scope="module")
def paid(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Name the file with which payments succeed."""
    return tmp_path_factory.mktemp("shop") / "paid"


@pytest.fixture(scope="module")
def shop(nats_server: EmbeddedServer, paid: Path) -> Iterator[Shop]:
    """Fill a namespace once for all tasks; each way of working has jobs, queues and schedules of its own to act on."""
    with opened(Settings.load(nats_url=nats_server.url, namespace=f"t{secrets.token_hex(5)}"), str(paid)) as shop:
        paid.touch()
        yield shop


@pytest.fixture(scope="module")
def pages(browser: Browser) -> Iterator[dict[Way, Page]]:
    """Open a page for each way of working; with its cache it serves all tasks."""
    contexts = {way: context_of(browser, way) for way in Way}
    yield {way: context.new_page() for way, context in contexts.items()}
    for each in contexts.values():
        each.close()


def row(hand: Hand, text: str) -> Locator:
    return hand.page.locator("tbody tr").filter(has_text=text)


def see_what_is_broken(hand: Hand, shop: Shop) -> None:
    told = next(each for each in shop.ask(needs_attention) if each.name == "behind")
    item = hand.page.get_by_role("region", name="Needs attention").locator("li").filter(has_text="behind")
    since = " since .*" if told.since else ".*"  # for its first half a minute it may be an exchange of workers
    expect(item).to_contain_text(re.compile(f"{told.found}{since}{told.advice}", re.DOTALL))


def see_who_changed_something(hand: Hand, shop: Shop) -> None:
    shop.post("queues/shop/pause")
    shop.post("queues/shop/resume")
    change = hand.page.locator("#live-changes tbody tr").filter(has_text="resume-queue").filter(has_text="shop")
    expect(change).to_contain_text(re.compile("nobody.*done", re.DOTALL))


def see_which_queue_is_behind(hand: Hand, shop: Shop) -> None:
    oldest = shop.ask(get_queue, "behind").oldest_at
    assert oldest is not None
    first = hand.page.locator("#live-queues tbody tr").first
    expect(first).to_contain_text("behind")
    shown = first.locator("time").get_attribute("datetime")
    assert shown is not None
    assert abs((datetime.fromisoformat(shown) - oldest).total_seconds()) < 0.01
    hand.click(hand.page.locator("a.tile").filter(has_text="Oldest"))
    expect(hand.page).to_have_url(re.compile("/queues/behind$"))


def see_who_serves_a_queue(hand: Hand, shop: Shop) -> None:
    hand.open("Queues")
    hand.click(row(hand, "shop").get_by_role("link", name="shop", exact=True))
    (worker,) = shop.ask(list_workers)
    expect(hand.page.locator("main")).to_contain_text(worker["worker_id"])


def see_why_jobs_fail(hand: Hand, shop: Shop) -> None:
    hand.open("Errors")
    hand.click(row(hand, "the order is lost").get_by_role("link", name="Example"))
    (last,) = shop.ask(get_job, "story").errors[-1:]
    expect(hand.page.locator(".message").first).to_have_text(last.message)


def retry_all_with_one_error(hand: Hand, shop: Shop) -> None:
    hand.open("Errors")
    hand.click(row(hand, f"card of {hand.way} was declined").get_by_role("button", name="Retry all"))
    expect(hand.page).to_have_url(re.compile("bulk="))
    for number in range(2):
        shop.becomes(f"pay-{hand.way}-{number}", JobState.SUCCEEDED)


def find_a_job_by_its_id(hand: Hand, shop: Shop) -> None:
    hand.find(shop.ask(get_job, "order").job_id)
    expect(hand.page).to_have_url(re.compile("/jobs/order"))


def find_a_job_by_the_number_of_a_customer(hand: Hand, shop: Shop) -> None:
    hand.find("arg.customer:4711")
    hand.click(row(hand, "order").get_by_role("link", name="order", exact=True))
    expect(hand.page.locator("#arguments")).to_contain_text("4711")
    assert "4711" in shop.ask(get_job, "order").arguments


def see_whether_a_job_failed_differently_before(hand: Hand, shop: Shop) -> None:
    open_newest_failure(hand)
    hand.click(hand.page.get_by_text("Difference to attempt 1"))
    for error in shop.ask(get_job, "story").errors:
        expect(hand.page.locator(".difference")).to_contain_text(f"{error.type}: {error.message}")


def see_what_a_job_waited_for(hand: Hand, shop: Shop) -> None:
    open_newest_failure(hand)
    bars = hand.page.locator(".course li")
    expect(bars.filter(has_text=re.compile("^Attempt"))).to_have_count(len(shop.ask(get_job, "story").errors))


def see_what_a_job_logged(hand: Hand, shop: Shop) -> None:
    del shop
    open_newest_failure(hand)
    expect(hand.page.locator("#live-logs .WARNING")).to_contain_text(["attempt 1", "attempt 2"])


def open_newest_failure(hand: Hand) -> None:
    hand.click(hand.page.locator("#live-failures").get_by_role("link", name="fail_twice"))


def cancel_a_running_job(hand: Hand, shop: Shop) -> None:
    job_id = f"run-{hand.way}"
    shop.becomes(job_id, JobState.RUNNING)
    hand.click(hand.page.locator("a.tile").filter(has_text="Running"))
    hand.click(row(hand, job_id).get_by_role("button", name="Cancel"))
    if hand.way is Way.PLAIN:  # the row's button is a link to the job
        hand.click(hand.page.get_by_role("button", name="Cancel", exact=True))
    hand.click(hand.page.get_by_role("button", name="Cancel the job"))
    shop.becomes(job_id, JobState.CANCELLED)


def see_which_jobs_have_run_longest(hand: Hand, shop: Shop) -> None:
    shop.becomes("run-first", JobState.RUNNING)
    hand.click(hand.page.locator("a.tile").filter(has_text="Running"))
    hand.click(hand.page.get_by_role("link", name="Longest running first"))
    expect(hand.page.locator("tbody tr").first).to_contain_text("run-first")


def run_a_job_again_with_other_arguments(hand: Hand, shop: Shop) -> None:
    hand.find("order")
    hand.click(hand.page.get_by_role("link", name="Edit and enqueue again"))
    hand.write(hand.page.get_by_label("Arguments"), '{"customer": 4712}')
    hand.click(hand.page.get_by_role("button", name="Enqueue job"))
    expect(hand.page.locator("#arguments")).to_contain_text("4712")
    wanted = JobFilter(function="anything", states=frozenset({JobState.SUCCEEDED}))
    shop.comes_true(list_jobs, wanted, where=lambda page: any("4712" in job.arguments for job in page.jobs))


def stop_a_queue_until_six(hand: Hand, shop: Shop) -> None:
    hand.open("Queues")
    hand.click(hand.page.get_by_role("link", name=f"stop-{hand.way}", exact=True))
    hand.click(hand.page.get_by_role("button", name="Pause", exact=True))
    hand.write(hand.page.get_by_label("For how long, or until when?"), "18:00")
    hand.click(hand.page.get_by_role("dialog").get_by_role("button", name="Pause"))
    shop.comes_true(get_queue, f"stop-{hand.way}", where=lambda queue: queue.paused)
    until = shop.ask(get_queue, f"stop-{hand.way}").paused_until
    assert until is not None
    assert f"{until.astimezone(UTC):%H:%M}" == "18:00"


def let_a_queue_run_fewer_jobs_at_once(hand: Hand, shop: Shop) -> None:
    hand.open("Queues")
    hand.click(hand.page.get_by_role("link", name="behind", exact=True))
    hand.click(hand.page.get_by_role("button", name="Limit"))
    hand.write(hand.page.get_by_label("Jobs at once"), "3")
    hand.click(hand.page.get_by_role("button", name="Set the limit"))
    shop.comes_true(get_queue, "behind", where=lambda queue: queue.limit == 3)


def cancel_all_jobs_that_match(hand: Hand, shop: Shop) -> None:
    hand.find(f"queue:flood-{hand.way}")
    hand.click(hand.page.locator("#bulk").get_by_role("button", name="Cancel"))
    hand.click(hand.page.get_by_role("button", name="Cancel all that match"))
    expect(hand.page).to_have_url(re.compile("bulk="))
    for number in range(BULK):
        shop.becomes(f"flood-{hand.way}-{number}", JobState.CANCELLED)


def see_which_function_became_slow_and_with_which_deployment(hand: Hand, shop: Shop) -> None:
    del shop
    hand.open("Functions")
    function = hand.page.get_by_role("link", name="tests.integration.work:anything")
    expect(function).to_be_visible()  # workers store their figures every ten seconds
    hand.click(function)
    expect(hand.page.locator("#live-tiles")).to_contain_text("Run p50")
    expect(hand.page.locator(".chart-data summary")).to_contain_text("1 deployment")


def see_why_a_schedule_did_not_fire(hand: Hand, shop: Shop) -> None:
    assert {each.kind for each in shop.ask(needs_attention)} >= {"no-leader"}
    hand.open("Schedules")
    expect(hand.page.locator("#live-scheduler")).to_contain_text(re.compile("Leader.*none.*naq scheduler", re.DOTALL))
    hand.click(hand.page.get_by_role("link", name="weekly"))
    expect(hand.page.locator("#live-history")).to_contain_text("Is a scheduler running?")


def make_up_for_runs_that_were_missed(hand: Hand, shop: Shop) -> None:
    hand.open("Schedules")
    hand.click(hand.page.get_by_role("link", name=f"nightly-{hand.way}"))
    hand.write(hand.page.get_by_label("From (UTC)"), "2d")
    hand.click(hand.page.get_by_role("button", name="Show the times"))
    hand.click(hand.page.get_by_role("button", name="Enqueue 2 runs"))
    shop.comes_true(list_jobs, JobFilter(schedule=f"nightly-{hand.way}"), where=lambda page: len(page.jobs) == 2)


def see_where_a_workflow_is_stuck(hand: Hand, shop: Shop) -> None:
    assert shop.ask(get_job, "check").state is JobState.DEAD
    hand.open("Workflows")
    hand.click(hand.page.get_by_role("link", name="warehouse"))
    expect(hand.page.locator("#live-graph")).to_contain_text(re.compile("the way to the failure:.* → ", re.DOTALL))
    expect(hand.page.locator(".gantt .way")).to_have_count(2)


def see_what_a_worker_is_doing(hand: Hand, shop: Shop) -> None:
    (worker,) = shop.ask(list_workers)
    hand.open("Workers")
    hand.click(hand.page.get_by_role("link", name=worker["worker_id"]))
    hand.click(hand.page.get_by_role("button", name="What is it doing?"))
    expect(hand.page.locator(".stacks")).to_contain_text("in sleep")


def take_a_worker_out_of_service(hand: Hand, shop: Shop) -> None:
    (worker,) = shop.ask(list_workers)
    hand.open("Workers")
    hand.click(hand.page.get_by_role("button", name="Quiet"))
    shop.comes_true(list_workers, where=lambda found: found[0]["state"] == "quiet")
    shop.ask(resume_worker, worker["worker_id"])
    shop.comes_true(list_workers, where=lambda found: found[0]["state"] != "quiet")


Task = Callable[[Hand, Shop], None]
IN_EVERY_WAY: tuple[Task, ...] = (
    retry_all_with_one_error,
    cancel_a_running_job,
    stop_a_queue_until_six,
    cancel_all_jobs_that_match,
    make_up_for_runs_that_were_missed,
)
WITH_A_MOUSE: tuple[Task, ...] = (
    see_what_is_broken,
    see_who_changed_something,
    see_which_queue_is_behind,
    see_who_serves_a_queue,
    see_why_jobs_fail,
    find_a_job_by_its_id,
    find_a_job_by_the_number_of_a_customer,
    see_whether_a_job_failed_differently_before,
    see_what_a_job_waited_for,
    see_what_a_job_logged,
    see_which_jobs_have_run_longest,
    run_a_job_again_with_other_arguments,
    let_a_queue_run_fewer_jobs_at_once,
    see_which_function_became_slow_and_with_which_deployment,
    see_why_a_schedule_did_not_fire,
    see_where_a_workflow_is_stuck,
    see_what_a_worker_is_doing,
    take_a_worker_out_of_service,
)
CASES = [*((task, Way.MOUSE) for task in WITH_A_MOUSE), *((task, way) for task in IN_EVERY_WAY for way in Way)]


@pytest.mark.parametrize(("task", "way"), CASES, ids=[f"{task.__name__}-{way}" for task, way in CASES])
def test_a_task_takes_at_most_four_clicks(task: Task, way: Way, shop: Shop, pages: dict[Way, Page]) -> None:
    pages[way].goto(shop.address)
    hand = Hand(pages[way], way)
    task(hand, shop)
    assert hand.clicks <= MOST_CLICKS
