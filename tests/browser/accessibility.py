"""What axe finds on a page and in its questions: in both themes, on a desk and on a phone."""

from typing import Literal

from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import Page, ViewportSize

__all__ = ["PHONE", "violations"]

DESK: ViewportSize = {"width": 1440, "height": 900}
PHONE: ViewportSize = {"width": 390, "height": 844}
LARGE = 5000
"""Elements; of a larger page, which takes axe seconds, the two ways that differ most are looked at."""
THEMES: tuple[tuple[Literal["light", "dark"], str], ...] = (("light", ""), ("dark", "color-contrast"))
"""Themes differ in colours only, so the second is asked for contrast alone."""
RUN = """async ([only, asks]) => {
    const options = { resultTypes: ["violations"], ...(only && { runOnly: only }) };
    const look = async (place) => (await axe.run(place, options)).violations.map(
        (each) => `${each.id}: ${each.nodes[0].html.slice(0, 200)} ${each.nodes[0].failureSummary}`);
    const found = await look(document), frame = document.querySelector(".frame");
    for (const question of asks ? document.querySelectorAll("[popover][role=dialog]:not(#ask-row)") : []) {
        const place = document.createComment("");
        question.replaceWith(place);
        document.body.append(question);
        frame.hidden = true;
        question.showPopover();
        found.push(...await look(question));
        question.hidePopover();
        frame.hidden = false;
        place.replaceWith(question);
    }
    return found;
}"""
"""Axe cannot tell the contrast of what lies above other things, so a question is looked at alone. That of a row (`#ask-row`) is
empty before a row is chosen."""


def violations(page: Page) -> list[str]:
    """Return what axe finds; questions are as narrow as a phone everywhere, so they are looked at there."""
    page.evaluate(AXE_SCRIPT)
    before = page.viewport_size
    is_large = page.evaluate("document.querySelectorAll('*').length") > LARGE
    found: list[str] = []
    for size in (DESK, PHONE):
        page.set_viewport_size(size)
        for theme, only in THEMES:
            if is_large and (size is PHONE) != (theme == "dark"):
                continue
            page.emulate_media(color_scheme=theme, reduced_motion="reduce")
            told: list[str] = page.evaluate(RUN, [only, size is PHONE])
            found += [f"{theme}, {size['width']}: {each}" for each in told]
    if before is not None:
        page.set_viewport_size(before)
    return found
