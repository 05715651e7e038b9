"""What keeps the source readable: each class has a name of its own, and no file is long."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

SOURCES = sorted((Path(__file__).parents[2] / "packages").glob("*/src/**/*.py"))


def test_no_two_classes_share_a_name() -> None:
    homes: defaultdict[str, list[str]] = defaultdict(list)
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                homes[node.name].append(f"{path.parent.name}/{path.name}")
    assert len(homes) > 300
    assert {name: where for name, where in homes.items() if len(where) > 1} == {}


def test_no_file_is_longer_than_a_reader_can_keep_in_mind() -> None:
    assert [path.name for path in SOURCES if path.read_text(encoding="utf-8").count("\n") > 400] == []
