"""The pytest plugin: fixtures on a real server, with a namespace of its own for each test. Inert until one is asked for."""

import secrets
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from typing import Any, TypeVar

import pytest

from naq_core import after_enqueue
from naq_core._nats.topology import delete_namespace
from naq_core.connection import Connection
from naq_core.errors import ConfigurationError
from naq_core.job import Job
from naq_core.server import EmbeddedServer
from naq_core.settings import Settings
from naq_core.testing._jobs import assert_enqueued as assert_enqueued_in
from naq_core.testing._worker import WorkerRunner, sibling

try:
    import pytest_asyncio
except ImportError:  # a project without async tests
    pytest_asyncio = None  # type: ignore[assignment]  # asked for below

F = TypeVar("F", bound=Callable[..., Any])


def _async_fixture(function: F) -> F:
    wrap: Any = pytest.fixture if pytest_asyncio is None else pytest_asyncio.fixture
    wrapped: F = wrap(function)
    return wrapped


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line("markers", "naq(**settings): settings of the test's namespace, such as job_serializer='json'")


@pytest.fixture(scope="session")
def naq_server() -> Iterator[EmbeddedServer]:
    """Run one nats-server for the whole session, in a temporary folder."""
    with EmbeddedServer() as server:
        yield server


@pytest.fixture
def naq_namespace() -> str:
    """Make up a namespace that no other test uses."""
    return f"t{secrets.token_hex(5)}"


@pytest.fixture
def naq_settings(
    naq_server: EmbeddedServer, naq_namespace: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Settings:
    """Give the test a namespace of its own, in the environment too, so that tasks and child processes use it.

    `@pytest.mark.naq(concurrency=2)` changes settings.
    """
    changed: dict[str, Any] = {}
    for mark in reversed(list(request.node.iter_markers("naq"))):
        changed |= mark.kwargs
    settings = Settings.load(**{"nats_url": naq_server.url, "namespace": naq_namespace} | changed)
    for name, value in settings.as_environment().items():
        monkeypatch.setenv(name, value)
    return settings


@_async_fixture
async def naq_connection(naq_settings: Settings) -> AsyncIterator[Connection]:
    """Open a connection; at the end the test's streams are deleted, and connections that tasks have opened are closed."""
    if pytest_asyncio is None:
        raise ConfigurationError("naq_connection", 'needs pytest-asyncio: pip install "naq-core[testing]"')
    async with Connection(naq_settings, name="naq-test") as connection:
        yield connection
        if (client := sys.modules.get("naq_client")) is not None:
            await client.disconnect()
        await delete_namespace(connection)


@_async_fixture
async def naq_queue(naq_connection: Connection) -> AsyncIterator[Any]:
    """Open the queue that `default_queue` names."""
    async with sibling("naq_client", "naq-client", "naq_queue").Queue(settings=naq_connection.settings) as queue:
        yield queue


@pytest.fixture
def naq_worker(naq_connection: Connection) -> WorkerRunner:
    """Give the means to run workers: `await naq_worker.run_until_idle()`, `async with naq_worker.running("mail"):`."""
    return WorkerRunner(naq_connection.settings)


@pytest.fixture
def naq_inline(naq_worker: WorkerRunner) -> Iterator[None]:
    """Run every job at once: `enqueue` returns when the job has run, on a real worker, after a real trip through the server."""
    with after_enqueue.calling(naq_worker.run_inline):
        yield


@pytest.fixture
def assert_enqueued(naq_connection: Connection) -> Callable[..., Awaitable[list[Job[Any]]]]:
    """Give the means to look at what waits: `naq_core.testing.assert_enqueued`, bound to this test's connection."""
    return partial(assert_enqueued_in, naq_connection)
