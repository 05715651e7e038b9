"""Looking for arguments by their path, such as `customer` or `0.id`: in the JSON of a call, else in its preview."""

import ast
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from naq_core.envelope import Envelope
from naq_core.errors import DecodeError
from naq_core.masks import Mask
from naq_core.previews import PREVIEW_LENGTH
from naq_core.serialization import JSON, decode_json
from naq_core.views import JobFilter, JobView

CUT = 57
"""Characters from which on a text of a preview may have been cut."""

CUT_OFF = "..."
"""What a preview has in place of the rest of a list, a mapping or a text."""
UNKNOWN = object()
"""A value that a preview does not spell out."""


def call_of_preview(preview: str) -> tuple[list[Any], dict[str, Any]] | None:
    """Return the arguments that a preview spells out in full; None where it does not."""
    found = _of_preview(preview) if preview else ([], {})
    return None if found is None or _has_unknown(found) else found


def _has_unknown(value: Any) -> bool:
    match value:
        case dict():
            return any(map(_has_unknown, value.values()))
        case list() | tuple():
            return any(map(_has_unknown, value))
        case _:
            return value is UNKNOWN


def has_arguments(wanted: JobFilter, view: JobView, envelope: Envelope | None, mask: Mask | None) -> bool | None:
    """Return whether a job has the arguments that a filter asks for; None where that is not known.

    Args:
        envelope: Of its message, where that was read.
        mask: What it hides matches nothing: a value is looked for only if it may be seen beside each key on its path.
    """
    if envelope is not None and envelope.ct == JSON and envelope.body:
        try:
            call: Any = decode_json(envelope.body, "arguments")
        except DecodeError:
            return False
    else:
        call = _of_preview(view.arguments)
    if call is None:
        return None
    found = [_has(call, path.split("."), value, mask) for path, value in wanted.arguments]
    if False in found:
        return False
    return None if None in found else True


def _has(call: Sequence[Any], path: list[str], wanted: str, mask: Mask | None) -> bool | None:
    is_known = True
    for value in _values(call[0] if path[0].isdecimal() else call[1], path):
        text = _text(value)
        if text == wanted and (mask is None or _is_seen(path, value, text, mask)):
            return True
        is_known = is_known and value is not UNKNOWN
    return False if is_known else None


def _values(inside: Any, path: Sequence[str]) -> Iterator[Any]:
    """Yield what is at a path, `UNKNOWN` where a preview does not have it; a key may hold dots itself."""
    if inside is UNKNOWN or not path:
        yield inside
    elif isinstance(inside, dict):
        for length in range(1, len(path) + 1):
            key = ".".join(path[:length])
            if key in inside:
                yield from _values(inside[key], path[length:])
        if inside.get(CUT_OFF) is UNKNOWN:
            yield UNKNOWN
    elif isinstance(inside, list):
        if path[0].isdecimal() and len(path[0]) < 10 and int(path[0]) < len(inside):
            yield from _values(inside[int(path[0])], path[1:])
        elif inside and inside[-1] is UNKNOWN:
            yield UNKNOWN


def _text(value: Any) -> str | None:
    """Return a value as it is written in a filter; None for what cannot be."""
    if isinstance(value, str):
        return value
    return msgspec.json.encode(value).decode() if value is None or isinstance(value, bool | int | float) else None


def _is_seen(path: Sequence[str], value: Any, text: str, mask: Mask) -> bool:
    shown = [text, repr(value), *(f"{key}={value!r}" for key in (*path, ".".join(path)))]
    return all(mask(each) == each for each in shown)


def _of_preview(preview: str) -> tuple[list[Any], dict[str, Any]] | None:
    """Return positional and keyword arguments as far as a preview has them, None of what cannot be read."""
    written = preview.replace(f", {CUT_OFF}}}", f", '{CUT_OFF}': ...}}")
    try:
        call = ast.parse(f"f({written})", mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return None
    if not isinstance(call, ast.Call) or len(preview) >= PREVIEW_LENGTH:
        return None
    return [_value(each) for each in call.args], {each.arg: _value(each.value) for each in call.keywords if each.arg}


def _value(node: ast.expr) -> Any:
    match node:
        case ast.Constant(value=str() as text):
            return UNKNOWN if len(text) >= CUT and CUT_OFF in text else text
        case ast.Constant(value=bool() | int() | float() | None as value):
            return value
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
            return -value
        case ast.List(elts=parts) | ast.Tuple(elts=parts):
            return [_value(each) for each in parts]
        case ast.Dict(keys=keys, values=values):
            return {key.value: _value(each) for key, each in zip(keys, values, strict=True) if isinstance(key, ast.Constant)}
        case ast.Call(keywords=[_, *_] as keywords):
            return {each.arg: _value(each.value) for each in keywords if each.arg}
        case _:
            return UNKNOWN
