"""Tables of settings, options, errors and events."""

import ast
import dataclasses
import inspect
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from itertools import pairwise
from typing import Any

from naq_core import errors as all_errors
from naq_core.events import KINDS
from naq_core.options import OPTIONS, SCHEDULE_OPTIONS, Option
from naq_core.settings import Settings
from naq_core.wording import exact_span
from naq_dashboard.settings import PREFIX, DashboardSettings

_PAGE = re.compile(r"`docs/([\w/-]+\.md)`")


def cell(text: str) -> str:
    """Return text as it fits a cell of a table, with links to the pages that it names."""
    return _PAGE.sub(r"[\1](../\1)", " ".join(text.split()).replace("|", "\\|"))


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table."""
    lines = [f"| {' | '.join(head)} |", f"|{'---|' * len(head)}"]
    return "\n".join([*lines, *(f"| {' | '.join(cell(each) for each in row)} |" for row in rows), ""])


def field_texts(kind: type) -> dict[str, str]:
    """Return the string that follows each field of a class in its source."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
    found = {}
    for field, text in pairwise(tree.body if isinstance(tree, ast.ClassDef) else []):
        match field, text:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str() as words)):
                found[name] = words
            case _:
                pass
    return found


def settings() -> str:
    """Return the settings of NAQ and of the dashboard."""
    return f"""\
Each setting can be an argument, an environment variable (`claim_after` is `NAQ_CLAIM_AFTER`), or a line in `naq.toml` (or
`[tool.naq]` of `pyproject.toml`), in this order. Durations are written `500ms`, `30s`, `5m`, `2h` or `7d`. `naq config show`
prints all values and where each comes from.

{_settings(Settings)}
## Dashboard

The dashboard has these in addition: as arguments, or as environment variables (`port` is `{PREFIX}PORT`).
[How to use them](../dashboard.md)

{_settings(DashboardSettings)}"""


def _settings(kind: Any) -> str:
    texts = field_texts(kind)
    rows = [
        (f"`{field.name}`", _default(field), texts[field.name]) for field in dataclasses.fields(kind) if field.name != "sources"
    ]
    return table(("setting", "default", "meaning"), rows)


def _default(field: "dataclasses.Field[Any]") -> str:
    match field.default:
        case timedelta() as length:
            seconds = length.total_seconds()
            return f"`{exact_span(seconds)}`" if seconds >= 1 else f"`{seconds * 1000:g}ms`"
        case bool() as flag:
            return "on" if flag else "off"
        case None | "" | () | dataclasses.MISSING:
            return "none"
        case value:
            return f"`{value}`"


def options() -> str:
    """Return the options of jobs and of schedules."""
    return f"""\
The same names are used in `@task(…)`, `task.options(…)`, `queue.options(…)`, on the command line, in the dashboard and its API,
and in `naq.toml`. [How to use them](../getting-started.md#options)

{_options(OPTIONS)}
## Schedules

`Queue.schedule` and `naq schedule add` take these in addition. [How to use them](../schedules.md)

{_options(SCHEDULE_OPTIONS)}"""


def _options(options: Mapping[str, Option]) -> str:
    rows = []
    for name, option in options.items():
        flags = option.flags or (f"--{name.replace('_', '-')}",)
        example = f"`{option.kind.example}`" if option.kind.example else " ".join(f"`{each}`" for each in option.kind.choices)
        rows.append((f"`{name}`", " ".join(f"`{flag}`" for flag in flags), option.help, example, option.default))
    return table(("option", "on the command line", "meaning", "written as text", "default"), rows)


def errors() -> str:
    """Return the tree of errors, and a description of each."""
    kinds = [kind for name in all_errors.__all__ if isinstance(kind := getattr(all_errors, name), type)]
    lines = [
        "All errors that NAQ raises on purpose are a `NaqError`. A name in brackets is a built-in class that the error is, too.",
        "",
        *_tree(all_errors.NaqError, kinds, 0),
        "",
    ]
    for kind in sorted(kinds, key=lambda kind: kind.__name__):
        lines += [f"::: naq_core.errors.{kind.__name__}", ""]
    return "\n".join(lines)


def _tree(kind: type, kinds: Sequence[type], depth: int) -> list[str]:
    builtin = [base.__name__ for base in kind.__bases__ if base.__module__ == "builtins" and base is not Exception]
    about = (inspect.getdoc(kind) or "").partition("\n\n")[0]
    name = f"[`{kind.__name__}`](#naq_core.errors.{kind.__name__})"
    also = f" ({', '.join(f'`{base}`' for base in builtin)})" if builtin else ""
    lines = [f"{'    ' * depth}- {name}{also}: {' '.join(about.split())}"]
    for each in sorted(kinds, key=lambda each: each.__name__):
        if each.__bases__[0] is kind:
            lines += _tree(each, kinds, depth + 1)
    return lines


def events() -> str:
    """Return the kinds of events, and the fields of one."""
    return f"""\
The server republishes each change of a job, so events cost workers and clients nothing. Read them with
[`naq_core.events.events`](naq_core.events.md), [`naq events`](cli.md), or `GET /api/stream` of the [HTTP API](api.md).
[How to use them](../observing.md)

{table(("kind", "when"), [(f"`{kind}`", text) for kind, text in KINDS.items()])}
Each event has the fields of [`naq_core.views.Event`](naq_core.views.md).
"""
