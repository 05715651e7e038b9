"""Going anywhere, and acting, with the keyboard alone."""

import re

from playwright.sync_api import Page, expect

from naq_client import SyncQueue
from naq_core.settings import Settings
from tests.browser.accessibility import PHONE, violations
from tests.browser.conftest import Watched, arrive
from tests.integration import work


def go(page: Page, *words: str) -> None:
    """Open the palette, type, and press Enter, as fast as that."""
    page.keyboard.press("Control+k")
    for word in words:
        page.keyboard.type(word)
    page.keyboard.press("Enter")


def test_the_palette_leads_everywhere_by_keyboard(address: str, settings: Settings, watched: Watched) -> None:
    with SyncQueue("mail-eu", settings=settings) as queue:
        job = queue.enqueue(work.add, 1, 1)
    page = watched.open(address)
    page.locator(".brand").focus()
    page.keyboard.press("Control+k")
    dialog = page.get_by_role("dialog", name=re.compile("Go to"))
    field = page.get_by_role("combobox", name="Page, name, id of a job, or action")
    expect(field).to_be_focused()
    field.fill("<b>ail-eu")
    expect(dialog.get_by_role("option")).to_have_text(["<b>ail-eusearch in jobs"])
    field.fill("ail-eu")
    expect(dialog.get_by_role("option").first).to_contain_text("1 queued · queue")
    page.keyboard.press("Escape")
    expect(dialog).to_be_hidden()
    expect(page.locator(".brand")).to_be_focused()
    go(page, "funct")
    arrive(page, re.compile("/functions$"))
    go(page, "ail-eu")
    arrive(page, re.compile("/queues/mail-eu$"))
    go(page, job.job_id)
    arrive(page, re.compile(f"/jobs/{job.job_id}$"))
    go(page, "cancel")
    expect(page.get_by_role("button", name="Cancel the job").last).to_be_visible()
    page.keyboard.press("Escape")
    go(page, "customer 4711")
    arrive(page, re.compile("/jobs[?]q=customer[+]4711$"))
    for _ in range(2):  # from another page, and on the page itself
        go(page, "mark")
        expect(page.get_by_label("Version")).to_be_focused()
        page.keyboard.press("Escape")
    assert watched.complaints == []


def test_the_palette_is_accessible_and_fits_on_a_phone(address: str, watched: Watched) -> None:
    page = watched.open(address, viewport=PHONE)
    page.get_by_role("button", name="Go to").click()
    page.keyboard.type("e")
    page.keyboard.press("ArrowDown")
    expect(page.get_by_role("option", selected=True)).to_contain_text("page")
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
