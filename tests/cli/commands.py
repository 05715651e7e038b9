"""Runs the command line in a process of its own, away from the caller's settings."""

import os
import subprocess
import sys
from pathlib import Path


def environment(**variables: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("NAQ_", "NATS_URL"))}
    return {**kept, "NO_COLOR": "1", "COLUMNS": "100", **variables}


def naq(*arguments: str, cwd: Path | None = None, **variables: str) -> subprocess.CompletedProcess[str]:
    return run("naq_cli", *arguments, cwd=cwd, **variables)


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
