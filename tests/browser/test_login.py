"""Logging in and out, as people do."""

import re

from playwright.sync_api import expect

from tests.browser.accessibility import violations
from tests.browser.conftest import Serve, Watched


def test_a_login_with_a_password(serve: Serve, watched: Watched) -> None:
    with serve(users="vera:viewer:pw1 adam:admin:pw2") as address:
        page = watched.open(f"{address}/jobs?state=dead")
        assert violations(page) == []
        for name, word in (("vera", "wrong"), ("vera", "pw1")):
            page.get_by_label("Name").fill(name)
            page.get_by_label("Password").fill(word)
            page.get_by_role("button", name="Log in").click()
        expect(page).to_have_url(re.compile(r"/jobs\?state=dead$"))
        expect(page.locator(".side > .foot")).to_contain_text("read-only")
        page.get_by_role("button", name="Log out").first.click()
        expect(page.get_by_label("Password")).to_be_visible()
