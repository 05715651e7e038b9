"""An OpenAPI document in the form in which its page shows it."""

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup, escape

__all__ = ["Reference", "Shown"]

TONES = {"get": "running", "post": "succeeded", "patch": "paused", "put": "paused", "delete": "dead"}
"""The colours of states that stand for methods here."""

_REFERENCE = "#/components/schemas/"


@dataclass(frozen=True, slots=True)
class Field:
    """A parameter, or a field of a schema."""

    name: str
    place: str
    """path, query, or empty for a field."""
    kind: Markup
    required: bool
    text: Markup
    bounds: str
    choices: tuple[str, ...] = ()
    default: str = ""


@dataclass(frozen=True, slots=True)
class OperationAnswer:
    """What is sent or answered: its type, and the fields of its schema."""

    status: str
    media_type: str
    kind: Markup
    text: Markup
    fields: tuple[Field, ...]


@dataclass(frozen=True, slots=True)
class Shown:
    """One operation."""

    name: str
    method: str
    tone: str
    path: str
    summary: Markup
    text: Markup
    action: str
    parameters: tuple[Field, ...]
    body: OperationAnswer | None
    answers: tuple[OperationAnswer, ...]
    refusals: tuple[tuple[str, Markup], ...]
    curl: str
    can_try: bool


@dataclass(frozen=True, slots=True)
class OperationGroup:
    """The operations of one tag."""

    name: str
    text: str
    operations: tuple[Shown, ...]


class Reference:
    """Reads a document.

    Args:
        address: Scheme, host and path that lead to it, for the `curl` lines.
        needs_login: Whether those need a token.
    """

    def __init__(self, document: Mapping[str, Any], address: str, *, needs_login: bool) -> None:
        self._document = document
        self._address = address
        self._needs_login = needs_login

    def groups(self) -> list[OperationGroup]:
        """Return the operations by tag, in the order of the tags."""
        found: dict[str, list[Shown]] = {tag["name"]: [] for tag in self._document["tags"]}
        for path, item in self._document["paths"].items():
            for method, operation in item.items():
                found[operation["tags"][0]].append(self._operation(path, method, operation))
        texts = {tag["name"]: tag.get("description", "") for tag in self._document["tags"]}
        return [OperationGroup(name, texts[name], tuple(shown)) for name, shown in found.items()]

    def schemas(self) -> list[tuple[str, Markup, tuple[Field, ...], Markup]]:
        """Return name, description, fields and kind of every schema."""
        return [
            (name, _marked(schema.get("description", "")), self._fields(schema), self._kind(schema))
            for name, schema in sorted(self._document["components"]["schemas"].items())
        ]

    def _operation(self, path: str, method: str, operation: Mapping[str, Any]) -> Shown:
        body = operation.get("requestBody")
        responses = operation["responses"]
        return Shown(
            name=operation["operationId"],
            method=method.upper(),
            tone=TONES[method],
            path=path,
            summary=_marked(operation["summary"]),
            text=_marked(operation["description"]),
            action=operation.get("x-naq-action", ""),
            parameters=tuple(self._parameter(each) for each in operation.get("parameters", ())),
            body=None if body is None else next(self._contents("", body)),
            answers=tuple(
                answer for status, each in responses.items() if "$ref" not in each for answer in self._contents(status, each)
            ),
            refusals=tuple(self._refusal(status) for status, each in responses.items() if "$ref" in each),
            curl=self._curl(path, method, operation),
            can_try=method == "get",
        )

    def _contents(self, status: str, response: Mapping[str, Any]) -> Iterator[OperationAnswer]:
        text = _marked(response.get("description", "") if status else "")
        for media_type, content in response.get("content", {}).items():
            schema = content["schema"]
            yield OperationAnswer(status, media_type, self._kind(schema), text, self._fields(self._inner(schema)))

    def _refusal(self, status: str) -> tuple[str, Markup]:
        return status, _marked(self._document["components"]["responses"][status]["description"])

    def _parameter(self, each: Mapping[str, Any]) -> Field:
        schema = each["schema"]
        items = self._resolved(schema.get("items", schema))
        default = schema.get("default", "")
        return Field(
            name=each["name"],
            place=each["in"],
            kind=self._kind(schema),
            required=bool(each.get("required")),
            text=_marked(each.get("description", "")),
            bounds=_bounds(schema),
            choices=tuple(str(choice) for choice in items.get("enum", ())),
            default="" if default in ("", None) else str(default),
        )

    def _fields(self, schema: Mapping[str, Any]) -> tuple[Field, ...]:
        required = schema.get("required", ())
        return tuple(
            Field(
                name=name,
                place="",
                kind=self._kind(each),
                required=name in required,
                text=_marked(each.get("description", "")),
                bounds=_bounds(each),
                default="" if each.get("default", "") in ("", None) else json.dumps(each["default"]),
            )
            for name, each in schema.get("properties", {}).items()
        )

    def _resolved(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        name = schema.get("$ref", "").removeprefix(_REFERENCE)
        found: Mapping[str, Any] = self._document["components"]["schemas"][name] if name else schema
        return found

    def _inner(self, schema: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the schema whose fields are worth being shown: of a list that of its items."""
        found = self._resolved(schema)
        return self._resolved(found["items"]) if "items" in found else found

    def _kind(self, schema: Mapping[str, Any]) -> Markup:
        """Return what a value is, with links to the schemas that it is made of."""
        if "$ref" in schema:
            name = schema["$ref"].removeprefix(_REFERENCE)
            return Markup('<a href="#schema-{0}">{0}</a>').format(name)
        if options := schema.get("oneOf", schema.get("anyOf")):
            return Markup(" or ").join(self._kind(each) for each in options)
        if "enum" in schema:
            return Markup(" | ").join(Markup("<code>{}</code>").format(each) for each in schema["enum"])
        kind = schema.get("type", "anything")
        if isinstance(kind, list):
            return escape(" or ".join(kind))
        if kind == "array":
            return Markup("list of {}").format(self._kind(schema.get("items", {})))
        if kind == "object" and isinstance(inner := schema.get("additionalProperties"), dict) and inner:
            return Markup("object of {}").format(self._kind(inner))
        return escape({"date-time": "time"}.get(schema.get("format", ""), kind))

    def _curl(self, path: str, method: str, operation: Mapping[str, Any]) -> str:
        words = ["curl"]
        if method != "get":
            words.append(f"-X {method.upper()}")
        if self._needs_login and operation.get("security") != []:
            words.append('-H "Authorization: Bearer $TOKEN"')
        content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
        if "example" in content:
            words.append(f"--json {shlex.quote(json.dumps(content['example']))}")
        if "text/event-stream" in operation["responses"].get("200", {}).get("content", {}):
            words.append("-N")
        filled = re.sub(r"\{(\w+)\}", lambda found: found[1].upper(), path)
        return " ".join((*words, shlex.quote(f"{self._address}{filled}")))


def _marked(text: str) -> Markup:
    """Return text with what stands in backticks as code."""
    return Markup().join(
        Markup("<code>{}</code>").format(part) if number % 2 else escape(part) for number, part in enumerate(text.split("`"))
    )


def _bounds(schema: Mapping[str, Any]) -> str:
    low, high = (schema.get(name) for name in ("minimum", "maximum"))
    match low, high:
        case None, None:
            return ""
        case _, None:
            return f"from {int(low or 0):,}"
        case None, _:
            return f"up to {int(high or 0):,}"
        case _:
            return f"{int(low or 0):,} to {int(high or 0):,}"
