"""The pytest plugin: fixtures on a real server, with a namespace of its own for each test. Inert until one is asked for.

Every pytest run of every project on a machine that has naq-core imports this module, so it imports NAQ only inside its
fixtures; and it is a module of its own, as importing a part of `naq_core` imports all of it.
"""

from __future__ import annotations

import secrets
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

try:
    import pytest_asyncio
except ImportError:  # a project without async tests
    pytest_asyncio = None  # type: ignore[assignment]  # asked for below

if TYPE_CHECKING:
    from naq_core import Connection, Job, Settings
    from naq_core.server import EmbeddedServer
    from naq_core.testing import WorkerRunner

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
    from naq_core.server import EmbeddedServer

    with EmbeddedServer() as server:
        yield server


@pytest.fixture
def naq_namespace() -> str:
    """Make up a namespace that no other test uses."""
    return f"t{secrets.token_hex(5)}"


@pytest.fixture
def naq_settings(
    naq_server: EmbeddedServer, naq_namespace: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Settings]:
    """Give the test a namespace of its own, in the environment too, so that tasks and child processes use it.

    The connections that tasks and `enqueue_sync` have opened before are closed, those of the test at its end, whatever event
    loops they belong to. `@pytest.mark.naq(concurrency=2)` changes settings.
    """
    from naq_core import Settings

    changed: dict[str, Any] = {}
    for mark in reversed(list(request.node.iter_markers("naq"))):
        changed |= mark.kwargs
    settings = Settings.load(**{"nats_url": naq_server.url, "namespace": naq_namespace} | changed)
    for name, value in settings.as_environment().items():
        monkeypatch.setenv(name, value)
    _forget_settings()
    yield settings
    _forget_settings()


def _forget_settings() -> None:
    if (client := sys.modules.get("naq_client")) is not None:
        client.forget_settings()


@_async_fixture
async def naq_connection(naq_settings: Settings) -> AsyncIterator[Connection]:
    """Open a connection; at the end the test's streams are deleted, and connections that tasks have opened are closed."""
    from naq_core import ConfigurationError, Connection
    from naq_core.storage.topology import delete_namespace

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
    from naq_core.testing._worker import sibling

    async with sibling("naq_client", "naq-client", "naq_queue").Queue(settings=naq_connection.settings) as queue:
        yield queue


@pytest.fixture
def naq_worker(naq_connection: Connection) -> WorkerRunner:
    """Give the means to run workers: `await naq_worker.run_until_idle()`, `async with naq_worker.running("mail"):`."""
    from naq_core.testing import WorkerRunner

    return WorkerRunner(naq_connection.settings)


@pytest.fixture
def naq_inline(naq_worker: WorkerRunner) -> Iterator[None]:
    """Run every job at once: `enqueue` returns when the job has run, on a real worker, after a real trip through the server."""
    from naq_core.enqueue import hooks

    with hooks.calling(naq_worker.run_inline):
        yield


@pytest.fixture
def assert_enqueued(naq_connection: Connection) -> Callable[..., Awaitable[list[Job[Any]]]]:
    """Give the means to look at what waits: `naq_core.testing.assert_enqueued`, bound to this test's connection."""
    from naq_core.testing import assert_enqueued as assert_enqueued_in

    return partial(assert_enqueued_in, naq_connection)
