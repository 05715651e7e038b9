"""The tools of the fault tests do what they say: polling, the history file, the proxy, the sink."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.support.eventually import eventually
from tests.support.history import History
from tests.support.proxy import Proxy
from tests.support.sink import apply_once

QUIET = 0.1


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send everything back."""
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


@pytest_asyncio.fixture
async def proxy() -> AsyncIterator[Proxy]:
    """Put a proxy in front of an echo server."""
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with Proxy(port) as opened:
        yield opened
    server.close()


async def dial(proxy: Proxy) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect and prove that bytes come back."""
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(b"hello")
    assert await reader.readexactly(5) == b"hello"
    return reader, writer


async def test_eventually_returns_what_the_check_returned() -> None:
    tries: list[int] = []

    def check() -> str:
        tries.append(1)
        assert len(tries) == 3, "not yet"
        return "done"

    assert await eventually(check, 2, interval=0) == "done"


async def test_eventually_raises_the_last_failure() -> None:
    async def check() -> None:
        raise AssertionError("still wrong")

    with pytest.raises(AssertionError, match="still wrong"):
        await eventually(check, 0.05)


async def test_a_passing_proxy_is_transparent(proxy: Proxy) -> None:
    reader, writer = await dial(proxy)
    writer.write(b"x" * 1_000_000)
    assert await reader.readexactly(1_000_000) == b"x" * 1_000_000
    writer.close()


async def test_a_blackhole_keeps_the_socket_and_forwards_nothing(proxy: Proxy) -> None:
    reader, writer = await dial(proxy)
    proxy.blackhole()
    writer.write(b"lost?")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.read(5), QUIET)
    proxy.heal()
    assert await reader.readexactly(5) == b"lost?"
    writer.close()


async def test_a_healed_half_open_connection_stays_dead_and_new_ones_work(proxy: Proxy) -> None:
    reader, writer = await dial(proxy)
    proxy.blackhole()
    proxy.heal(revive=False)
    writer.write(b"lost")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(reader.read(4), QUIET)
    (_, fresh) = await dial(proxy)
    writer.close()
    fresh.close()


async def test_a_reset_reaches_the_client_as_a_reset(proxy: Proxy) -> None:
    reader, writer = await dial(proxy)
    proxy.reset()
    with pytest.raises(ConnectionResetError):
        await reader.read(1)
    writer.close()
    (_, fresh) = await dial(proxy)
    fresh.close()


async def test_a_cut_ends_the_connection_in_the_middle_of_a_message(proxy: Proxy) -> None:
    reader, writer = await dial(proxy)
    proxy.cut_after(4)
    writer.write(b"123456")
    received = bytearray()

    async def read_on() -> None:
        while chunk := await reader.read(100):
            received.extend(chunk)

    with pytest.raises(ConnectionResetError):
        await read_on()
    assert len(received) <= 4
    (_, fresh) = await dial(proxy)
    fresh.close()


def test_a_history_is_shared_between_processes(tmp_path: Path) -> None:
    history = History(tmp_path / "history.jsonl")
    code = "import sys; from tests.support.history import History as H\nh = H(sys.argv[1])\n"
    code += "[h.record('start', job=sys.argv[2]) for _ in range(500)]"
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(history.path), name],
            cwd=Path(__file__).resolve().parents[2],
        )
        for name in ("a", "b")
    ]
    for writer in writers:
        assert writer.wait(20) == 0
    assert len(history.events("start")) == 1000
    assert len(history.events("start", "a")) == 500
    history.close()


def test_a_history_notes_fault_windows(tmp_path: Path) -> None:
    history = History(tmp_path / "history.jsonl")
    with history.fault("freeze", worker=7):
        history.record("drained")
    (window,) = history.events("fault")
    (inside,) = history.events("drained")
    assert window.fields["t0"] <= inside.at <= window.fields["t1"]
    assert (window.fields["name"], window.fields["worker"]) == ("freeze", 7)
    history.close()


def test_the_sink_applies_an_effect_once_and_refuses_an_old_fence(tmp_path: Path) -> None:
    sink = tmp_path / "sink.db"
    assert apply_once(sink, "a", 5)
    assert not apply_once(sink, "a", 4)
    assert not apply_once(sink, "a", 6)
    assert apply_once(sink, "b", 1)
