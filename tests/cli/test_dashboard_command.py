"""The dashboard's command: where it listens, what it refuses, and that it stops at once."""

import re
import signal
import socket
import time

import pytest

from naq_core.settings import Settings
from tests.cli.commands import run, started, wait_for_line

START = [("naq_cli", "dashboard"), ("naq_dashboard",)]


@pytest.mark.parametrize("start", START, ids=["naq dashboard", "python -m naq_dashboard"])
def test_it_stops_at_once_with_fifty_pages_open(start: tuple[str, ...], settings: Settings) -> None:
    variables = {"NAQ_NATS_URL": settings.nats_url, "NAQ_NAMESPACE": settings.namespace}
    with started(*start, "--port", "0", **variables) as process:
        said = wait_for_line(process.stderr, "naq dashboard: http")
        found = re.search(r"http://([\d.]+):(\d+)", said)
        assert found is not None
        streams = []
        for _ in range(50):
            stream = socket.create_connection((found[1], int(found[2])), timeout=20)
            stream.sendall(b"GET /stream?page=overview HTTP/1.1\r\nHost: localhost\r\n\r\n")
            streams.append(stream)
        for stream in streams:
            data = b""
            while b"live-tiles" not in data:
                data += stream.recv(65536)
        begun = time.monotonic()
        process.send_signal(signal.SIGTERM)
        said += process.communicate(timeout=20)[1]
        took = time.monotonic() - begun
        for stream in streams:
            stream.close()
    assert process.returncode == 0, said
    assert "Traceback" not in said
    assert took < 5, f"{took:.2f} s; on a quiet machine it is under 1 s"


def test_it_refuses_other_addresses_without_a_login() -> None:
    done = run("naq_dashboard", "--host", "0.0.0.0", "--port", "0")
    assert done.returncode == 2
    assert "NAQ_DASHBOARD_PASSWORD" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_taken_port_is_told(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = run("naq_dashboard", "--port", str(taken.getsockname()[1]), NAQ_NATS_URL=settings.nats_url)
    assert done.returncode == 1
    assert "cannot listen" in done.stderr


def test_a_wrong_setting_is_a_usage_error() -> None:
    done = run("naq_dashboard", NAQ_DASHBOARD_PORT="http")
    assert done.returncode == 2
    assert "NAQ_DASHBOARD_PORT" in done.stderr
