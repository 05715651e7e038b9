"""Each class has a name of its own, so that a reader who meets the name knows which one it is."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path

SOURCES = sorted((Path(__file__).parents[2] / "packages").glob("*/src/**/*.py"))


def test_no_two_classes_share_a_name() -> None:
    homes: defaultdict[str, list[str]] = defaultdict(list)
    for path in SOURCES:
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes[node.name].append(f"{path.parent.name}/{path.name}")
    assert len(homes) > 300
    assert {name: where for name, where in homes.items() if len(where) > 1} == {}
