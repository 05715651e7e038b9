"""One dashboard for several servers or namespaces: each has its own pages, actions and live updates below its own path."""

from __future__ import annotations

import dataclasses
import re
import secrets
from typing import Any

import httpx
import pytest
from litestar import Litestar

from naq_client import Queue
from naq_core.errors import ConfigurationError
from naq_core.settings import Settings
from naq_dashboard import ADMIN, VIEWER, DashboardSettings, NaqDashboardPlugin, OtherServer, User
from tests.dashboard.conftest import SECRET, Client, OpenDashboard
from tests.integration import work

PAGE = {"Accept": "text/html"}
SAME = {"Sec-Fetch-Site": "same-origin"}
SWITCH = re.compile(r'<a href="([^"]*)" data-hint="server"([^>]*)>([^<]*)</a>')


@pytest.fixture
def elsewhere(settings: Settings) -> Settings:
    """Give another namespace of the same server."""
    return dataclasses.replace(settings, namespace=f"t{secrets.token_hex(5)}")


@pytest.fixture
def servers(elsewhere: Settings) -> tuple[OtherServer, ...]:
    return (
        OtherServer(name="staging", namespace=elsewhere.namespace),
        OtherServer(name="archive", url=elsewhere.nats_url, namespace=elsewhere.namespace, read_only=True),
    )


def switch(page: httpx.Response) -> dict[str, tuple[str, bool]]:
    """Return the links between servers: by name their address, and whether it is the one that is shown."""
    assert page.status_code == 200, page.text
    return {name: (address, "aria-current" in rest) for address, rest, name in SWITCH.findall(page.text)}


async def token_of(client: Client, path: str) -> str:
    found = re.search(r'name="naq-csrf" content="([^"]+)"', (await client.get(path, headers=PAGE)).text)
    assert found is not None
    return found[1]


async def test_each_server_has_its_own_jobs_and_the_switch_keeps_the_page(
    open_dashboard: OpenDashboard, settings: Settings, elsewhere: Settings, servers: tuple[OtherServer, ...]
) -> None:
    async with Queue("here", settings=settings) as here, Queue("there", settings=elsewhere) as there:
        await here.enqueue(work.add, 1)
        job = await there.enqueue(work.add, 2)
        async with open_dashboard(servers=servers, environment="production") as client:
            assert [each["queue"] for each in (await client.get("/api/queues")).json()] == ["here"]
            assert [each["queue"] for each in (await client.get("/s/staging/api/queues")).json()] == ["there"]
            assert (await client.get(f"/jobs/{job.job_id}", headers=PAGE)).status_code == 404
            page = await client.get(f"/s/staging/jobs/{job.job_id}", headers=PAGE)
            assert switch(page) == {
                "production": ("/jobs", False),
                "staging": ("/s/staging/jobs", True),
                "archive": ("/s/archive/jobs", False),
            }
            assert 'data-stream="/s/staging/stream"' in page.text
            assert "<title>tests.integration.work:add · staging · NAQ</title>" in page.text
            for path in ("/s/staging", "/s/staging/"):
                assert switch(await client.get(path, headers=PAGE))["staging"] == ("/s/staging/", True)
            assert (await client.get("/s/nowhere/jobs", headers=PAGE)).status_code == 404
            assert (await client.get("/s/staging/s/archive/jobs", headers=PAGE)).status_code == 404


async def test_a_dashboard_of_one_server_has_no_switch(dashboard: Client) -> None:
    assert switch(await dashboard.get("/queues", headers=PAGE)) == {}


