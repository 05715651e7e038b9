"""Source lines that travel with a function of `__main__`: its file is not there, or another one, where the job runs."""

import linecache
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from types import CodeType, FunctionType
from typing import Annotated, Any
from weakref import WeakKeyDictionary

import msgspec

LONGEST = 4096
"""Characters of source text that one job carries at most."""
MAIN = "__main__"

_found: "WeakKeyDictionary[FunctionType, tuple[SourceText, ...]]" = WeakKeyDictionary()


class SourceText(msgspec.Struct, frozen=True, array_like=True):
    """Consecutive lines of a file."""

    file: str
    """The file's name as tracebacks show it: a path, or the name of a notebook's cell."""
    first: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)]
    """The number of the first line."""
    text: str


def source_of(function: Any) -> tuple[SourceText, ...]:
    """Return the source text of a function of `__main__`, and of those that it calls there, as far as there is room.

    Other functions, and those whose source is not known (`python -c`), give nothing. The text is collected once per function.
    """
    plain = _plain(function)
    if plain is None or plain.__module__ != MAIN:
        return ()
    try:
        return _found[plain]
    except KeyError:
        return _found.setdefault(plain, tuple(_collect(plain)))


@contextmanager
def known(texts: Sequence[SourceText]) -> Iterator[None]:
    """Let tracebacks that are formatted inside show these lines, whatever is in files of these names here."""
    before = {each.file: linecache.cache.get(each.file) for each in texts}
    lines = {file: list(linecache.getlines(file)) for file in before}
    for each in texts:
        new = each.text.splitlines(keepends=True)
        old = lines[each.file]
        old.extend("\n" * (each.first - 1 - len(old)))
        old[each.first - 1 : each.first - 1 + len(new)] = new
    for file, those in lines.items():
        linecache.cache[file] = (sum(map(len, those)), None, those, file)
    try:
        yield
    finally:
        for file, entry in before.items():
            if entry is None:
                linecache.cache.pop(file, None)
            else:
                linecache.cache[file] = entry


def _collect(function: FunctionType) -> Iterator[SourceText]:
    room, seen, queue = LONGEST, {function}, [function]
    for each in queue:  # which grows
        text = _text(each)
        if text is not None and len(text.text) <= room:
            room -= len(text.text)
            yield text
        new = [one for one in _called(each) if one not in seen]
        seen.update(new)
        queue += new


def _text(function: FunctionType) -> SourceText | None:
    code = function.__code__
    numbers = [code.co_firstlineno, *_line_numbers(code)]
    first, last = min(numbers), max(numbers)
    text = "".join(linecache.getlines(code.co_filename, function.__globals__)[first - 1 : last])
    return SourceText(code.co_filename, first, text) if text else None


def _line_numbers(code: CodeType) -> Iterator[int]:
    yield from (line for *_, line in code.co_lines() if line)
    for const in code.co_consts:
        if isinstance(const, CodeType):
            yield from _line_numbers(const)


def _called(function: FunctionType) -> Iterator[FunctionType]:
    """Yield the functions of `__main__` that one names, and those of the classes that it names."""
    named: list[Any] = [function.__globals__.get(name) for name in _names(function.__code__)]
    for cell in function.__closure__ or ():
        with suppress(ValueError):  # empty as yet
            named.append(cell.cell_contents)
    named.append(getattr(function, "__wrapped__", None))
    for each in named:
        members: Iterable[Any] = vars(each).values() if isinstance(each, type) and each.__module__ == MAIN else (each,)
        for member in members:
            plain = _plain(member)
            if plain is not None and plain.__module__ == MAIN:
                yield plain


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for const in code.co_consts:
        if isinstance(const, CodeType):
            yield from _names(const)


def _plain(function: Any) -> FunctionType | None:
    """Return the plain function in a task, a partial, a method or an object with `__call__`; None for anything else."""
    for _ in range(8):
        if isinstance(function, FunctionType):
            return function
        inner = next((found for name in _INNER if (found := _attribute(function, name)) is not None), None)
        function = getattr(type(function), "__call__", None) if inner is None else inner  # noqa: B004 - the class's, to look inside
    return None


_INNER = ("__naq_function__", "__func__", "func")


def _attribute(thing: Any, name: str) -> Any:
    try:
        return getattr(thing, name, None)
    except Exception:  # noqa: BLE001 - whatever the `__getattr__` of a user's object raises
        return None
