"""The help of `naq` itself, written without the parser: showing it needs no import of cyclopts, rich or NATS."""

import os
import shutil
import sys
import textwrap
from typing import TextIO

from naq_cli._catalog import COMMANDS, GROUPS, OTHER
from naq_cli._plugins import Plugin

_BOLD, _CYAN, _DIM, _RESET = "\033[1m", "\033[36m", "\033[2m", "\033[0m"
_WIDEST = 100


def uses_color(stream: TextIO, *, forced: bool | None = None) -> bool:
    """Tell whether to colour: what was asked for, then NO_COLOR, FORCE_COLOR, and whether it is a terminal."""
    if forced is not None:
        return forced
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return stream.isatty() and os.environ.get("TERM") != "dumb"


def root_help(plugins: dict[str, Plugin], *, color: bool, width: int | None = None) -> str:
    """Return the help text: every command in its group, with what to install where it is missing."""
    width = min(width or shutil.get_terminal_size().columns, _WIDEST)
    rows = _rows(plugins)
    column = max(len(name) for _, name, _, _ in rows) + 4
    lines = ["", _paint("Usage: naq COMMAND", _BOLD, color), "", "The task queue on NATS JetStream.", ""]
    for group in GROUPS:
        shown = [row for row in rows if row[0] == group]
        if not shown:
            continue
        lines.append(_paint(group, _BOLD, color))
        for _, name, text, note in shown:
            painted = _paint(name, _CYAN, color) + " " * (column - len(name) - 2)
            body = textwrap.wrap(f"{text} {note}".strip(), max(width - column, 20)) or [""]
            if note and body[-1].endswith(note):
                body[-1] = body[-1].removesuffix(note) + _paint(note, _DIM, color)
            lines.append(f"  {painted}{body[0]}")
            lines.extend(" " * column + more for more in body[1:])
        lines.append("")
    lines += [
        _paint("Options", _BOLD, color),
        f"  {_paint('-h, --help', _CYAN, color)}  This help; naq COMMAND --help for a command's own.",
        f"  {_paint('--version', _CYAN, color)}   The version.",
        "",
        "Start here: naq dev, then naq enqueue math:sqrt 2 --wait in a second terminal.",
        "",
    ]
    return "\n".join(lines)


def print_root_help(plugins: dict[str, Plugin]) -> None:
    """Write the help to standard output."""
    sys.stdout.write(root_help(plugins, color=uses_color(sys.stdout)))


def _rows(plugins: dict[str, Plugin]) -> list[tuple[str, str, str, str]]:
    rows = []
    for name, command in COMMANDS.items():
        missing = command.distribution and name not in plugins
        rows.append((command.group, name, command.help, f"(pip install {command.distribution})" if missing else ""))
    rows += [
        (OTHER, name, plugin.summary or f"From {plugin.origin}.", "") for name, plugin in plugins.items() if name not in COMMANDS
    ]
    return rows


def _paint(text: str, code: str, color: bool) -> str:
    return f"{code}{text}{_RESET}" if color else text
