"""Lays out the sources of the site in a folder of their own: the pages of the repository, and the files that they link to.

Pages link to each other as GitHub shows them. Here each of them gets its place on the site, and links follow.
"""

import json
import posixpath
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from website.navigation import RECORDS, ROOT

OWN_PLACES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "reporting-a-security-problem.md",
    "examples": "examples/index.md",
    RECORDS: "adr/index.md",
}
"""Where pages are that are not below `docs/`."""
LANGUAGES = {".py": "python", ".js": "javascript", ".mjs": "javascript", ".ts": "typescript", ".html": "html", ".yml": "yaml"}
LANGUAGES |= {".yaml": "yaml", ".toml": "toml", ".json": "json", ".sh": "bash", ".conf": "text", ".css": "css"}
_LINK = re.compile(r"""(?:(?<=\]\()|(?<=src=")|(?<=srcset="))(?!https?:|mailto:|#)([^)#\s"]+)(#[^)\s"]+)?(?=[)"])""")
_DIAGRAM = re.compile(r"^```mermaid\nstateDiagram-v2\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class BrokenSourceError(Exception):
    """A page cannot be shown as it is; the message says what to change."""


class Staging:
    """A folder of sources for the generator.

    Args:
        folder: Where they are written. Files that have not changed are left alone, so that a running server rebuilds little.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._written: set[Path] = set()
        self._files: dict[str, str] = {}
        """Files that are shown as pages of their own because a page links to them, and their places."""

    def stage_repository(self) -> None:
        """Write the pages of the repository, the lists of examples and of design records, and the linked files."""
        for source, place in OWN_PLACES.items():
            if source.endswith(".md"):
                self._stage_page(source, place)
        for path in sorted((ROOT / "docs").rglob("*")):
            source = path.relative_to(ROOT).as_posix()
            if path.is_dir() or source.startswith("docs/website/"):
                continue
            if path.suffix == ".md":
                self._stage_page(source, source.removeprefix("docs/"))
            else:
                self._copy(path, source.removeprefix("docs/"))
        self.write("adr/index.md", _records())
        self.write("examples/index.md", self._examples())
        while self._files:
            source, place = self._files.popitem()
            self.write(place, _as_page(source))

    def write(self, place: str, text: str) -> None:
        """Write a page."""
        self._write(self.folder / place, text.encode())

    def remove_the_rest(self) -> None:
        """Remove what was written by an earlier run and not by this one."""
        for path in self.folder.rglob("*"):
            if path.is_file() and path not in self._written:
                path.unlink()

    def _copy(self, path: Path, place: str) -> None:
        self._write(self.folder / place, path.read_bytes())

    def _write(self, path: Path, content: bytes) -> None:
        self._written.add(path)
        if path.exists() and path.read_bytes() == content:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def _stage_page(self, source: str, place: str) -> None:
        text = _DIAGRAM.sub(_moves, (ROOT / source).read_text(encoding="utf-8"))
        self.write(place, outside_of_code(text, lambda line: _LINK.sub(lambda found: self._link(found, source, place), line)))

    def _link(self, found: re.Match[str], source: str, place: str) -> str:
        target = posixpath.normpath(posixpath.join(posixpath.dirname(source), found[1]))
        return posixpath.relpath(self._place_of(target, source), posixpath.dirname(place) or ".") + (found[2] or "")

    def _place_of(self, target: str, source: str) -> str:
        """Return where something of the repository is on the site."""
        if target in OWN_PLACES:
            return OWN_PLACES[target]
        path = ROOT / target
        if target.startswith("docs/") and path.is_file():
            return target.removeprefix("docs/")
        if not path.is_file():
            raise BrokenSourceError(f"{source} links to {target}, which is not a file of the repository")
        place = f"{target}.md"
        if self.folder / place not in self._written:
            self._files[target] = place
        return place

    def _examples(self) -> str:
        lines = [
            "# Examples",
            "",
            "One small program for each feature. NAQ's tests run all of them.",
            "",
            "| program | shows |",
            "|---|---|",
        ]
        for path in sorted((ROOT / "examples").rglob("*.py"), key=lambda path: (len(path.parts), path)):
            source = path.relative_to(ROOT).as_posix()
            self._files[source] = f"{source}.md"
            shown = source.removeprefix("examples/")
            lines.append(f"| [{shown}]({shown}.md) | {_first_line(path)} |")
        return "\n".join([*lines, ""])


def outside_of_code(text: str, change: Callable[[str], str]) -> str:
    """Return Markdown with each line changed that is not in a code block."""
    fence = ""
    lines = []
    for line in text.split("\n"):
        mark = re.match(r" *(```+|~~~+)", line)
        if mark is not None and not fence:
            fence = mark[1]
        elif mark is not None and mark[1].startswith(fence):
            fence = ""
        lines.append(line if fence or mark else change(line))
    return "\n".join(lines)


def _moves(diagram: re.Match[str]) -> str:
    """Return a table of the moves that a diagram shows. The theme would have it drawn by a script from another host."""
    rows = ["| from | to | when |", "|---|---|---|"]
    for line in diagram[1].splitlines():
        before, _, rest = line.strip().partition(" --> ")
        after, _, cause = rest.partition(": ")
        if after != "[*]":
            rows.append(f"| {'' if before == '[*]' else f'`{before}`'} | `{after}` | {cause} |")
    return "\n".join(rows)


def _first_line(program: Path) -> str:
    text = program.read_text(encoding="utf-8")
    found = re.match(r'"""(.+?)(?:"""|\n\n|$)', text, re.DOTALL)
    return " ".join(found[1].split()).replace("|", "\\|") if found else ""


def _records() -> str:
    lines = ["# Design records", "", "Why NAQ is as it is: one page for each choice that others may question.", ""]
    for path in sorted((ROOT / RECORDS).glob("*.md")):
        number, _, title = path.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ").partition(". ")
        lines.append(f"- {number}. [{title}]({path.name})")
    return "\n".join([*lines, ""])


def _as_page(source: str) -> str:
    """Return a page that shows a file."""
    path = ROOT / source
    if path.suffix == ".ipynb":
        return f"# {source}\n\n{_notebook(path)}"
    fence = "````"
    return f"# {source}\n\n{fence}{LANGUAGES.get(path.suffix, 'text')}\n{path.read_text(encoding='utf-8').rstrip()}\n{fence}\n"


def _notebook(path: Path) -> str:
    parts = []
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        text = "".join(cell["source"])
        parts.append(f"```python\n{text}\n```\n" if cell["cell_type"] == "code" else f"{text.replace('# ', '## ', 1)}\n")
    return "\n".join(parts)


def clear(folder: Path) -> None:
    """Remove a folder that an earlier run made."""
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
