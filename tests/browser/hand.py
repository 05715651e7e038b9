"""Somebody at the dashboard: with a mouse, with the keyboard alone, without scripts, or at a phone. Clicks are counted."""

from __future__ import annotations

from enum import StrEnum

from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from tests.browser.accessibility import PHONE

__all__ = ["Hand", "Way", "context_of"]

MOST_TABS = 250
"""Presses of the Tab key until something is focused."""


class Way(StrEnum):
    """How somebody works."""

    MOUSE = "mouse"
    KEYBOARD = "keyboard"
    PLAIN = "plain"
    """With a mouse, without scripts."""
    PHONE = "phone"


def context_of(browser: Browser, way: Way) -> BrowserContext:
    """Open a context for this way of working."""
    context = browser.new_context(
        viewport=PHONE if way is Way.PHONE else {"width": 1280, "height": 900},
        has_touch=way is Way.PHONE,
        java_script_enabled=way is not Way.PLAIN,
        reduced_motion="reduce",
    )
    context.set_default_timeout(15_000)
    return context


class Hand:
    """Does what a person does on a page, beginning on the overview."""

    def __init__(self, page: Page, way: Way) -> None:
        self.page = page
        self.way = way
        self.clicks = 0

    def click(self, target: Locator) -> None:
        """Click, tap, or press Enter on something (Space on a check box)."""
        self.clicks += 1
        self._wait_for(target)
        if self.way is Way.KEYBOARD:
            self._walk_to(target)
            self.page.keyboard.press("Enter")
        elif self.way is Way.PHONE:
            target.tap()
        else:
            target.click()

    def write(self, target: Locator, text: str) -> None:
        """Type into a field, in place of what it has."""
        self._wait_for(target)
        if self.way is Way.KEYBOARD:
            self._walk_to(target)
            self.page.keyboard.press("Control+a")
            self.page.keyboard.type(text)
        else:
            target.fill(text)

    def enter(self) -> None:
        """Press Enter in a field, which counts as a click."""
        self.clicks += 1
        self.page.keyboard.press("Enter")

    def open(self, name: str) -> None:
        """Go from the overview to a page, by the navigation, or on a phone by a tile or the menu."""
        tile = self.page.locator("main a.tile").filter(has_text=name)
        if self.way is not Way.PHONE:
            self.click(self.page.locator(".side > .nav").get_by_role("link", name=name, exact=True))
        elif tile.count():
            self.click(tile)
        else:
            self.click(self.page.locator(".burger summary"))
            self.click(self.page.locator(".drawer").get_by_role("link", name=name, exact=True))
        expect(self.page.get_by_role("heading", name=name, level=1)).to_be_visible()

    def find(self, text: str) -> None:
        """Search everything for a text: in the command palette, or without scripts in the jobs."""
        if self.way is Way.PLAIN:
            self.open("Jobs")
            self.write(self.page.locator("input[type=search]"), text)
        else:
            self.click(self.page.locator("#palette-open"))
            self.page.keyboard.type(text)
            expect(self.page.get_by_role("option").last).to_contain_text(text)
        self.enter()

    def _wait_for(self, target: Locator) -> None:
        """Wait until something is there and the scripts of its page have run: before that, a button does what it does without."""
        target.wait_for()
        self.page.wait_for_load_state("domcontentloaded")

    def _walk_to(self, target: Locator) -> None:
        for _ in range(MOST_TABS):
            if target.evaluate("element => element === document.activeElement"):
                return
            self.page.keyboard.press("Tab")
        raise AssertionError(f"the Tab key does not reach {target}")
