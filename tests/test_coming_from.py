"""The programs after the move, in `docs/coming-from`, run as printed, beside one worker for all of them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from naq_core.server import EmbeddedServer
from naq_core.settings import Settings

FOLDER = Path(__file__).parent.parent / "docs" / "coming-from"
PAGES = sorted(path for path in FOLDER.glob("*.md") if path.name != "README.md")
PROGRAM = re.compile(r"^```python\n# (\w+\.py)\n(.*?)^```", re.MULTILINE | re.DOTALL)
OUTPUT = re.compile(r"^```text\n(.*?)^```", re.MULTILINE | re.DOTALL)
WORKER = ["naq_worker", "default", "mail", "text"]


def test_the_programs_after_the_move_print_what_the_page_says(
    nats_server: EmbeddedServer, naq_settings: Settings, tmp_path: Path
) -> None:
    expected: dict[str, str] = {}
    for page in PAGES:
        after = page.read_text(encoding="utf-8").partition("\n## After\n")[2]
        programs = dict(PROGRAM.findall(after))
        assert len(programs) == 2, page.name
        for name, text in programs.items():
            (tmp_path / name).write_text(text, encoding="utf-8")
        (main,) = (name for name in programs if name.endswith("_main.py"))
        (expected[main],) = OUTPUT.findall(after)
    environment = {**os.environ, "NAQ_NATS_URL": nats_server.url, "NAQ_NAMESPACE": naq_settings.namespace}
    command = [sys.executable, "-m", *WORKER]
    with subprocess.Popen(command, cwd=tmp_path, env=environment, stderr=subprocess.DEVNULL) as worker:
        try:
            running = {main: start(main, tmp_path, environment) for main in expected}
            printed = {main: process.communicate(timeout=50) for main, process in running.items()}
        finally:
            worker.terminate()
    assert {main: out for main, (out, _) in printed.items()} == expected, "".join(errors for _, errors in printed.values())


def start(program: str, folder: Path, environment: dict[str, str]) -> subprocess.Popen[str]:
    command, pipe = [sys.executable, program], subprocess.PIPE
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=pipe, stderr=pipe, text=True)


def test_every_page_has_what_a_reader_looks_for() -> None:
    index = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert len(PAGES) == 7
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        assert f"]({page.name})" in index
        headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
        assert headings == ["What is different", "What NAQ does not have", "Before", "After"], page.name
