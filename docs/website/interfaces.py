"""The command line, the HTTP API and the metrics, as the code has them."""

import ast
import inspect
import re
import textwrap
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from naq_cli._catalog import COMMANDS
from naq_cli.app import command_tree
from naq_cli.exit_codes import ExitCode
from naq_core.metrics import Counter, Figures
from naq_core.telemetry._instruments import Instruments
from naq_core.views import Problem, QueueView
from naq_dashboard.api.prometheus import Facts, encode
from naq_dashboard.docs.model import OperationAnswer, Reference, Shown
from naq_dashboard.docs.openapi import describe
from naq_scheduler._metrics import SchedulerMetrics
from naq_worker._own_metrics import WorkerFigures, as_text
from website.tables import table

_CONTENTS = re.compile(r"#+ Table of Contents\n\n(?: *- .*\n)+\n?")
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def command_line() -> str:
    """Return every command with its options, and the exit codes."""
    commands = "\n".join(_command(name) for name in COMMANDS)
    commands = _CONTENTS.sub("", commands).replace(" *[default: False]*", "")
    shared = {group: max(_group(group).findall(commands), key=len) for group in ("Connection", "Output")}
    for group in shared:
        commands = _group(group).sub("", commands)
    meanings = _texts_of_members(ExitCode)
    return f"""\
`naq COMMAND --help` prints the same. [How to use them](../cli.md)

## Shared options

Every command that uses the server has the options of *Connection*. `--json` and `--jsonl` are options of commands that only read.

{shared["Connection"]}
{shared["Output"]}
{commands}
## Exit codes

{table(("code", "meaning"), [(f"`{int(code)}`", meanings[code.name]) for code in ExitCode])}"""


def _command(name: str) -> str:
    """Return the text of a command, without that of `naq` itself."""
    heading = f"\n## naq {name}\n"
    _, found, text = command_tree(name).generate_docs(output_format="markdown").partition(heading)
    return f"{found}{text}"


def _group(name: str) -> re.Pattern[str]:
    """Return what finds a group of options in the text of a command."""
    return re.compile(rf"\*\*{name}\*\*:\n\n(?:\* .*\n?)+\n?")


def _texts_of_members(kind: type) -> dict[str, str]:
    """Return the string that follows each member of an enumeration in its source."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(kind))).body[0]
    found = {}
    for member, text in pairwise(tree.body if isinstance(tree, ast.ClassDef) else []):
        match member, text:
            case ast.Assign(targets=[ast.Name(id=name)]), ast.Expr(value=ast.Constant(value=str() as words)):
                found[name] = words
            case _:
                pass
    return found


def api() -> str:
    """Return the operations of the dashboard's API and the documents that they take and return."""
    reference = Reference(describe("", needs_login=True), "http://127.0.0.1:8080", needs_login=True)
    parts = [
        (
            "A running dashboard shows this page at `/api`, where operations can be tried, and the OpenAPI document at"
            " `/api/openapi.json`. Errors are problem documents (RFC 9457). [How to log in](../dashboard.md)\n"
        )
    ]
    for group in reference.groups():
        parts.append(f"## {group.name}\n\n{group.text}\n")
        parts += [_operation(each) for each in group.operations]
    parts.append("## Documents\n")
    for name, text, fields, kind in reference.schemas():
        rows = [(f"`{each.name}`", each.kind, _meaning(each.text, each.bounds, each.default)) for each in fields]
        body = table(("field", "type", "meaning"), rows) if rows else f"{kind}\n"
        parts.append(f"### {name} {{ #schema-{name} }}\n\n{text}\n\n{body}")
    return "\n".join(parts)


