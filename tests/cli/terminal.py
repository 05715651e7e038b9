"""Runs a command in a real (pseudo) terminal, as a person would see it."""

import re
import sys
from typing import Any

import pexpect

from tests.cli.commands import environment

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")


def terminal(*arguments: str, width: int = 100, **variables: str) -> Any:
    """Start `naq` in a terminal; the caller expects, sends, and closes."""
    kept = environment(**variables)
    kept.pop("NO_COLOR", None)
    kept.pop("COLUMNS", None)
    return pexpect.spawn(
        sys.executable,
        ["-m", "naq_cli", *arguments],
        env={**kept, "TERM": "xterm-256color", **variables},
        dimensions=(40, width),
        encoding="utf-8",
        timeout=30,
    )


def screen(*arguments: str, width: int = 100, **variables: str) -> tuple[str, int]:
    """Run to the end; return what was shown, escapes and all, and the exit code."""
    child = terminal(*arguments, width=width, **variables)
    shown = child.read()
    child.close()
    return shown.replace("\r\n", "\n"), child.exitstatus if child.exitstatus is not None else -child.signalstatus


def plain(text: str) -> str:
    """Return text without escape sequences."""
    return ESCAPES.sub("", text)