async def test_roles_and_form_tokens_hold_for_each(
    open_dashboard: OpenDashboard, settings: Settings, elsewhere: Settings, servers: tuple[OtherServer, ...]
) -> None:
    users = (User(name="ada", access=ADMIN, password="p"), User(name="eve", access=VIEWER, password="q"))
    async with Queue("mail", settings=settings) as here, Queue("mail", settings=elsewhere) as there:
        await here.enqueue(work.add, 1)
        await there.enqueue(work.add, 1)
        async with open_dashboard(servers=servers, users=users) as client:
            pause, form = "/s/staging/do/pause-queue", {"queue": "mail"}
            sent = await client.get("/s/staging/queues?find=m", headers=PAGE)
            assert sent.headers["Location"] == "/login?next=/s/staging/queues%3Ffind%3Dm"
            assert (await client.post(pause, data=form, headers=SAME)).status_code == 401
            await client.post("/login", data={"name": "eve", "password": "q"}, headers=SAME)
            token = await token_of(client, "/s/staging/queues")
            refused = await client.post(pause, data=form | {"_csrf_token": token}, headers=SAME)
            assert refused.status_code == 403
            entered = await client.post(
                "/s/staging/login", data={"name": "ada", "password": "p", "next": "/s/staging/queues"}, headers=SAME
            )
            assert entered.headers["Location"] == "/s/staging/queues"
            assert "Path=/;" in entered.headers["Set-Cookie"]
            assert (await client.post(pause, data=form, headers=SAME)).status_code == 403  # without the form's token
            token = await token_of(client, "/s/staging/queues")
            done = await client.post(pause, data=form | {"_csrf_token": token}, headers=SAME)
            assert done.status_code in (200, 303), done.text
            assert (await client.get("/s/staging/api/queues/mail")).json()["paused"]
            assert not (await client.get("/api/queues/mail")).json()["paused"]
            of_archive = await client.post(
                "/s/archive/do/resume-queue",
                data=form | {"_csrf_token": await token_of(client, "/s/archive/queues")},
                headers=SAME,
            )
            assert of_archive.status_code == 403  # read only, whoever asks
            trail = [each["action"] for each in (await client.get("/s/staging/api/audit")).json()["entries"]]
            assert "pause-queue" in trail
            assert "log-in" not in trail  # logins are noted where they are checked for all
            gone = await client.post("/s/staging/logout", headers=SAME)
            assert gone.headers["Location"] == "/login"
            assert (await client.get("/jobs", headers=PAGE)).status_code == 303


async def test_one_that_is_away_leaves_the_others_alone(open_dashboard: OpenDashboard) -> None:
    away = OtherServer(name="away", url="nats://127.0.0.1:1")
    async with open_dashboard(servers=(away,)) as client:
        assert (await client.get("/s/away/queues", headers=PAGE)).status_code == 503
        assert (await client.get("/queues", headers=PAGE)).status_code == 200


async def test_they_are_found_behind_a_path_and_in_a_plugin(
    open_dashboard: OpenDashboard, settings: Settings, servers: tuple[OtherServer, ...]
) -> None:
    async with open_dashboard(servers=servers, root_path="/naq") as client:
        for path in ("/naq/s/staging/queues", "/s/staging/queues"):  # the proxy may have cut its path off or not
            page = await client.get(path, headers=PAGE)
            assert switch(page)["staging"] == ("/naq/s/staging/queues", True)
            assert 'href="/naq/s/staging/static/app.css' in page.text
    plugin = NaqDashboardPlugin("/ops", settings, DashboardSettings(secret=SECRET, servers=servers))
    outer: Any = Litestar([], plugins=[plugin], openapi_config=None)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(outer), base_url="http://127.0.0.1") as client:
        page = await client.get("/ops/s/staging/queues", headers=PAGE)
        assert switch(page)["archive"] == ("/ops/s/archive/queues", False)
    await plugin.state.aclose()


class TestSetting:
    def test_it_is_read_from_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(
            "NAQ_DASHBOARD_SERVERS", "staging=?namespace=stage eu=tls://ada:p%3D@eu:4222?creds=/run/eu&read_only=1&namespace=shop"
        )
        first, second = DashboardSettings.load().servers
        assert first == OtherServer(name="staging", namespace="stage")
        assert (second.url, second.namespace, second.read_only) == ("tls://ada:p%3D@eu:4222", "shop", True)
        assert second.parameters == (("nats_creds", "/run/eu"),)

    @pytest.mark.parametrize(
        ("text", "told"),
        [
            ("nats://ada:secret@eu:4222", "takes name=address"),
            ("a/b=nats://eu:4222", "cannot be the name"),
            ("eu=nats://eu:4222?creed=x", "'creed' is not known"),
            ("eu=", "needs an address, a namespace"),
            ("eu=?namespace=a&creds=x", "has no address"),
            ("eu=?namespace=a eu=?namespace=b", "name 'eu' twice"),
        ],
    )
    def test_a_wrong_one_is_refused(self, text: str, told: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("NAQ_DASHBOARD_SERVERS", text)
        with pytest.raises(ConfigurationError, match=re.escape(told)) as caught:
            DashboardSettings.load()
        assert "secret" not in str(caught.value)

    def test_a_server_gets_no_credentials_of_another(self) -> None:
        own = Settings(nats_url="nats://a", nats_user="ada", nats_password="p", nats_creds="/run/a", namespace="shop")
        other = OtherServer(name="b", url="nats://b", parameters=(("nats_nkey", "/run/b"),)).settings(own)
        assert (other.nats_url, other.nats_user, other.nats_password, other.nats_creds) == ("nats://b", None, None, None)
        assert (other.nats_nkey, other.namespace) == ("/run/b", "shop")
        beside = OtherServer(name="c", namespace="stage").settings(own)
        assert (beside.nats_user, beside.nats_password, beside.namespace) == ("ada", "p", "stage")
