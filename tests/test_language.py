"""Phrases that sound translated, and have been removed, stay away from what users and developers read."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").glob("*.md"))]
SOURCES = sorted((ROOT / "packages").glob("*/src/**/*.py"))
TEMPLATES = sorted((ROOT / "packages").glob("*/src/**/*.html"))
PHRASES = re.compile(
    r"\banew\b|\bfor ever\b|\bwhat came of\b|\bcame to\b|\bwhoever\b|\b(?:laid|put) aside\b|\bof (?:ours|theirs)\b"
    r"|\btaken for (?:free|gone|dead)\b|\b(?:[Ii]t|they|each|there|what) (?:is|are|was|were) none\b"
    r"|\bgoes to the dead ones\b|\bour mistake\b",
    re.IGNORECASE,
)


def prose(path: Path) -> str:
    """Return what is text in a file: of Python sources the strings, docstrings and comments, line by line."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        return text
    lines = [""] * (text.count("\n") + 2)
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            for number, line in enumerate(node.value.split("\n"), node.lineno):
                lines[min(number, len(lines) - 1)] += f" {line}"
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            lines[token.start[0]] += token.string
    return "\n".join(lines[1:])


@pytest.mark.parametrize("kind", ["pages", "sources", "templates"])
def test_no_phrase_that_sounds_translated(kind: str) -> None:
    files = {"pages": PAGES, "sources": SOURCES, "templates": TEMPLATES}[kind]
    assert files
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in files
        for number, line in enumerate(prose(path).splitlines(), 1)
        if PHRASES.search(line)
    ]
    assert found == [], "say it as the section 'How we write' of CONTRIBUTING.md asks"
