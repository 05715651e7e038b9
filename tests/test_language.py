"""Phrases that sound translated, and have been removed, stay away from what users and developers read."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [path for folder in (ROOT, ROOT / "docs", ROOT / "docs" / "coming-from") for path in sorted(folder.glob("*.md"))]
SOURCES = sorted((ROOT / "packages").glob("*/src/**/*.py"))
ADVICE = "say it as the section 'How we write' of CONTRIBUTING.md asks"
TEMPLATES = sorted((ROOT / "packages").glob("*/src/**/*.html"))
PHRASES = re.compile(
    r"\banew\b|\bfor ever\b|\bwhat came of\b|\bcame to\b|\bwhoever\b|\b(?:laid|put) aside\b|\bof (?:ours|theirs)\b"
    r"|\btaken for (?:free|gone|dead)\b|\b(?:[Ii]t|they|each|there|what) (?:is|are|was|were) none\b"
    r"|\bgoes to the dead ones\b|\bour mistake\b",
    re.IGNORECASE,
)
MESSAGES = re.compile(
    r"(?<!\bthere )\b(?:is|are|was|were) no (?!longer\b|more\b)\w|\bwithout (?:an )?end\b|\bin vain\b|\bhas not turned\b"
    r"|\bgo(?:es)? by (?:the|its|this)\b|\b(?:is|are) to be\b|\bon record\b|\b(?:is|are|was|were) left (?:out|to)\b"
    r"|\bnot \w+ any more\b|\bround trip more\b",
    re.IGNORECASE,
)
"""What users read is held to more than what developers do."""


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


def messages(path: Path) -> str:
    """Return the strings of a Python source that are not docstrings, line by line."""
    text = path.read_text(encoding="utf-8")
    tree = ast.parse(text)
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    lines = [""] * (text.count("\n") + 2)
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            lines[node.lineno] += f" {node.value}".replace("\n", " ")
    return "\n".join(lines[1:])


def found(phrases: re.Pattern[str], texts: Iterable[tuple[Path, str]]) -> list[str]:
    return [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path, text in texts
        for number, line in enumerate(text.splitlines(), 1)
        if phrases.search(line)
    ]


@pytest.mark.parametrize("files", [PAGES, SOURCES, TEMPLATES], ids=["pages", "sources", "templates"])
def test_no_phrase_that_sounds_translated(files: list[Path]) -> None:
    assert files
    assert found(PHRASES, ((path, prose(path)) for path in files)) == [], ADVICE


@pytest.mark.parametrize("files", [SOURCES, TEMPLATES], ids=["sources", "templates"])
def test_messages_say_it_as_a_native_speaker_would(files: list[Path]) -> None:
    texts = ((path, messages(path) if path.suffix == ".py" else prose(path)) for path in files)
    assert found(MESSAGES, texts) == [], ADVICE
