"""The navigation of the site: the table *Documentation* of the README, and after it what is made from the code."""

import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
LINK = re.compile(r"\[([^]]+)\]\(([^)#\s]+)\)")
RECORDS = "docs/adr"
"""Design records, which the site lists by itself."""


class Entry(NamedTuple):
    """A page, and what it is called in the navigation."""

    title: str
    source: str
    """Its path in the repository: a Markdown file, or a folder."""


class Section(NamedTuple):
    """A row of the table."""

    title: str
    entries: list[Entry]


def read_sections(readme: str) -> list[Section]:
    """Return the rows of the README's table *Documentation*."""
    _, _, below = readme.partition("\n## Documentation\n")
    rows = re.findall(r"^\| *(\w[^|]*?) *\| *(.+?) *\|$", below, re.MULTILINE)
    return [Section(title, [Entry(*found) for found in LINK.findall(links)]) for title, links in rows]


def pages_left_out(root: Path = ROOT) -> list[str]:
    """Return the pages below `docs/` that no row of the table leads to."""
    sections = read_sections((root / "README.md").read_text(encoding="utf-8"))
    linked = {entry.source for section in sections for entry in section.entries}
    pages = (page.relative_to(root).as_posix() for page in sorted((root / "docs").rglob("*.md")))
    return [page for page in pages if page not in linked and not page.startswith(f"{RECORDS}/")]
