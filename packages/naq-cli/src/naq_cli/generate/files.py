"""Fills templates, and puts the files where they are wanted."""

import string
import sys
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from typing import ClassVar, NamedTuple

from naq_cli._errors import CommandError
from naq_cli.exit_codes import ExitCode


class GeneratedFile(NamedTuple):
    """A file that was made."""

    name: str
    text: str


class _Template(string.Template):
    """Takes `@{name}`: `$` and `{{` mean something in the files themselves."""

    delimiter = "@"
    idpattern: ClassVar[str | None] = None  # type: ignore[assignment]  # `@name` without braces stays as it is
    braceidpattern = "[a-z_]+"


def fill(template: str, /, **values: object) -> str:
    """Return a template of this package with its values. A line whose only value is empty disappears."""
    text = (files("naq_cli.generate") / "templates" / template).read_text(encoding="utf-8")
    kept = [line for line in text.splitlines() if not _is_left_out(line, values)]
    return _Template("\n".join(kept) + "\n").substitute({name: str(value) for name, value in values.items()})


def _is_left_out(line: str, values: dict[str, object]) -> bool:
    word = line.strip()
    return word.startswith("@{") and word.endswith("}") and word.count("@{") == 1 and values.get(word[2:-1]) == ""


def indented(lines: Sequence[str], width: int) -> str:
    """Return lines for a place that is indented already: all but the first are indented here."""
    return ("\n" + " " * width).join(lines)


def deliver(made: Sequence[GeneratedFile], folder: Path | None, *, force: bool) -> None:
    """Print the files, or write them into a folder.

    Raises:
        CommandError: One is there with another content, and may not be replaced; then none is written.
    """
    if folder is None:
        for each in made:
            title = f"# file: {each.name}\n" if len(made) > 1 else ""
            sys.stdout.write(f"{title}{each.text}")
        return
    paths = {folder / each.name: each.text for each in made}
    changed = [path for path, text in paths.items() if path.exists() and path.read_text(encoding="utf-8") != text]
    if changed and not force:
        names = ", ".join(str(path) for path in changed)
        raise CommandError(
            f"{names}: there already, with another content. Use --force to replace, or --to another folder", ExitCode.REFUSED
        )
    for path, text in paths.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        sys.stdout.write(f"{path}\n")
