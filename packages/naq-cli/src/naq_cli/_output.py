"""Where a command's answer goes: tables on a terminal, tab-separated lines in a pipe, JSON where it is asked for."""

import contextlib
import json
import re
import shutil
import sys
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from naq_cli._errors import CommandError
from naq_cli._format import NOTHING, STATE_COLORS, for_people, for_programs
from naq_cli._layout import Wish, fit
from naq_cli._root_help import uses_color
from naq_cli.exit_codes import ExitCode
from naq_core.views import encode_view

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

_NOT_ASCII = re.compile(r"[^\x00-\x7f]+")


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a list."""

    title: str
    value: Callable[[Any], Any]
    rank: int = 0
    """The higher, the sooner it is left out on a narrow terminal. Pipes get every column."""
    right: bool = False
    wrap: bool = False
    """May be cut short where the terminal is narrow."""


class Output:
    """Standard output for the answer, standard error for remarks."""

    def __init__(self, *, form: str = "auto", quiet: bool = False, color: bool | None = None, agreed: bool = False) -> None:
        self.form = form
        self.quiet = quiet
        self._color = color
        self._agreed = agreed

    @property
    def is_terminal(self) -> bool:
        """Whether people read it: a terminal, and nothing else was asked for."""
        return self.form == "auto" and not self.quiet and sys.stdout.isatty()

    @property
    def is_json(self) -> bool:
        """Whether JSON was asked for."""
        return self.form != "auto"

    @property
    def can_ask(self) -> bool:
        """Whether a user can answer a prompt."""
        return sys.stdin.isatty() and sys.stderr.isatty()

    def list(
        self,
        items: Sequence[Any],
        columns: Sequence[Column],
        *,
        key: Callable[[Any], str],
        empty: str,
        document: Any = None,
    ) -> None:
        """Write a list.

        Args:
            items: Views, in the order to show.
            columns: What tables and tab-separated lines hold.
            key: The name or id of one, which is all that `--quiet` prints.
            empty: The remark where there is nothing.
            document: What `--json` prints instead of the list of the items.
        """
        if self.form == "json":
            self.json(list(items) if document is None else document)
        elif self.form == "jsonl":
            for item in items:
                self.json_line(item)
        elif self.quiet:
            self.lines(key(item) for item in items)
        elif not items and self.is_terminal:
            self.remark(empty)
        elif self.is_terminal:
            self.console().print(self.table(items, columns))
        else:
            self.lines(["\t".join(column.title.lower() for column in columns)])
            self.lines("\t".join(for_programs(column.value(item)) for column in columns) for item in items)

    def facts(self, pairs: Sequence[tuple[str, Any]], *, document: Any) -> None:
        """Write what is known of one thing: a name and a value per line. `None` and empty values are left out."""
        shown = [(name, value) for name, value in pairs if value is not None and value not in ("", [], {})]
        if self.is_json:
            self.json(document) if self.form == "json" else self.json_line(document)
        elif self.is_terminal:
            from rich.table import Table

            grid = Table.grid(padding=(0, 2))
            grid.add_column(style="bold", no_wrap=True)
            grid.add_column(overflow="fold")
            for name, value in shown:
                grid.add_row(name, self.styled(value))
            self.console().print(grid)
        else:
            self.lines(f"{name.lower()}\t{for_programs(value)}" for name, value in shown)

    def table(self, items: Iterable[Any], columns: Sequence[Column]) -> "Table":
        """Return a rich table of the columns for which the terminal is wide enough."""
        from rich import box
        from rich.table import Table

        rows = [[self.styled(column.value(item)) for column in columns] for item in items]
        filled = [at for at, column in enumerate(columns) if not column.rank or any(row[at].plain != NOTHING for row in rows)]
        columns, rows = [columns[at] for at in filled], [[row[at] for at in filled] for row in rows]
        wishes = [
            Wish(max([len(column.title), *(row[at].cell_len for row in rows)]), column.wrap, column.rank)
            for at, column in enumerate(columns)
        ]
        widths = fit(wishes, shutil.get_terminal_size().columns)
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
        for at, width in widths.items():
            column = columns[at]
            justify: Literal["left", "right"] = "right" if column.right else "left"
            table.add_column(column.title, justify=justify, width=width, no_wrap=True, overflow="ellipsis")
        for row in rows:
            table.add_row(*(_one_line(row[at]) for at in widths))
        return table

    def styled(self, value: Any) -> "Text":
        """Return a cell as rich text: states in their colour, nothing in it taken for markup."""
        from rich.text import Text

        text = for_people(value)
        if text == NOTHING:
            return Text(text, style="dim")
        return Text(_encodable(text), style=STATE_COLORS.get(text, ""))

    def json(self, document: Any) -> None:
        """Write one JSON document, indented where people read it."""
        encoded = document if isinstance(document, bytes) else encode_view(document)
        self._write((msgspec.json.format(encoded, indent=2) if sys.stdout.isatty() else encoded) + b"\n")

    def json_line(self, document: Any) -> None:
        """Write one JSON document on a line of its own, at once."""
        self._write(encode_view(document) + b"\n")
        self.flush()

    def lines(self, lines: Iterable[str]) -> None:
        """Write lines to standard output."""
        sys.stdout.writelines(f"{line}\n" for line in lines)

    def flush(self) -> None:
        """Let a reader of the pipe have what was written."""
        sys.stdout.flush()

    def remark(self, text: str) -> None:
        """Write a remark to standard error, unless quiet."""
        if self.quiet:
            return
        if sys.stderr.isatty():
            width = shutil.get_terminal_size().columns
            text = textwrap.fill(text, width, break_long_words=False, break_on_hyphens=False)
        sys.stderr.write(f"{text}\n")

    def done(self, text: str, *, names: Iterable[str] = (), document: Any = None) -> None:
        """Report what an action did: a remark, the names alone when quiet, a document as JSON."""
        if self.is_json:
            self.json(document)
        elif self.quiet:
            self.lines(names)
        else:
            self.lines([text])

    def console(self, *, stderr: bool = False) -> "Console":
        """Return a rich console that honours `--color`, NO_COLOR and FORCE_COLOR."""
        from rich.console import Console

        stream = sys.stderr if stderr else sys.stdout
        color = uses_color(stream, forced=self._color)
        size = shutil.get_terminal_size()
        return Console(
            file=stream,
            force_terminal=True if stream.isatty() or color else None,
            no_color=not color,
            color_system="auto" if color and stream.isatty() else "standard" if color else None,
            highlight=False,
            width=size.columns,
            height=size.lines,  # without it, rich takes a dumb terminal to have 80 columns
        )

    def confirm(self, question: str, *, yes: bool = False) -> None:
        """Go on only where the user agrees, now or beforehand with `--yes`.

        Raises:
            CommandError: The user declined, or there is no terminal and `--yes` is missing.
        """
        if yes or self._agreed:
            return
        if not self.can_ask:
            raise CommandError(f"{question} Confirmation needs a terminal: add --yes.", ExitCode.USAGE)
        sys.stderr.write(f"{question} [y/N] ")
        sys.stderr.flush()
        if sys.stdin.buffer.readline().strip().lower() not in {b"y", b"yes"}:  # whatever the keyboard's encoding
            raise CommandError("nothing was changed.", ExitCode.FAILED)

    @contextlib.contextmanager
    def progress(self, text: str, total: int | None) -> Iterator[Callable[[int], None]]:
        """Show how far long work is, on a terminal; gives a function to call with the number done."""
        if self.quiet or self.is_json or not sys.stderr.isatty():
            yield lambda _: None
            return
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        shown = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*shown, console=self.console(stderr=True), transient=True) as bar:
            task = bar.add_task(text, total=total)
            yield lambda done: bar.update(task, completed=done)

    def _write(self, data: bytes) -> None:
        text = data.decode()
        # JSON has escapes of its own for what the terminal lacks; those of Python would not be JSON.
        sys.stdout.write(text if text == _encodable(text) else _NOT_ASCII.sub(_json_escape, text))


def _encodable(text: str) -> str:
    """Escape what standard output cannot show, before its width is measured."""
    encoding = sys.stdout.encoding or "utf-8"
    return text.encode(encoding, "backslashreplace").decode(encoding)


def _json_escape(found: "re.Match[str]") -> str:
    return json.dumps(found[0])[1:-1]


def _one_line(text: "Text") -> "Text":
    """A row of a table is one line, whatever a job says."""
    if "\n" in text.plain:
        text.plain = " ".join(text.plain.split())
    return text
