"""Short names for the fixtures of `naq_core.testing`, which the tests of NAQ itself use like everybody's."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeAlias

import hypothesis
import pytest

from naq_core.server import EmbeddedServer
from naq_core.settings import Settings
from naq_core.testing import WorkerRunner

pytest_plugins = ["pytester", "tests.support.chromium"]

# A busy machine takes any time for an example.
hypothesis.settings.register_profile("naq", deadline=None)
hypothesis.settings.load_profile("naq")

PER_CPU = 2
"""Test processes per CPU: most tests wait for a server, a process or a due time."""

RunWorker: TypeAlias = Callable[..., AbstractAsyncContextManager[Any]]


def pytest_configure() -> None:
    """Let programs under test inherit signals as from a terminal: `nohup`, and `&` in a script, ignore some."""
    if sys.platform != "win32":
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int | None:
    """Run a single file in this process, where a debugger and `-s` work; run more in several processes at once."""
    named = [argument.split("::")[0] for argument in config.args]
    if len(set(named)) == 1 and named[0].endswith(".py"):
        return 0
    return None if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ else PER_CPU * (os.cpu_count() or 1)


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