def _operation(operation: Shown) -> str:
    heading = f"### {operation.method} {operation.path} {{ #{operation.name} }}"
    lines = [heading, "", f"{operation.summary}. {operation.text}", ""]
    if operation.action:
        lines += [f"Needs the permission `{operation.action}`.", ""]
    if operation.parameters:
        rows = []
        for each in operation.parameters:
            choices = f" One of {', '.join(f'`{choice}`' for choice in each.choices)}." if each.choices else ""
            needed = "required" if each.required else each.place
            rows.append((f"`{each.name}`", needed, each.kind, _meaning(f"{each.text}{choices}", each.bounds, each.default)))
        lines.append(table(("parameter", "", "type", "meaning"), rows))
    if operation.body is not None:
        lines.append(_document("Body", operation.body))
    lines += [_document(f"Answer {each.status}", each) for each in operation.answers]
    if operation.refusals:
        lines += [f"Refusals: {' '.join(f'`{status}` {text}' for status, text in operation.refusals)}", ""]
    return "\n".join([*lines, "```console", f"$ {operation.curl}", "```", ""])


def _document(title: str, answer: OperationAnswer) -> str:
    return f"{title}: {answer.kind} (`{answer.media_type}`). {answer.text}\n"


def _meaning(text: str, bounds: str, default: str) -> str:
    return " ".join(each for each in (text, f"({bounds})" if bounds else "", f"Default: `{default}`." if default else "") if each)


def metrics() -> str:
    """Return what Prometheus and OpenTelemetry are told."""
    figures = Figures("mail", "shop:send", wait={0: 1}, run={0: 1})
    worker = WorkerFigures(rows=[figures], in_progress={"mail": 1}, rss=1, started_at=1.0)
    scheduler = SchedulerMetrics()
    scheduler.add_of("fired", 1, "mail", "shop:send")
    scheduler.add_of("missed", 1, "mail", "shop:send")
    scheduler.add("swept", 1, 'sweep="expired"')
    return f"""\
[How to use them](../monitoring.md). Times are in seconds.

## The dashboard

One endpoint, `/metrics`, for all clients, workers and schedulers.

{_metric_table(encode(_facts(), "")[0].decode())}
## A worker

With `naq worker --health-port`: what this process has counted since its start.

{_metric_table(as_text([({}, worker)]))}
## A scheduler

With `naq scheduler --health-port`: what this process has counted since its start.

{_metric_table(scheduler.text(scheduler_leader=1, scheduler_schedules=1))}
## OpenTelemetry

From the middleware [`naq_core.telemetry.otel`](naq_core.telemetry.otel.md). [How to use it](../telemetry.md)

{table(("name", "type", "unit", "meaning"), _instruments())}"""


def _metric_table(text: str) -> str:
    """Return the metrics of an answer in Prometheus' text format."""
    rows = []
    for family in text_string_to_metric_families(text):
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        name = f"{family.name}_total" if family.type == "counter" else family.name
        rows.append((f"`{name}`", family.type, " ".join(f"`{label}`" for label in sorted(labels)), family.documentation))
    return table(("name", "type", "labels", "meaning"), rows)


def _facts() -> Facts:
    """Return facts with one of each, so that every metric has its labels."""
    kinds = ("enqueued", "started", "redelivered", "fired", "missed", "run-inf", "wait-inf")
    worker = {"worker_id": "w", "at": 1.0, "concurrency": 1, "in_progress": {"mail": 1}}
    return Facts(
        now=1.0,
        counters={Counter("mail", "shop:send", kind): 1 for kind in kinds},
        queues=[QueueView(queue="mail", waiting=1, oldest_at=NOW)],
        workers=[worker],
        schedules=1,
        has_leader=True,
        reconnects=0,
        streams=0,
        problems=[Problem(kind="no-worker", subject="queue", severity="problem", found="", advice="")],
    )


class _Meter:
    """Notes the instruments that are made with it."""

    def __init__(self) -> None:
        self.made: list[tuple[str, str, str, str]] = []

    def create_counter(self, name: str, unit: str, about: str) -> None:
        self.made.append((f"`{name}`", "counter", unit, about))

    def create_histogram(self, name: str, unit: str, about: str, **_: Any) -> None:
        self.made.append((f"`{name}`", "histogram", unit, about))


def _instruments() -> list[tuple[str, str, str, str]]:
    meter: Any = _Meter()
    Instruments(meter)
    made: list[tuple[str, str, str, str]] = meter.made
    return made
