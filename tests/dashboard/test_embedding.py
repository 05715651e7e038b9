"""The dashboard inside other applications: every link and file is where the page says, and users are the outer one's."""

import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
from litestar import Litestar, asgi, get
from starlette.applications import Starlette
from starlette.routing import Mount

from naq_client import Queue
from naq_core.settings import Settings
from naq_dashboard import ADMIN, DashboardSettings, NaqDashboardPlugin, Viewer, dashboard_app
from tests.dashboard.conftest import SECRET
from tests.integration import work

LINK = re.compile(r'(?:href|src|action|hx-sse:connect)="(/[^"#]*)')
PAGES = ("/", "/queues", "/queues/default", "/jobs", "/errors", "/delayed", "/schedules", "/workflows", "/workers", "/events")


@get("/", sync_to_thread=False)
def home() -> str:
    return "the outer application"


def in_starlette(settings: Settings, own: DashboardSettings) -> tuple[Any, str, Callable[[], Any]]:
    app = dashboard_app(settings, own)
    return Starlette(routes=[Mount("/a/b", app=app)]), "/a/b", app.state.naq_dashboard.aclose  # type: ignore[arg-type]


def as_plugin(settings: Settings, own: DashboardSettings) -> tuple[Any, str, Callable[[], Any]]:
    plugin = NaqDashboardPlugin("/ops/naq", settings, own)
    return Litestar([home], plugins=[plugin], openapi_config=None), "/ops/naq", plugin.board.aclose


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


@pytest.mark.parametrize("embed", [in_starlette, as_plugin, mounted_in_litestar])
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
            if "/do/" in link or "/stream/" in link or link.endswith("/openapi.json"):
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


async def test_the_outer_application_says_who_asks(settings: Settings) -> None:
    async def identify(connection: Any) -> Viewer | None:
        name = connection.headers.get("X-Session")
        return Viewer(name, ADMIN, "host") if name else None

    app = dashboard_app(settings, DashboardSettings(secret=SECRET), identify=identify)
    async with client_of(app) as client:
        assert (await client.get("/api/queues")).status_code == 401
        assert (await client.get("/jobs", headers={"Accept": "text/html"}, follow_redirects=False)).status_code == 401
        assert (await client.get("/api/queues", headers={"X-Session": "alice"})).status_code == 200
    await app.state.naq_dashboard.aclose()


async def test_the_outer_pages_stay_what_they_are(settings: Settings) -> None:
    app, _, close = as_plugin(settings, DashboardSettings(secret=SECRET))
    async with client_of(app) as client:
        answer = await client.get("/")
        assert answer.text == "the outer application"
        assert "content-security-policy" not in answer.headers
    await close()
