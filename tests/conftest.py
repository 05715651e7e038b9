"""Short names for the fixtures of `naq_core.testing`, which the tests of NAQ itself use like everybody's."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeAlias

import pytest

from naq_core.server import EmbeddedServer
from naq_core.settings import Settings
from naq_core.testing import WorkerRunner

pytest_plugins = ["pytester"]

RunWorker: TypeAlias = Callable[..., AbstractAsyncContextManager[Any]]


@pytest.fixture(scope="session")
def nats_server(naq_server: EmbeddedServer) -> EmbeddedServer:
    """Run one nats-server for the whole session."""
    return naq_server


@pytest.fixture
def namespace(naq_namespace: str) -> str:
    """Make up a namespace that no other test uses."""
    return naq_namespace


@pytest.fixture
def settings(naq_settings: Settings) -> Settings:
    """Give the test a namespace of its own on the session's server."""
    return naq_settings


@pytest.fixture
def queue(naq_queue: Any) -> Any:
    """Open the queue `default`."""
    return naq_queue


@pytest.fixture
def run_worker(naq_worker: WorkerRunner) -> RunWorker:
    """Give an async context manager that runs a worker in this process: `async with run_worker("a") as worker: ...`."""
    return naq_worker.running
