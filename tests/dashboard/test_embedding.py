"""The dashboard inside other applications: every link and file is where the page says, and users are the outer one's."""

import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from ipaddress import ip_network
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from litestar import Litestar, asgi, get
from starlette.applications import Starlette
from starlette.routing import Mount

from naq_client import Queue
from naq_core.settings import Settings
from naq_dashboard import ADMIN, DashboardSettings, NaqDashboardPlugin, Viewer, dashboard_app
from tests.dashboard.conftest import SECRET
from tests.integration import work

FORWARDED = {"X-Forwarded-Prefix": "/shown/at"}
LINK = re.compile(r'(?:href|src|action|data-stream)="(/[^"#]*)')
PAGES = (
    "/",
    "/queues",
    "/queues/default",
    "/jobs",
    "/errors",
    "/delayed",
    "/signals",
    "/schedules",
    "/workflows",
    "/workers",
    "/events",
    "/new-job",
    "/new-schedule",
    "/api",
)


@get("/", sync_to_thread=False)
def home() -> str:
    return "the outer application"


def in_starlette(settings: Settings, own: DashboardSettings) -> tuple[Any, str, Callable[[], Any]]:
    app = dashboard_app(settings, own)
    return Starlette(routes=[Mount("/a/b", app=app)]), "/a/b", app.state.naq_dashboard.aclose


def in_fastapi(settings: Settings, own: DashboardSettings) -> tuple[Any, str, Callable[[], Any]]:
    app, outer = dashboard_app(settings, own), FastAPI()
    outer.mount("/naq", app)
    return outer, "/naq", app.state.naq_dashboard.aclose


def as_plugin(settings: Settings, own: DashboardSettings) -> tuple[Any, str, Callable[[], Any]]:
    plugin = NaqDashboardPlugin("/ops/naq", settings, own)
    return Litestar([home], plugins=[plugin], openapi_config=None), "/ops/naq", plugin.state.aclose


def mounted_in_litestar(settings: Settings, own: DashboardSettings) -> tuple[Any, str, Callable[[], Any]]:
    inner = dashboard_app(settings, DashboardSettings(secret=SECRET, root_path="/naq"))

    @asgi("/naq", is_mount=True, copy_scope=True)
    async def mount(scope: Any, receive: Any, send: Any) -> None:
        await inner(scope, receive, send)

    return Litestar([home, mount], openapi_config=None), "/naq", inner.state.naq_dashboard.aclose


@asynccontextmanager
async def client_of(app: Any) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1", timeout=20) as client:
        yield client


@pytest.mark.parametrize("embed", [in_starlette, in_fastapi, as_plugin, mounted_in_litestar])
async def test_every_link_leads_into_the_dashboard(settings: Settings, queue: Queue, embed: Callable[..., Any]) -> None:
    job = await queue.enqueue(work.add, 1, 1)
    app, prefix, close = embed(settings, DashboardSettings(secret=SECRET))
    async with client_of(app) as client:
        links: set[str] = set()
        for path in (*PAGES, f"/jobs/{job.job_id}"):
            page = await client.get(prefix + path, headers={"Accept": "text/html"})
            assert page.status_code == 200, (path, page.text[:300])
            links.update(LINK.findall(page.text))
        assert len(links) > 20
        assert [link for link in links if not link.startswith(f"{prefix}/")] == []
        for link in sorted(links):
            if "/do/" in link or link.endswith(("/stream", "/zone", "/api/try")):
                continue
            answer = await client.get(link.replace("&amp;", "&"), headers={"Accept": "text/html"})
            assert answer.status_code == 200, link
        token = re.search(r'name="_csrf_token" value="([^"]+)"', (await client.get(f"{prefix}/jobs/{job.job_id}")).text)
        assert token is not None
        done = await client.post(
            f"{prefix}/do/cancel-job",
            data={"job_id": job.job_id, "_csrf_token": token[1]},
            headers={"Sec-Fetch-Site": "same-origin", "Referer": f"http://127.0.0.1{prefix}/jobs"},
            follow_redirects=False,
        )
        assert (done.status_code, done.headers["location"]) == (303, f"{prefix}/jobs")
    await close()


@pytest.mark.parametrize("embed", [in_starlette, in_fastapi, as_plugin, mounted_in_litestar])
async def test_the_api_is_described_where_it_is(settings: Settings, embed: Callable[..., Any]) -> None:
    app, prefix, close = embed(settings, DashboardSettings(secret=SECRET))
    async with client_of(app) as client:
        document = (await client.get(f"{prefix}/api/openapi.json")).json()
        assert document["servers"] == [{"url": prefix}]
        assert "/api/jobs/{job_id}" in document["paths"]
        assert not [path for path in document["paths"] if not path.startswith("/api/")]
        for path in ("/api/nosuch", "/api/jobs/a/b/c"):
            missing = await client.get(f"{prefix}{path}", headers={"Accept": "text/html"})
            assert (missing.status_code, missing.headers["content-type"]) == (404, "application/problem+json"), path
            assert path in missing.json()["detail"]
    await close()


