"""Values as short text, for people: dashboards and the CLI show these instead of unpickling anything."""

import reprlib
from collections.abc import Mapping, Sequence
from enum import Enum
from itertools import islice
from pathlib import PurePath
from typing import Any

PREVIEW_LENGTH = 200
SMALL = 512
"""Bytes of a serialized value up to which a plain one is shown by its own `repr`, which is ten times as fast."""

_PLAIN = frozenset({int, str, bytes, float, bool, type(None)})
_PLAIN_CONTAINERS = frozenset({tuple, list, dict})
_preview = reprlib.Repr()
_preview.maxstring = _preview.maxother = 60


def is_plain(value: Any, depth: int = 3) -> bool:
    """Return whether a value is made of nothing but a few plain and small builtin values, `depth` levels deep."""
    kind = type(value)
    if kind in _PLAIN:
        return True
    if depth == 0:
        return False
    if kind not in _PLAIN_CONTAINERS or len(value) > 64:
        return False
    if kind is dict:
        for key in value:
            if type(key) not in _PLAIN:
                return False
        value = value.values()
    for each in value:  # noqa: SIM110 - a loop costs half of a generator, and this is asked of every call
        if type(each) not in _PLAIN and not is_plain(each, depth - 1):
            return False
    return True


def preview(args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
    """Return the call's arguments as short text, for people: dashboards and the CLI show it instead of unpickling."""
    if not args and not kwargs:
        return ""
    parts = [_short(each) for each in args]
    if kwargs:
        parts += [f"{key}={_short(each)}" for key, each in kwargs.items()]
    return ", ".join(parts)[:PREVIEW_LENGTH]


def _short(value: Any) -> str:
    kind = type(value)
    try:
        if kind is int or kind is bool or value is None or kind is float:
            return repr(value)
        return _preview.repr(value)
    except Exception:  # noqa: BLE001 - a foreign __repr__, or too long an integer, must not stop an enqueue
        return f"<{kind.__name__}>"


class _ResultRepr(reprlib.Repr):
    """Text for a glance at any value in bounded time: nothing sorted, no large thing and no foreign object spelled out."""

    def __init__(self) -> None:
        super().__init__()
        self.maxstring = self.maxother = 100
        self.maxdict = 6

    def repr_dict(self, x: dict[Any, Any], level: int) -> str:
        if not x or level <= 0:
            return "{...}" if x else "{}"
        parts = [f"{self.repr1(key, level - 1)}: {self.repr1(x[key], level - 1)}" for key in islice(x, self.maxdict)]
        return "{" + ", ".join(parts + ["..."] * (len(x) > self.maxdict)) + "}"

    def repr_set(self, x: Any, level: int) -> str:
        if not x or level <= 0:
            return "{...}" if x else "set()"
        parts = [self.repr1(each, level - 1) for each in islice(x, self.maxset)]
        return "{" + ", ".join(parts + ["..."] * (len(x) > self.maxset)) + "}"

    repr_frozenset = repr_set

    def repr_instance(self, x: Any, level: int) -> str:
        if isinstance(x, bytes | bytearray):
            return repr(bytes(x[:40])) + (f"... ({len(x)} bytes)" if len(x) > 40 else "")
        kind = type(x)
        if isinstance(x, Enum | PurePath) or kind.__module__ in _BRIEF:
            return super().repr_instance(x, level)
        return f"<{kind.__module__}.{kind.__qualname__}>"


_BRIEF = frozenset({"builtins", "datetime", "decimal", "fractions", "ipaddress", "uuid"})
"""Modules whose objects have a short representation."""
_result_preview = _ResultRepr()


def preview_result(value: Any, size: int = SMALL + 1) -> str:
    """Return a result as short text for display, so that showing jobs needs no unpickling. Empty for None.

    Args:
        size: Length of its serialized form: what is small and plain needs no care.
    """
    kind = type(value)
    if value is None:
        return ""
    try:
        if kind is int or kind is bool or kind is float:
            return repr(value)[:PREVIEW_LENGTH]
        if size <= SMALL and is_plain(value):
            return repr(value)[:PREVIEW_LENGTH]
        return clean_text(_result_preview.repr(value)[:PREVIEW_LENGTH], PREVIEW_LENGTH)
    except BaseException:  # noqa: BLE001 - a foreign __repr__ must not make a job fail
        return f"<{kind.__name__}>"


def clean_text(text: str, limit: int) -> str:
    """Return text that UTF-8 can hold (file names may carry lone surrogates), its middle left out above `limit` characters."""
    text = text.encode("utf-8", "backslashreplace").decode()
    return text if len(text) <= limit else f"{text[: limit // 4]} … {text[-(limit - limit // 4 - 3) :]}"
