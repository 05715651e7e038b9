"""What load balancers are told: honest within two seconds, whatever has become of NATS."""

import asyncio
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from naq_core.server import EmbeddedServer, find_server_binary
from naq_core.settings import Settings
from naq_dashboard.state import READY
from tests.dashboard.conftest import Client, OpenDashboard
from tests.support.eventually import PATIENCE, eventually

SLOW = 1.8
"""Seconds until a slow server answers."""
HONEST = PATIENCE * READY
"""Seconds in which an answer is there on a busy machine too; without its own limit it would take twice as long."""


@pytest.fixture
def server() -> Iterator[EmbeddedServer]:
    with EmbeddedServer() as running:
        yield running


async def ready(client: Client) -> int:
    """Ask with GET and HEAD at once; the answers are the same, and there in time."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    answers = await asyncio.gather(client.get("/api/health/ready"), client.head("/api/health/ready"))
    assert loop.time() - begun < HONEST
    assert len({each.status_code for each in answers}) == 1, answers
    assert answers[1].content == b""
    return answers[0].status_code


@contextmanager
def without_jetstream(server: EmbeddedServer, folder: Path) -> Iterator[None]:
    """Run a plain server in the place of one that has been killed."""
    port = server.url.rpartition(":")[2]
    command = [str(find_server_binary()), "-a", "127.0.0.1", "-p", port, "-l", str(folder / "log")]
    with subprocess.Popen(command) as plain:
        try:
            yield
        finally:
            plain.terminate()


async def is_ready(client: Client) -> None:
    assert await ready(client) == 200


async def is_alive(client: Client) -> None:
    """The process lives: restarting it would not help."""
    for answer in (await client.get("/api/health/live"), await client.head("/api/health/live"), await client.head("/")):
        assert answer.status_code == 200


def test_a_probe_that_waits_for_two_seconds_gets_an_answer() -> None:
    assert READY < 2


async def test_nats_goes_away_and_comes_back(server: EmbeddedServer, open_dashboard: OpenDashboard) -> None:
    async with open_dashboard(Settings(nats_url=server.url)) as client:
        await eventually(lambda: is_ready(client))
        server.kill()

        async def is_away() -> None:
            assert await ready(client) == 503

        await eventually(is_away)
        await is_alive(client)
        server.restart()
        await eventually(lambda: is_ready(client), 15)


async def test_a_frozen_server_is_away_although_its_connections_are_open(
    server: EmbeddedServer, open_dashboard: OpenDashboard
) -> None:
    async with open_dashboard(Settings(nats_url=server.url)) as client:
        await eventually(lambda: is_ready(client))
        assert server.pid is not None
        os.kill(server.pid, signal.SIGSTOP)
        try:
            assert await ready(client) == 503
            await is_alive(client)
        finally:
            os.kill(server.pid, signal.SIGCONT)
        await eventually(lambda: is_ready(client), 15)


async def test_the_first_page_waits_for_a_server_that_is_slow(server: EmbeddedServer, open_dashboard: OpenDashboard) -> None:
    async with open_dashboard(Settings(nats_url=server.url)) as client:
        assert server.pid is not None
        os.kill(server.pid, signal.SIGSTOP)
        asyncio.get_running_loop().call_later(SLOW, os.kill, server.pid, signal.SIGCONT)
        assert (await client.get("/queues")).status_code == 200


async def test_it_starts_while_nobody_is_there(server: EmbeddedServer, open_dashboard: OpenDashboard) -> None:
    server.kill()
    async with open_dashboard(Settings(nats_url=server.url)) as client:
        assert await ready(client) == 503
        await is_alive(client)
        server.restart()
        await eventually(lambda: is_ready(client), 15)


async def test_a_server_without_jetstream_is_of_no_use(
    server: EmbeddedServer, open_dashboard: OpenDashboard, tmp_path: Path
) -> None:
    async with open_dashboard(Settings(nats_url=server.url)) as client:
        await eventually(lambda: is_ready(client))
        server.kill()
        with without_jetstream(server, tmp_path):

            async def is_away() -> None:
                assert await ready(client) == 503

            await eventually(is_away, 15)
            await is_alive(client)
            async with open_dashboard(Settings(nats_url=server.url)) as another:

                async def says_why() -> None:
                    assert await ready(another) == 503
                    assert "JetStream is not enabled" in (await another.get("/", headers={"Accept": "text/html"})).text

                await eventually(says_why, 15)
    server.restart()
