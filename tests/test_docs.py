"""The documentation keeps its word: links lead somewhere, code compiles, the quick start runs as printed."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from naq_core.server import EmbeddedServer
from website import reference
from website.external import external_links
from website.links import broken_links
from website.navigation import pages_left_out
from website.staging import Staging

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


@pytest.mark.timeout(300)  # for a busy machine: all pages, one after the other
def test_the_blocks_of_the_pages_run() -> None:
    done = subprocess.run([sys.executable, "-m", "tests.pages"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_navigation_leads_to_every_page() -> None:
    advice = "add a link to the table Documentation of README.md, which is the navigation of the site"
    assert pages_left_out() == [], advice


def imported_names() -> set[tuple[str, str]]:
    """Return the names of NAQ, and their modules, that the documentation and the examples import."""
    found = set()
    texts = [page.read_text(encoding="utf-8") for page in PAGES]
    sources = [block for text in texts for block in BLOCK.findall(text)]
    sources += [path.read_text(encoding="utf-8") for path in sorted((ROOT / "examples").rglob("*.py"))]
    for source in sources:
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("naq_"):
                found |= {(node.module or "", each.name) for each in node.names}
    return found


@pytest.fixture(scope="module")
def reference_pages() -> dict[str, str]:
    return {place: text for place, _, text in reference.pages()}


def test_the_reference_has_every_name_that_a_page_or_an_example_imports() -> None:
    modules = set(reference.MODULES)
    missing = {
        f"{module}.{name}"
        for module, name in imported_names()
        if f"{module}.{name}" not in modules and (module not in modules or name not in reference.public_names(module))
    }
    assert missing == set()


def test_the_reference_says_what_the_code_does(reference_pages: dict[str, str]) -> None:
    pages = reference_pages
    assert "| `claim_after` | `20ms` |" in pages["reference/settings.md"]
    assert "| `timeout` | `--job-timeout` |" in pages["reference/options.md"]
    assert "        - [`AuthenticationError`](#naq_core.errors.AuthenticationError)" in pages["reference/errors.md"]
    assert "## naq worker\n" in pages["reference/cli.md"]
    assert "| `124` |" in pages["reference/cli.md"]
    assert "### POST /api/jobs {" in pages["reference/api.md"]
    assert "| `naq_jobs_finished_total` | counter | `outcome` `queue` `task` |" in pages["reference/metrics.md"]
    assert "| `messaging.process.duration` | histogram | s |" in pages["reference/metrics.md"]
    assert "| `retrying` |" in pages["reference/events.md"]


def test_a_link_that_leads_nowhere_is_found(tmp_path: Path) -> None:
    links = '<a id="top" href="b.html#here"></a><a href="#top"></a><a href="https://example.org"></a>'
    links += '<img src="c.png"><source srcset="d.png">'
    (tmp_path / "a.html").write_text(links, encoding="utf-8")
    (tmp_path / "b.html").write_text('<h1 id="there"></h1><a href="a.html"></a>', encoding="utf-8")
    assert list(broken_links(tmp_path)) == [
        "a.html: b.html#here leads to no place of that page",
        "a.html: c.png leads nowhere",
        "a.html: d.png leads nowhere",
    ]


def test_what_is_loaded_from_another_host_is_found(tmp_path: Path) -> None:
    loads = (
        '<script src="https://cdn.example.org/a.js"></script><link rel="icon" href="//example.org/i.png"><pre class="mermaid">'
    )
    (tmp_path / "a.html").write_text(
        f'{loads}<link rel="canonical" href="https://example.org/"><script src="b.js">', encoding="utf-8"
    )
    (tmp_path / "b.js").touch()
    assert list(broken_links(tmp_path)) == [
        "a.html: loads https://cdn.example.org/a.js from another host",
        "a.html: loads //example.org/i.png from another host",
        "a.html: loads https://unpkg.com/mermaid from another host",
    ]


def test_links_to_other_sites_are_found_but_not_in_code(tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    text = "[a](https://nats.io/a#b) <https://nats.io/b>, [c](https://shop.example.org/c)\n```\n[d](https://nats.io/d)\n```\n"
    (tmp_path / "docs" / "page.md").write_text(text, encoding="utf-8")
    assert external_links(tmp_path) == {"https://nats.io/a": ["docs/page.md"], "https://nats.io/b": ["docs/page.md"]}


def test_links_out_of_the_docs_become_pages_of_the_site(tmp_path: Path) -> None:
    staging = Staging(tmp_path)
    staging.stage_repository()
    staged = (tmp_path / "getting-started.md").read_text(encoding="utf-8")
    assert "](index.md#install)" in staged
    assert "](examples/index.md)" in staged
    assert "](cli.md)" in staged
    states = (tmp_path / "state_machine.md").read_text(encoding="utf-8")
    assert "mermaid" not in states
    assert "| `queued` | `running` | claimed by a worker |" in states
    assert "from naq_client import" in (tmp_path / "examples" / "progress.py.md").read_text(encoding="utf-8")
    assert "(0026-api-reference.md)" in (tmp_path / "adr" / "index.md").read_text(encoding="utf-8")


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
