"""The documentation keeps its word: links lead somewhere, code compiles, the quick start runs as printed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from naq_core.server import EmbeddedServer

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere_and_code_compiles(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert [link for link in LINK.findall(text) if not (page.parent / link).exists()] == []
    for block in BLOCK.findall(text):
        compile(block, str(page), "exec")


def test_the_readme_leads_to_every_page() -> None:
    linked = set(LINK.findall((ROOT / "README.md").read_text(encoding="utf-8")))
    assert [page.name for page in sorted((ROOT / "docs").glob("*.md")) if f"docs/{page.name}" not in linked] == []


def test_the_quick_start_runs_as_printed(nats_server: EmbeddedServer, namespace: str, tmp_path: Path) -> None:
    program = BLOCK.findall((ROOT / "README.md").read_text(encoding="utf-8"))[0]
    (tmp_path / "quick_start.py").write_text(program, encoding="utf-8")
    environment = {**os.environ, "NAQ_NATS_URL": nats_server.url, "NAQ_NAMESPACE": namespace}
    with subprocess.Popen([sys.executable, "-m", "naq_worker"], env=environment, stderr=subprocess.DEVNULL) as worker:
        try:
            command = [sys.executable, "quick_start.py"]
            done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=40, check=False)
        finally:
            worker.terminate()
            assert worker.wait(20) == 0
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "5"
