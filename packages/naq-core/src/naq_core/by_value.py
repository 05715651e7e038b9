"""Pickling with cloudpickle: functions by value, with the names of the files that they are from."""

from collections import ChainMap
from io import BytesIO
from types import CodeType
from typing import Any, ClassVar

import cloudpickle

_reduce: Any = cloudpickle.Pickler.dispatch_table[CodeType]
_NO_FILE = "<dynamic-code>"


def _reduce_code(code: CodeType) -> tuple[Any, ...]:
    """Put the file's name back: cloudpickle replaces it, and tracebacks of the function could not show its lines."""
    make, arguments = _reduce(code)
    return make, tuple(code.co_filename if each == _NO_FILE else each for each in arguments)


class _Pickler(cloudpickle.Pickler):  # type: ignore[misc]  # cloudpickle has no types
    dispatch_table: ClassVar[ChainMap[Any, Any]] = ChainMap({CodeType: _reduce_code}, cloudpickle.Pickler.dispatch_table)


def dumps(value: Any) -> bytes:
    """Pickle a value.

    Raises:
        Exception: Whatever pickling it raises.
    """
    with BytesIO() as file:
        _Pickler(file, protocol=5).dump(value)
        return file.getvalue()
