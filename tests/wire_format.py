"""The tables of `docs/wire-format.md` and its JSON Schema, made from the code: `hatch run wire` writes both."""

from __future__ import annotations

import inspect
import json
import re
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Union

import msgspec

from naq_core import audit, envelope, record, views
from naq_core.decoding import Count, Duration, Instant
from naq_core.metrics.figures import Figures, Stretch
from naq_core.retry import RetryPolicy
from naq_core.schedules.document import ScheduleDocument
from naq_core.schedules.spec import ScheduleSpec
from naq_core.sent_signal import SentSignal
from naq_core.settings import Settings
from naq_core.source_text import SourceText
from naq_core.storage import control, edges, lease, presence, queues, slots, workflows
from naq_core.storage.connection import Connection
from naq_core.storage.stream_configs import optional_configs, stream_configs
from naq_core.storage.subjects import Names
from naq_dashboard.docs.openapi import field_texts

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "wire-format.md"
SCHEMA = ROOT / "docs" / "wire-format.schema.json"
NAMESPACE = "naq"
LONG_DEFAULT = 40


class Document(NamedTuple):
    """A kind of document that lies under a subject."""

    name: str
    kind: Any
    where: str
    form: str = "json"


DOCUMENTS = (
    Document("Job", envelope.Envelope, "naq.jobs.*.<queue>.<job_id>", "msgpack"),
    Document("JobRecord", record.JobRecord, "$KV.naq_results.<queue>.<job_id>"),
    Document("Edge", edges._Body, "naq.edges.<parent_id>.<queue>.<child_id>", "msgpack"),
    Document("Signal", SentSignal, "naq.edges.signal:<signal>"),
    Document("Presence", presence.Presence, "$KV.naq_workers.<worker_id>"),
    Document("QueueSettings", queues.QueueSettings, "$KV.naq_queues.setting.<queue>"),
    Document("SlotHolder", slots.Holder, "$KV.naq_queues.slot.<queue>.<number>"),
    Document("ControlRequest", control.ControlRequest, "naq.control.<worker_id>"),
    Document("ControlReply", control.ControlReply, "the reply subject of a ControlRequest"),
    Document("Schedule", ScheduleDocument, "$KV.naq_schedules.<schedule_id>"),
    Document("LeaseOwner", lease.LeaseOwner, "$KV.naq_leases.<name>"),
    Document("WorkflowHead", workflows.Head, "$KV.naq_workflows.<workflow_id>.head"),
    Document("WorkflowMember", workflows.Member, "$KV.naq_workflows.<workflow_id>.<part>, an array of these"),
    Document("Figures", Stretch, "naq.metrics.<step>.<at>.<source>"),
    Document("AuditNote", audit._Note, "naq.audit.<kind>.<target>.<entry_id>, naq.audit.refused"),
    Document("AuditEnd", audit._End, "naq.audit.end.<entry_id>"),
)
PARTS = (
    *(envelope.JobOptions, RetryPolicy, envelope.Callback, envelope.Parent, envelope.Fill, envelope.Large, envelope.EndedJob),
    *(SourceText, record.AttemptError, record.Progress, record.LogLine, ScheduleSpec, views.Firing, Figures),
)
"""What documents are made of."""
NAMED = {document.kind: document.name for document in DOCUMENTS} | {Figures: "FiguresOfFunction"}
"""Types whose name says little outside of their module."""
WORDS: dict[Any, str] = {Instant: "time", Duration: "seconds", Count: "number", record.JobState: "state"} | {
    str: "text",
    bytes: "bytes",
    bool: "boolean",
    int: "number",
    float: "number",
    type(None): "null",
    Any: "anything",
}
SHOWN = {
    "object_info": "$O.naq_objects.M.<base64url of name>",
    "archive": "naq.jobs.kept.<queue>.<job_id>",
    "signal_edge": "naq.edges.signal:<signal>.<queue>.<child_id>.signal",
    "signal": "naq.edges.signal:<signal>",
    "job_event": "naq.event.jobs.<place>.<queue>.<job_id>",
}
"""Subjects that are not made by putting placeholders into names."""
NO_SUBJECTS = {
    "windows",
    "streams",
    "consumer",
    "consumers",
    "ready_filter",
    "any_state",
    "place_of",
    "stream_of",
    "consumer_advisory",
}


