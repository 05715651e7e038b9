"""Runs the command line in a process of its own, away from the caller's settings."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from tests.cli.zygote import ZYGOTE


def environment(**variables: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("NAQ_", "NATS_URL"))}
    return {**kept, "NO_COLOR": "1", "COLUMNS": "100", **variables}


def naq(*arguments: str, cwd: Path | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run `naq` in a process of its own, forked off one that has the imports behind it where that is possible."""
    return ZYGOTE.run(arguments, environment(**variables), cwd)


def run(module: str, *arguments: str, cwd: Path | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        env=environment(**variables),
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=45,
        check=False,
    )


@contextlib.contextmanager
def started(module: str, *arguments: str, **variables: str) -> Iterator[subprocess.Popen[str]]:
    """Start a command in a process group of its own; kill it at the end if it still runs."""
    with subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        env=environment(**variables),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def wait_for_line(stream: IO[str] | None, text: str) -> str:
    """Read until a line holds the text; return all that was read."""
    assert stream is not None
    seen = ""
    for line in stream:
        seen += line
        if text in line:
            return seen
    raise AssertionError(f"the process ended without {text!r}; it said:\n{seen}")
