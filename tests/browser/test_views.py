"""Saved views of the jobs, which stay in the browser or go into a file."""

import json
import re
from pathlib import Path

from playwright.sync_api import expect

from tests.browser.accessibility import violations
from tests.browser.conftest import Watched

HOSTILE = "<img src=x onerror='window.hacked=1'>"


def test_a_view_is_saved_found_passed_on_as_a_file_and_deleted(address: str, watched: Watched, tmp_path: Path) -> None:
    page = watched.open(f"{address}/jobs?state=dead&q=customer+7&function=&tz=Europe%2FBerlin&bulk=x")
    views = page.get_by_role("navigation", name="Saved views")
    page.get_by_role("button", name="Views").click()
    page.get_by_label("Save what is shown now as").fill(" Dead of 7 ")
    page.keyboard.press("Enter")
    expect(views.get_by_role("link")).to_have_attribute("aria-current", "page")
    page.goto(address)
    page.keyboard.press("Control+k")
    page.keyboard.type("dead of")
    page.keyboard.press("Enter")
    expect(page).to_have_url(f"{address}/jobs?q=customer+7&state=dead")
    page.get_by_role("button", name="Views").click()
    with page.expect_download() as download:
        page.get_by_role("button", name="Export").click()
    file = tmp_path / "views.json"
    download.value.save_as(file)
    assert json.loads(file.read_text()) == [{"name": "Dead of 7", "query": "q=customer+7&state=dead"}]

    other = watched.open(f"{address}/jobs")
    other.get_by_role("button", name="Views").click()
    chosen = other.get_by_label("File with views")
    refused = other.get_by_role("dialog", name="Saved views").get_by_role("alert")
    for content, told in (("{", "bad.json is not JSON"), ("{}", "not a list of views"), ('[{"name": "a"}]', '"a" needs a query')):
        chosen.set_input_files({"name": "bad.json", "mimeType": "application/json", "buffer": content.encode()})
        expect(refused).to_contain_text(told)
    file.write_text(json.dumps([*json.loads(file.read_text()), {"name": HOSTILE, "query": "javascript:alert(1)=1"}]))
    chosen.set_input_files(file)
    expect(refused).to_have_count(0)
    assert violations(other) == []
    other.get_by_role("button", name="Views").click()
    other.get_by_role("button", name="Delete the view Dead of 7").click()
    other.reload()
    left = other.get_by_role("navigation", name="Saved views").get_by_role("link")
    expect(left).to_have_text([HOSTILE])
    expect(left).to_have_attribute("href", re.compile(r"^/jobs\?javascript"))
    assert other.evaluate("window.hacked") is None
    assert watched.complaints == []