def name_of(kind: Any) -> str:
    """Return the name of a type of document."""
    return NAMED.get(kind, str(kind.__name__))


def subjects() -> Iterator[tuple[str, str]]:
    """Yield each subject with placeholders, and what lies there."""
    names = Names(NAMESPACE)
    for name, function in vars(Names).items():
        if name.startswith("_") or name in NO_SUBJECTS or not inspect.isfunction(function):
            continue
        given = [f"<{each}>" for each in inspect.signature(function).parameters if each != "self"]
        subject = SHOWN.get(name) or getattr(names, name)(*given)
        text = " ".join(inspect.cleandoc(function.__doc__ or "").partition("\n\n")[0].split())
        yield subject, f"{text.partition(';')[0].rstrip('.')}."  # what follows is for callers


def streams() -> Iterator[tuple[str, str, str]]:
    """Yield name, subjects and peculiarities of each stream."""
    wanted: Any = types.SimpleNamespace(names=Names(NAMESPACE), settings=Settings())
    connection: Connection = wanted
    for config in (*stream_configs(connection), *optional_configs(connection)):
        kept = "a message until it is settled" if config["retention"] == "workqueue" else "messages"
        if config.get("max_msgs_per_subject") == 1:
            kept = "the newest message of each subject"
        republished = config.get("republish")
        told = f"; republished to `{republished['dest']}`" if republished else ""
        bodies = ", without its body" if republished and republished.get("headers_only") else ""
        yield config["name"], ", ".join(f"`{each}`" for each in config["subjects"]), f"{kept}{told}{bodies}"


def type_text(kind: Any) -> str:
    """Return a type in the words of the page."""
    if kind in WORDS:
        return WORDS[kind]
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        return type_text(arguments[0])
    if origin is Literal:
        return ", ".join(f"`{each}`" for each in arguments)
    if origin in {Union, types.UnionType}:
        return " or ".join(type_text(each) for each in arguments)
    if origin in {tuple, list}:
        inner = [each for each in arguments if each is not Ellipsis]
        return f"list of {type_text(inner[0])}" if len(set(inner)) == 1 else f"list: {', '.join(map(type_text, inner))}"
    if origin is dict:
        return f"object of {type_text(arguments[1])}"
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return f"[{name_of(kind)}](#{name_of(kind).lower()})"
    return "RFC 3339 text" if kind is datetime else str(kind.__name__)


def default_text(value: Any) -> str:
    """Return a default as JSON; empty where a field has to be there."""
    if value is msgspec.NODEFAULT:
        return "**required**"
    if isinstance(value, msgspec.Struct):
        return "all defaults"
    text = json.dumps(value.decode() if isinstance(value, bytes) else value)
    return f"`{text}`" if len(text) < LONG_DEFAULT else ""


def fields_of(kind: Any) -> Iterator[tuple[str, Any, Any]]:
    """Yield name, type and default of each field."""
    if not issubclass(kind, msgspec.Struct):  # a TypedDict
        for name, field in typing.get_type_hints(kind, include_extras=True).items():
            yield name, field, msgspec.NODEFAULT if name in kind.__required_keys__ else None
        return
    hints = typing.get_type_hints(kind, include_extras=True)
    for each in msgspec.structs.fields(kind):
        default = each.default
        if default is msgspec.NODEFAULT and each.default_factory is not msgspec.NODEFAULT:
            default = each.default_factory()
        yield each.encode_name, hints[each.name], default


def texts_of(kind: Any) -> dict[str, str]:
    """Return what the source says of each field."""
    bases = [presence._Told] if kind is presence.Presence else []
    return {name: text for base in (*bases, *reversed(kind.__mro__), kind) for name, text in field_texts(base).items()}


