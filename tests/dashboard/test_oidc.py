"""Logging in at an identity provider, a small one over real HTTP; and sessions that end when somebody logs out."""

import json
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode, urlsplit

import httpx
import pytest

from naq_core import ConfigurationError
from naq_dashboard import ADMIN, OPERATOR, DashboardSettings
from tests.dashboard.conftest import Client, OpenDashboard
from tests.support.eventually import eventually
from tests.support.oidc import CLIENT, SECRET, provider

SAME = {"Sec-Fetch-Site": "same-origin"}
PAGE = {"Accept": "text/html"}
ROLES = {"ada@example.org": ADMIN, "group:ops": OPERATOR}


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    """Run a provider."""
    with provider() as address:
        yield address


def options(issuer: str) -> dict[str, Any]:
    return {"oidc_issuer": issuer, "oidc_client_id": CLIENT, "oidc_client_secret": SECRET, "oidc_roles": ROLES}


async def log_in(client: Client, issuer: str, *, changed: dict[str, str] | None = None, **user: str) -> httpx.Response:
    """Go to the provider and come back as that user, perhaps with another answer."""
    async with httpx.AsyncClient() as browser:
        await browser.get(f"{issuer}/become?{urlencode(user)}")
        sent = await client.get("/login/oidc?next=/workers")
        assert sent.status_code == 303, sent.text
        back = urlsplit((await browser.get(sent.headers["location"])).headers["location"])
    query = dict(httpx.QueryParams(back.query)) | (changed or {})
    return await client.get(back.path, params=query, headers=PAGE)


async def test_people_come_in_with_the_role_of_their_name_or_group(open_dashboard: OpenDashboard, issuer: str) -> None:
    async with open_dashboard(**options(issuer)) as client:
        sent = await client.get("/workers", headers=PAGE)
        assert sent.headers["location"] == "/login?next=/workers"
        assert "/login/oidc?next=%2Fworkers" in (await client.get(sent.headers["location"])).text
        back = await log_in(client, issuer, email="ada@example.org")
        assert (back.status_code, back.headers["location"]) == (303, "/workers")
        assert (await client.post("/api/queues/x/purge", json={}, headers=SAME)).status_code == 403  # the form's token
        assert "ada@example.org" in (await client.get("/workers", headers=PAGE)).text
        await log_in(client, issuer, email="bob@example.org", groups="other ops")
        text = (await client.get("/new-job", headers=PAGE)).text
        assert "bob@example.org" in text
        assert "You are not allowed to enqueue jobs" in text  # an operator
        entries = (await client.get("/api/audit?action=log-in")).json()["entries"]
        assert {(each["by"], each["how"]) for each in entries} == {("ada@example.org", "oidc"), ("bob@example.org", "oidc")}


@pytest.mark.parametrize(
    ("user", "changed", "told"),
    [
        ({"email": "eve@example.org"}, {}, "eve@example.org is not allowed to see this dashboard"),
        ({"email": "ada@example.org", "forge": "1"}, {}, "answer is not valid"),
        ({"email": "ada@example.org", "claims": json.dumps({"nonce": "another"})}, {}, "answer is not valid"),
        ({"email": "ada@example.org", "claims": json.dumps({"aud": "another"})}, {}, "answer is not valid"),
        ({"email": "ada@example.org", "claims": json.dumps({"exp": int(time.time()) - 999})}, {}, "answer is not valid"),
        ({"email": "ada@example.org", "claims": json.dumps({"email_verified": False})}, {}, "has not verified your address"),
        ({"email": ""}, {}, "does not tell your email"),
        ({"deny": "1"}, {}, "refuses: access_denied"),
        ({"email": "ada@example.org"}, {"code": "guessed"}, "refuses the login"),
        ({"email": "ada@example.org"}, {"state": "of another browser"}, "was not begun in this browser"),
    ],
)
async def test_nobody_else_comes_in(
    open_dashboard: OpenDashboard, issuer: str, user: dict[str, str], changed: dict[str, str], told: str
) -> None:
    async with open_dashboard(**options(issuer)) as client:
        back = await log_in(client, issuer, changed=changed, **user)
        assert (back.status_code, told in back.text) == (403, True), back.text
        assert (await client.get("/api/workers")).status_code == 401


async def test_a_provider_that_is_away_is_said_to_be(open_dashboard: OpenDashboard) -> None:
    async with open_dashboard(**options("http://127.0.0.1:9")) as client:
        answer = await client.get("/login/oidc")
    assert (answer.status_code, "does not answer" in answer.text) == (502, True)


@pytest.mark.parametrize("missing", ["oidc_client_id", "oidc_roles"])
def test_half_a_configuration_is_refused(missing: str) -> None:
    with pytest.raises(ConfigurationError, match=f"NAQ_DASHBOARD_{missing.upper()}"):
        DashboardSettings(**options("https://id.example.org") | {missing: "" if missing == "oidc_client_id" else {}})


async def test_a_session_ends_at_the_logout_in_every_dashboard(open_dashboard: OpenDashboard) -> None:
    async with open_dashboard(password="pw") as client, open_dashboard(password="pw") as other:
        await client.post("/login", data={"name": "admin", "password": "pw"}, headers=SAME)
        copied = {"Cookie": f"naq_dashboard_session={client.cookies['naq_dashboard_session']}"}
        assert (await other.get("/api/workers", headers=copied)).status_code == 200
        await client.post("/logout", headers=SAME)
        client.cookies.clear()
        assert (await client.get("/api/workers", headers=copied)).status_code == 401

        async def is_out() -> None:
            assert (await other.get("/api/workers", headers=copied)).status_code == 401

        await eventually(is_out)
        async with open_dashboard(password="pw") as restarted:
            assert (await restarted.get("/api/workers", headers=copied)).status_code == 401


async def test_a_user_has_so_many_streams(open_dashboard: OpenDashboard) -> None:
    async with open_dashboard(password="pw", streams_per_user=1) as client:
        live = client._transport.app.state.naq_dashboard.live  # type: ignore[attr-defined]
        with live.attended("admin"):
            answer = await client.get("/api/stream", auth=("admin", "pw"))
            assert (answer.status_code, "streams" in answer.json()["detail"]) == (429, True)
        live.check_room("admin", 1)
