"""Which modules may import which, where the linter cannot see it."""

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGES = Path(__file__).parents[2] / "packages"
LOOKED_UP = {
    "naq_cli/dev/command.py",  # starts the services, each a process of its own
    "naq_core/testing/_worker.py",  # of the test plugin, which belongs to naq-core and uses what is installed
    "naq_pytest.py",
}
LOOKS_UP = {"import_module", "find_spec", "__import__", "sibling"}


def calls_of(module: Path) -> Iterator[tuple[str, str]]:
    """The calls with a text as the first argument: names of the function and text."""
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant | ast.JoinedStr):
            function = node.func
            first = node.args[0] if isinstance(node.args[0], ast.Constant) else node.args[0].values[0]
            text = getattr(first, "value", None)
            if isinstance(text, str):
                yield getattr(function, "attr", getattr(function, "id", "")), text


def test_no_package_looks_another_up_at_run_time() -> None:
    """It would depend on it in a way that neither its metadata nor import-linter know of."""
    found = {
        f"{name}: {function}({text!r})"
        for source in PACKAGES.glob("*/src")
        for module in source.rglob("*.py")
        if (name := str(module.relative_to(source))) not in LOOKED_UP
        for function, text in calls_of(module)
        if function in LOOKS_UP and text.startswith("naq_")
    }
    assert found == set()
