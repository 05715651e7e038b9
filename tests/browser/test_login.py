"""Logging in and out, as people do."""

import re
import urllib.request

from playwright.sync_api import expect

from tests.browser.accessibility import violations
from tests.browser.conftest import Serve, Watched
from tests.support.oidc import CLIENT, SECRET, provider


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


def test_a_login_with_single_sign_on(serve: Serve, watched: Watched) -> None:
    own = {"oidc_client_id": CLIENT, "oidc_client_secret": SECRET, "oidc_roles": "ada@example.org=admin"}
    with provider() as issuer, serve(password="pw", oidc_issuer=issuer, **own) as address:
        page = watched.open(f"{address}/workers")
        assert violations(page) == []
        for user, shown in (("eve", "eve@example.org is not allowed to see this dashboard"), ("ada", "No worker is running")):
            with urllib.request.urlopen(f"{issuer}/become?email={user}@example.org", timeout=30):
                pass
            page.get_by_role("link", name="Log in with single sign-on").click()
            expect(page.locator("main")).to_contain_text(shown)
        expect(page).to_have_url(f"{address}/workers")
        expect(page.locator(".side > .foot")).to_contain_text("ada@example.org")