async def test_the_document_of_the_outer_application_is_its_own(settings: Settings) -> None:
    plugin = NaqDashboardPlugin("/naq", settings, DashboardSettings(secret=SECRET))
    app = Litestar([home], plugins=[plugin])
    assert list(app.openapi_schema.to_schema()["paths"]) == ["/"]
    with pytest.warns(DeprecationWarning, match=r"NaqDashboardPlugin\.state"):
        assert plugin.board is plugin.state
    await plugin.state.aclose()


@pytest.mark.parametrize("path", ["/naq/queues", "/queues"])
async def test_a_proxy_may_cut_the_prefix_off_or_leave_it(settings: Settings, path: str) -> None:
    app = dashboard_app(settings, DashboardSettings(secret=SECRET, root_path="/naq"))
    async with client_of(app) as client:
        page = await client.get(path, headers={"Accept": "text/html"})
        assert page.status_code == 200
        assert 'href="/naq/jobs"' in page.text
    await app.state.naq_dashboard.aclose()


async def test_a_prefix_may_be_named_like_a_page(settings: Settings) -> None:
    app = dashboard_app(settings, DashboardSettings(secret=SECRET, root_path="/jobs"))
    async with client_of(app) as client:
        assert "<h1>Jobs</h1>" in (await client.get("/jobs", headers={"Accept": "text/html"})).text
    await app.state.naq_dashboard.aclose()


@pytest.mark.parametrize(
    ("networks", "headers", "base"),
    [
        (("127.0.0.0/8",), FORWARDED, "/shown/at"),
        (("10.0.0.0/8",), FORWARDED, ""),
        ((), FORWARDED, ""),
        (("127.0.0.0/8",), {"X-Forwarded-Prefix": "//evil.example"}, ""),
        (("127.0.0.0/8",), {"X-Forwarded-Prefix": '/"><script>'}, ""),
    ],
)
async def test_a_trusted_proxy_may_say_the_prefix(
    settings: Settings, networks: tuple[str, ...], headers: dict[str, str], base: str
) -> None:
    own = DashboardSettings(secret=SECRET, trusted_proxies=tuple(ip_network(each) for each in networks))
    app = dashboard_app(settings, own)
    async with client_of(app) as client:
        page = await client.get("/queues", headers=headers | {"Accept": "text/html"})
        assert {link for link in LINK.findall(page.text) if not link.startswith(f"{base}/")} == set()
        assert f'href="{base}/jobs"' in page.text
    await app.state.naq_dashboard.aclose()


@pytest.mark.parametrize(("client", "is_secure"), [("127.0.0.1", True), ("10.1.2.3", True), ("192.0.2.1", False)])
async def test_a_proxy_here_or_a_trusted_one_may_say_that_it_speaks_https(
    settings: Settings, client: str, is_secure: bool
) -> None:
    app = dashboard_app(settings, DashboardSettings(secret=SECRET, password="pw", trusted_proxies=(ip_network("10.0.0.0/8"),)))
    transport = httpx.ASGITransport(app, client=(client, 4711))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as browser:
        answer = await browser.post("/login", data={"name": "admin", "password": "pw"}, headers={"X-Forwarded-Proto": "https"})
        assert ("secure" in answer.headers["set-cookie"].lower()) is is_secure
    await app.state.naq_dashboard.aclose()


async def test_the_outer_application_says_who_asks(settings: Settings) -> None:
    async def identify(connection: Any) -> Viewer | None:
        name = connection.headers.get("X-Session")
        return Viewer(name, ADMIN, "host") if name else None

    app = dashboard_app(settings, DashboardSettings(secret=SECRET), identify=identify)
    async with client_of(app) as client:
        assert (await client.get("/api/queues")).status_code == 401
        assert (await client.get("/jobs", headers={"Accept": "text/html"}, follow_redirects=False)).status_code == 401
        assert (await client.get("/api/queues", headers={"X-Session": "alice"})).status_code == 200
        elsewhere = {"X-Session": "alice", "Host": "shop.example.org"}
        assert (await client.get("/api/queues", headers=elsewhere)).status_code == 200
    await app.state.naq_dashboard.aclose()


async def test_the_outer_pages_stay_what_they_are(settings: Settings) -> None:
    app, _, close = as_plugin(settings, DashboardSettings(secret=SECRET))
    async with client_of(app) as client:
        answer = await client.get("/")
        assert answer.text == "the outer application"
        assert "content-security-policy" not in answer.headers
    await close()
