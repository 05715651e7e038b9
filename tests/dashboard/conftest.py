"""The dashboard in this process, asked over ASGI."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeAlias

import httpx
import pytest
import pytest_asyncio
from litestar.datastructures import State

from naq_core.settings import Settings
from naq_dashboard import DashboardSettings, create_app, nats
from naq_dashboard.actions import audit
from naq_dashboard.app import Dashboard
from naq_dashboard.queries import search
from naq_dashboard.state import AppState
from tests.support.eventually import PATIENCE

Client: TypeAlias = httpx.AsyncClient
OpenDashboard: TypeAlias = Callable[..., AbstractAsyncContextManager[Client]]

LONG = 10.0
"""Seconds for a list or a count, which without other work take some milliseconds."""
SECRET = "a secret that is long enough"


@pytest.fixture(autouse=True)
def budget(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a dashboard wait longer for the server, and look longer for rows, than usual: other tests may keep both busy."""
    monkeypatch.setattr(nats, "BUDGET", PATIENCE * nats.BUDGET)
    monkeypatch.setattr(audit, "MOMENT", LONG)
    monkeypatch.setattr(search, "LIST_SECONDS", LONG)
    monkeypatch.setattr(search, "COUNT_SECONDS", LONG)


_idle: list[Dashboard] = []
"""Applications of tests that have ended. To make one takes longer than most tests, and its routes know nothing of settings."""


def _application(naq: Settings, own: DashboardSettings) -> Dashboard:
    if own.servers or not _idle:
        return create_app(naq, own)
    app = _idle.pop()
    app.state = State({"naq_dashboard": AppState(naq, own)})
    return app


@pytest.fixture
def open_dashboard(settings: Settings) -> OpenDashboard:
    """Give an async context manager that opens a client of a dashboard with the given settings of its own."""

    @asynccontextmanager
    async def opened(naq: Settings | None = None, **own: Any) -> AsyncIterator[Client]:
        app = _application(naq or settings, DashboardSettings(**{"secret": SECRET, **own}))
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", timeout=20) as client:
            yield client
        await app.state.naq_dashboard.aclose()
        if not app.others:
            _idle.append(app)

    return opened


@pytest_asyncio.fixture
async def dashboard(open_dashboard: OpenDashboard) -> AsyncIterator[Client]:
    """Open a client of a dashboard with the default settings."""
    async with open_dashboard() as client:
        yield client
