"""One module knows the operating systems, and without what Windows lacks the rest still imports and works."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from naq_core.server import EmbeddedServer

ROOT = Path(__file__).parents[2]
ASKS = re.compile(
    r"sys\.platform (?:[!=]=|in)|sys\.platform\.|\bos\.name\b|platform\.system|hasattr\((?:os|signal|time|select),"
    r"|prctl\b|import fcntl"
)


def test_one_module_asks_which_system_this_is() -> None:
    found = {path.name for path in ROOT.glob("packages/*/src/**/*.py") if ASKS.search(path.read_text(encoding="utf-8"))}
    assert found == {"platforms.py"}


def without_posix(program: str, **variables: str) -> subprocess.CompletedProcess[str]:
    prelude = "from tests.support.no_posix import hide; hide()\n"
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("NAQ_", "NATS_URL"))}
    command = [sys.executable, "-c", prelude + program]
    environment = {**clean, **variables}
    done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, timeout=150, check=False)
    assert done.returncode == 0, done.stderr
    return done


IMPORTS = """
from tests.import_all import EXTRAS, import_all
EXTRAS |= {f"naq_worker._executors.{name}" for name in ("child", "guard")}  # of child processes, which Windows has none of
for name in ("naq_core", "naq_client", "naq_worker", "naq_scheduler", "naq_dashboard", "naq_cli"):
    import_all(name)
"""
WORKS = """
import asyncio, operator
from naq_client import Queue
from naq_core import JobFailedError
from naq_worker import Worker

async def main():
    async with Queue() as queue:
        worker = Worker("default", handle_signals=True)
        async with asyncio.TaskGroup() as group:
            group.create_task(worker.run())
            print("plain:", await (await queue.enqueue(operator.add, 2, 3)).result(timeout=40))
            try:
                await (await queue.options(process=True, max_retries=0).enqueue(operator.add, 2, 3)).result(timeout=40)
            except JobFailedError as error:
                print("process:", error)
            worker.stop()

asyncio.run(main())
from naq_cli.app import run
print("list:", run(["queue", "list", "--quiet"]))
print("dev:", run(["dev"]))
print("workers:", run(["worker", "--workers", "2"]))
"""


def test_everything_is_imported_without_what_windows_lacks() -> None:
    assert without_posix(IMPORTS).stderr == ""


def test_jobs_run_without_it_and_what_needs_it_says_so(nats_server: EmbeddedServer, namespace: str) -> None:
    done = without_posix(WORKS, NAQ_NATS_URL=nats_server.url, NAQ_NAMESPACE=namespace)
    assert "plain: 5\n" in done.stdout
    assert "no child process can start: process=True needs another system than Windows" in done.stdout
    assert "default\nlist: 0\ndev: 1\nworkers: 2\n" in done.stdout
    assert "naq dev does not run on Windows: run naq server and naq worker in two terminals" in done.stderr
    assert "must be 1 on Windows: start several worker processes yourself" in done.stderr
