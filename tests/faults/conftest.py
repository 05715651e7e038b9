"""Fixtures of the fault tests: short leases, a history, a fleet of worker processes."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from naq_client import Queue
from naq_core import Settings
from naq_core.server import EmbeddedServer
from tests.support.history import HISTORY_VARIABLE, History
from tests.support.load import Load
from tests.support.observer import Observer
from tests.support.processes import Fleet

SHORT_LEASES: dict[str, Any] = {
    "ack_wait": timedelta(seconds=2),
    "heartbeat_interval": timedelta(seconds=0.5),
    "worker_ttl": timedelta(seconds=2),
    "shutdown_grace": timedelta(seconds=5),
    "concurrency": 8,
}


@pytest.fixture
def naq_settings(nats_server: EmbeddedServer, namespace: str) -> Settings:
    """Give the test short leases and a namespace of its own on the session's server."""
    return Settings.load(nats_url=nats_server.url, namespace=namespace, **SHORT_LEASES)


@pytest.fixture
def own_server() -> Iterator[EmbeddedServer]:
    """Run a server that the test may kill."""
    with EmbeddedServer() as server:
        yield server


@pytest.fixture
def own_settings(own_server: EmbeddedServer, namespace: str) -> Settings:
    """Give short leases on that server."""
    return Settings.load(nats_url=own_server.url, namespace=namespace, **SHORT_LEASES)


@pytest.fixture
def history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[History]:
    """Open the history of this test, for this process's jobs as well."""
    opened = History(tmp_path / "history.jsonl")
    monkeypatch.setenv(HISTORY_VARIABLE, os.fspath(opened.path))
    yield opened
    opened.close()


@pytest.fixture
def fleet(settings: Settings, history: History, tmp_path: Path) -> Iterator[Fleet]:
    """Start worker processes on the session's server."""
    with Fleet(settings, history, tmp_path) as started:
        yield started


@pytest.fixture
def own_fleet(own_settings: Settings, history: History, tmp_path: Path) -> Iterator[Fleet]:
    """Start worker processes on the test's own server."""
    with Fleet(own_settings, history, tmp_path) as started:
        yield started


@pytest_asyncio.fixture
async def observer(settings: Settings) -> AsyncIterator[Observer]:
    """Look at the session's server past NAQ."""
    async with Observer(settings) as opened:
        yield opened


@pytest_asyncio.fixture
async def load(settings: Settings, history: History, observer: Observer) -> AsyncIterator[Load]:
    """Enqueue to `default` on the session's server."""
    async with Queue("default", settings=settings) as queue:
        yield Load(queue, history, observer)


@pytest_asyncio.fixture
async def own_load(own_settings: Settings, history: History) -> AsyncIterator[Load]:
    """Enqueue to `default` on the test's own server."""
    async with AsyncExitStack() as stack:
        observer = await stack.enter_async_context(Observer(own_settings))
        queue = await stack.enter_async_context(Queue("default", settings=own_settings))
        yield Load(queue, history, observer)
