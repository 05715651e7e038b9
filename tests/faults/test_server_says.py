"""What a server says with `-ERR` closed the connection, and never the client, worker or scheduler that has it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from naq_client import Queue
from naq_core import (
    BrokerError,
    BrokerUnavailableError,
    ConfigurationError,
    JobFailedError,
    PayloadTooLargeError,
    Settings,
)
from naq_core.connection import Connection
from naq_core.server import EmbeddedServer
from naq_scheduler import Scheduler
from naq_worker import Worker
from tests.support import jobs
from tests.support.eventually import PATIENCE, eventually

LOG = "naq_core.connection"


def user(password: str) -> str:
    return f'authorization {{ user: ada, password: "{password}" }}'


@pytest.fixture
def own_server() -> Iterator[EmbeddedServer]:
    with EmbeddedServer(config=user("old")) as server:
        yield server


@pytest.fixture
def open_server() -> Iterator[EmbeddedServer]:
    """Run a server without users: one with them ends all connections at a reload, so that they know a new limit."""
    with EmbeddedServer() as server:
        yield server


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text("old\n")
    return path


@pytest.fixture
def own_settings(own_server: EmbeddedServer, namespace: str, secret: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Give credentials whose password is in a file, and little patience."""
    monkeypatch.setenv("NAQ_NATS_PASSWORD_FILE", str(secret))
    return Settings.load(
        nats_url=own_server.url, namespace=namespace, nats_user="ada", publish_budget="1s", job_serializer="pickle"
    )


@contextlib.asynccontextmanager
async def running(service: Any) -> AsyncIterator[asyncio.Task[None]]:
    """Run a worker or scheduler beside the body; it must outlive it."""
    task = asyncio.ensure_future(service.run())
    try:
        yield task
        assert not task.done(), task
    finally:
        service.stop()
        await asyncio.wait([task], timeout=PATIENCE)
    await task


async def works(queue: Queue) -> None:
    """Assert that a job runs now."""
    job = await queue.enqueue(jobs.measure, b"x" * 7)
    assert await job.result(timeout=PATIENCE) == 7


async def works_again(queue: Queue) -> None:
    """Assert that a job runs now, or is not accepted for lack of a connection."""
    try:
        await works(queue)
    except BrokerError as error:
        raise AssertionError(str(error)) from error


async def is_told(queue: Queue, why: str) -> None:
    """Assert that an enqueue fails, and says why."""
    said = "it was stored"
    try:
        await queue.enqueue(jobs.measure, b"x")
    except BrokerError as error:
        said = str(error)
    assert why in said


async def test_a_rotated_password_is_read_again(
    own_server: EmbeddedServer, own_settings: Settings, secret: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, LOG)
    worker, scheduler = Worker("default", settings=own_settings), Scheduler(settings=own_settings)
    async with Queue("default", settings=own_settings) as queue, running(worker), running(scheduler):
        await works(queue)
        await asyncio.to_thread(own_server.reload, user("new"))

        await eventually(lambda: is_told(queue, "nats_password from NAQ_NATS_PASSWORD_FILE"))
        await asyncio.to_thread(secret.write_text, "")  # half of an update
        await eventually(lambda: is_told(queue, "is empty; unset NAQ_NATS_PASSWORD_FILE"))
        await asyncio.to_thread(secret.write_text, "new\n")
        await eventually(lambda: works_again(queue), PATIENCE)
        async with Queue("default", settings=own_settings) as another:  # with settings from before
            await works(another)
    said = [record for record in caplog.records if "closed the connection" in record.message]
    assert all("authorization violation" in record.message for record in said)
    assert 1 <= len(said) <= 8, "each connection says it once"


async def is_full(settings: Settings) -> None:
    """Assert that the server says why it refuses a connection; a reset may overtake its words, so not each time."""
    said = ""
    try:
        async with Connection(settings), Connection(settings, patient=False):
            pass
    except BrokerUnavailableError as error:
        said = str(error)
    assert "maximum connections exceeded" in said


async def test_too_many_connections_for_a_moment(own_server: EmbeddedServer, own_settings: Settings) -> None:
    async with Queue("default", settings=own_settings) as queue, running(Worker("default", settings=own_settings)):
        await works(queue)
        await asyncio.to_thread(own_server.reload, f"{user('old')}\nmax_connections: 1")
        await eventually(lambda: is_full(own_settings), PATIENCE)
        await asyncio.to_thread(own_server.reload, user("old"))
        await eventually(lambda: works_again(queue), PATIENCE)


async def test_a_lowered_limit_of_messages_ends_one_call_and_one_job(open_server: EmbeddedServer, namespace: str) -> None:
    settings = Settings(nats_url=open_server.url, namespace=namespace, large_threshold=0)
    async with Queue("default", settings=settings) as queue, running(Worker("default", settings=settings)):
        await works(queue)
        await asyncio.to_thread(open_server.reload, "max_payload: 65536")
        too_large = await queue.enqueue(jobs.return_bytes, 100_000)
        with pytest.raises(PayloadTooLargeError, match=r"the server accepts 6[45],\d{3}"):
            await queue.enqueue(jobs.measure, b"x" * 100_000)
        await works(queue)
        with pytest.raises(JobFailedError, match=r"PayloadTooLargeError.*max_payload"):
            await too_large.result(timeout=PATIENCE)
        await works(queue)


async def test_a_result_above_a_lowered_limit_goes_to_the_object_store(open_server: EmbeddedServer, namespace: str) -> None:
    settings = Settings(nats_url=open_server.url, namespace=namespace)
    async with Queue("default", settings=settings) as queue, running(Worker("default", settings=settings)):
        await works(queue)
        await asyncio.to_thread(open_server.reload, "max_payload: 65536")
        job = await queue.enqueue(jobs.return_bytes, 100_000)
        assert len(await job.result(timeout=PATIENCE)) == 100_000


@pytest.mark.parametrize("kind", ["naq.toml", "context"])
def test_credentials_are_read_again_from_any_file(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "nats" / "context").mkdir(parents=True)
    path, text = {
        "naq.toml": (tmp_path / "naq.toml", 'nats_password = "{}"'),
        "context": (tmp_path / "nats" / "context" / "shop.json", '{{"password": "{}"}}'),
    }[kind]
    path.write_text(text.format("old"))
    settings = Settings.load(nats_context="shop" if kind == "context" else None)
    assert settings.renewed() is settings
    path.write_text(text.format("new"))
    assert (settings.nats_password, settings.renewed().nats_password) == ("old", "new")
    path.unlink()
    with pytest.raises(ConfigurationError, match=path.name):
        settings.renewed()
