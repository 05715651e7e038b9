"""Programs of web frameworks in real servers, beside real workers."""

from __future__ import annotations

import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

ROOT = Path(__file__).parents[2]
EMBEDDING = ROOT / "examples" / "embedding"
ADDRESS = re.compile(r"(?:unning on|istening at:) (http://127\.0\.0\.1:\d+)")
TAKES_JOBS = re.compile(r"takes jobs from")
"""What a worker logs once it is ready."""
PATIENCE = 120.0
"""Seconds that a start or an end may take on a busy machine."""


def environment(url: str, **more: str) -> dict[str, str]:
    """Return the environment of a program that uses this NATS server."""
    mine = {key: value for key, value in os.environ.items() if not key.startswith(("NAQ_", "NATS_"))}
    return mine | {"NAQ_NATS_URL": url, "PYTHONUNBUFFERED": "1"} | more


class Program:
    """A running module; its output is in a file."""

    def __init__(self, command: Sequence[str], environment: dict[str, str], folder: Path, log: Path) -> None:
        self._log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, *command], cwd=folder, env=environment, stdout=output, stderr=output, start_new_session=True
            )

    def output(self) -> str:
        return self._log.read_text(errors="replace")

    def wait_for(self, pattern: re.Pattern[str]) -> re.Match[str]:
        """Wait until it has printed something."""
        deadline = time.monotonic() + PATIENCE
        while (found := pattern.search(self.output())) is None:
            assert self.process.poll() is None, self.output()
            assert time.monotonic() < deadline, self.output()
            time.sleep(0.02)
        return found

    def wait_until_it_listens(self, port: int) -> None:
        """Wait until it accepts connections."""
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 5).close()
            except OSError:
                assert self.process.poll() is None, self.output()
                assert time.monotonic() < deadline, self.output()
                time.sleep(0.05)
            else:
                return

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to end, and return its exit code."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)

    def kill(self) -> None:
        """End it and all that it has started."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def free_port() -> int:
    """Return a free port below those that the system gives to connections."""
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


@contextmanager
def running(command: Sequence[str], environment: dict[str, str], folder: Path, log: Path) -> Iterator[Program]:
    """Run a module (`["-m", …]`) or a script until the block ends."""
    program = Program(command, environment, folder, log)
    try:
        yield program
    finally:
        program.kill()


@contextmanager
def serving(
    command: Sequence[str], environment: dict[str, str], folder: Path, log: Path
) -> Iterator[tuple[httpx.Client, Program]]:
    """Run a web server, and give a client for it.

    Args:
        command: A module and its arguments, with `--port 0`; or `PORT` where the server does not say which one it got.
    """
    port = free_port() if "PORT" in command else 0
    with running(["-m", *(str(port) if each == "PORT" else each for each in command)], environment, folder, log) as program:
        address = f"http://127.0.0.1:{port}" if port else program.wait_for(ADDRESS)[1]
        program.wait_until_it_listens(int(address.rpartition(":")[2]))
        with httpx.Client(base_url=address, timeout=PATIENCE) as client:
            yield client, program
