"""Fixtures shared by all tests: one real nats-server, and a namespace of its own for each test."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeAlias

import pytest
import pytest_asyncio

from naq_core.server import EmbeddedServer
from naq_core.settings import Settings

RunWorker: TypeAlias = Callable[..., AbstractAsyncContextManager[Any]]


@pytest.fixture(scope="session")
def nats_server() -> Iterator[EmbeddedServer]:
    """Run one nats-server for the whole session."""
    with EmbeddedServer() as server:
        yield server


@pytest.fixture
def namespace() -> str:
    """Make up a namespace that no other test uses."""
    return f"t{secrets.token_hex(5)}"


@pytest.fixture
def settings(nats_server: EmbeddedServer, namespace: str) -> Settings:
    """Give the test a namespace of its own on the session's server."""
    return Settings.load(nats_url=nats_server.url, namespace=namespace)


@pytest_asyncio.fixture
async def queue(settings: Settings) -> AsyncIterator[Any]:
    """Open the queue `default`."""
    from naq_client import Queue  # noqa: PLC0415 - tests of naq_core alone need no client

    async with Queue("default", settings=settings) as opened:
        yield opened


@pytest.fixture
def run_worker(settings: Settings) -> RunWorker:
    """Give an async context manager that runs a worker in this process.

    `async with run_worker("a", "b", concurrency=2) as worker: ...` stops the worker at the end;
    when the worker fails, the body is cancelled and the test fails with the worker's error.
    """
    from naq_worker import Worker  # noqa: PLC0415 - tests of naq_core alone need no worker

    @asynccontextmanager
    async def running(*queues: str, **options: Any) -> AsyncIterator[Worker]:
        options.setdefault("settings", settings)
        worker = Worker(list(queues) or ["default"], **options)
        async with asyncio.TaskGroup() as group:
            group.create_task(worker.run(), name="worker under test")
            try:
                yield worker
            finally:
                worker.stop()

    return running
