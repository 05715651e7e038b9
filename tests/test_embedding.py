"""The programs of `docs/embedding.md`; those of `docs/frameworks.md` are run by `tests/frameworks`."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from naq_core.server import EmbeddedServer
from tests.frameworks.serving import EMBEDDING, ROOT, TAKES_JOBS, environment, running


def test_a_notebook_enqueues_with_await_and_without(nats_server: EmbeddedServer, namespace: str, tmp_path: Path) -> None:
    mine = environment(nats_server.url, NAQ_NAMESPACE=namespace, IPYTHONDIR=str(tmp_path), NO_COLOR="1")
    with running(["-m", "naq_worker"], mine, EMBEDDING, tmp_path / "worker") as worker:
        worker.wait_for(TAKES_JOBS)
        command = [sys.executable, "-m", "tests.support.notebook", str(EMBEDDING / "notebook.ipynb")]
        done = subprocess.run(command, cwd=ROOT, env=mine, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    shown = re.findall(r"Out\[\d+\]: (.*)", done.stdout)
    assert shown == ["144", "[100, 101, 104, 109]", "125"]


def test_every_program_is_on_a_page() -> None:
    pages = "".join((ROOT / "docs" / name).read_text(encoding="utf-8") for name in ("embedding.md", "frameworks.md"))
    assert {path.name for path in EMBEDDING.glob("*.*") if f"../examples/embedding/{path.name})" not in pages} == set()