def field_table(kind: Any) -> str:
    """Return the fields of a document as a table."""
    config = getattr(kind, "__struct_config__", None)
    lines = ["An array of these, in this order:", ""] if config is not None and config.array_like else []
    lines += ["| field | type | default | |", "|---|---|---|---|"]
    texts = texts_of(kind)
    for name, field, default in fields_of(kind):
        lines.append(f"| `{name}` | {type_text(field)} | {default_text(default)} | {texts.get(name, '')} |")
    return "\n".join(lines)


def tables() -> dict[str, str]:
    """Return what stands between the marks of the page."""
    found = {
        "subjects": "\n".join(["| subject | |", "|---|---|", *(f"| `{subject}` | {text} |" for subject, text in subjects())]),
        "streams": "\n".join(
            ["| stream | subjects | keeps |", "|---|---|---|", *(f"| `{a}` | {b} | {c} |" for a, b, c in streams())]
        ),
    }
    for kind in (*(document.kind for document in DOCUMENTS), *PARTS):
        found[name_of(kind)] = field_table(kind)
    return found


def filled(page: str) -> str:
    """Return the page with its tables as the code is now.

    Raises:
        ValueError: The page has a mark without a table, or the other way round.
    """
    left = tables()

    def fill(found: re.Match[str]) -> str:
        return f"<!-- {found[1]} -->\n{left.pop(found[1], 'unknown')}\n<!-- end -->"

    page = re.sub(r"<!-- (\w+) -->\n(?:.*?\n)??<!-- end -->", fill, page, flags=re.DOTALL)
    if left:
        raise ValueError(f"{PAGE.name} has no marks for {', '.join(left)}")
    return page


@cache
def schema() -> dict[str, Any]:
    """Return the JSON Schema of all documents; not to be changed."""
    kinds = [document.kind for document in DOCUMENTS]
    _, made = msgspec.json.schema_components(kinds, ref_template="#/$defs/{name}")
    by_name = {kind.__name__: kind for kind in (*kinds, *PARTS)}
    renamed = {kind.__name__: name for kind, name in NAMED.items()}

    def refer(value: Any) -> Any:
        match value:
            case {"$ref": str() as reference}:
                name = reference.rpartition("/")[2]
                return {**value, "$ref": f"#/$defs/{renamed.get(name, name)}"}
            case {"anyOf": list() as kinds, **rest}:  # releases of msgspec differ in their order
                return {"anyOf": sorted(map(refer, kinds), key=json.dumps), **refer(rest)}
            case dict():
                return {key: refer(each) for key, each in value.items() if key != "title"}
            case list():
                return [refer(each) for each in value]
            case _:
                return value

    definitions = {renamed.get(name, name): _described(refer(each), by_name.get(name)) for name, each in made.items()}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "NAQ on the wire",
        "description": "Documents of NAQ by their subjects, for the namespace naq. In MessagePack, base64 text is a byte string.",
        "x-documents": [{"subject": each.where, "form": each.form, "$ref": f"#/$defs/{each.name}"} for each in DOCUMENTS],
        "$defs": dict(sorted(definitions.items())),
    }


def _described(definition: dict[str, Any], kind: Any) -> dict[str, Any]:
    """Add what the source says to a definition."""
    if kind is None:
        return definition
    texts = texts_of(kind)
    for name, each in definition.get("properties", {}).items():
        if name in texts:
            each["description"] = texts[name]
    for name, each in zip([name for name, *_ in fields_of(kind)], definition.get("prefixItems", ()), strict=False):
        each["description"] = texts.get(name, name)
    if not isinstance(kind, type) or not issubclass(kind, Enum):
        definition["description"] = inspect.cleandoc(kind.__doc__ or "").partition("\n\n")[0]
    return definition


def schema_text() -> str:
    """Return the JSON Schema as its file has it."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


WRITERS: Mapping[Path, Callable[[], str]] = {PAGE: lambda: filled(PAGE.read_text(encoding="utf-8")), SCHEMA: schema_text}


def main() -> None:
    """Write the tables of the page, and the schema."""
    for path, make in WRITERS.items():
        path.write_text(make(), encoding="utf-8")


if __name__ == "__main__":
    main()
