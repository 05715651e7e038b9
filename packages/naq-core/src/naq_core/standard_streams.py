"""Standard output and error of a command: what the terminal cannot show is escaped, and a write that fails ends in one line.

Python itself raises UnicodeEncodeError or BrokenPipeError at whatever was printed, and complains once more at its exit.
"""

import codecs
import errno
import io
import sys
import threading
from typing import TextIO

BROKEN_PIPE = 141
"""The exit code where the reader of the output has gone, as the shell reports a program that SIGPIPE ended (128 + 13)."""
FAILED = 1
"""The exit code where the output could not be written for another reason, such as a full disk."""

_MARKS = {
    "\N{HORIZONTAL ELLIPSIS}": "~",
    "\N{EN DASH}": "-",
    "\N{MIDDLE DOT}": "-",
    "\N{RIGHTWARDS ARROW}": ">",
    "\N{FULL BLOCK}": "#",
    "\N{LOWER SEVEN EIGHTHS BLOCK}": "#",
    "\N{LIGHT SHADE}": ".",
}
"""Replacements on a terminal without Unicode for the marks that NAQ's tables use: one character each, so that columns stay."""
_STRICT = frozenset({"strict", "surrogateescape"})
"""The error handlers that Python chooses by itself. Another one was asked for with PYTHONIOENCODING and stays."""


class OutputError(Exception):
    """Standard output cannot be written; raised once, by the first write that fails. Later ones are dropped."""


class _Descriptor(io.FileIO):
    """A standard stream's descriptor, whose errors do not come back when the interpreter flushes it at its end."""

    def __init__(self, number: int) -> None:
        super().__init__(number, "w", closefd=False)

    def write(self, data: "io.ReadableBuffer", /) -> int:  # type: ignore[name-defined]
        """Write, or drop what cannot be written: this stream cannot report it."""
        try:
            return super().write(data)
        except OSError:  # a later write may succeed: the disk of a log has room again
            return memoryview(data).nbytes


class _Answer(_Descriptor):
    """The descriptor of a command's answer, which is no use unless it arrives."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.failure: OSError | None = None
        self.is_log = False
        self._has_raised = False

    def write(self, data: "io.ReadableBuffer", /) -> int:  # type: ignore[name-defined]
        """Write, and raise OutputError in the main thread at the first failure."""
        if self.is_log:
            return super().write(data)
        if self.failure is None:
            try:
                return io.FileIO.write(self, data)
            except OSError as error:
                self.failure = error
        # In another thread, such as that of a progress bar, it would only be printed.
        if not self._has_raised and threading.current_thread() is threading.main_thread():
            self._has_raised = True
            raise OutputError from self.failure
        return memoryview(data).nbytes


def _escape(error: UnicodeError) -> tuple[str | bytes, int]:
    if isinstance(error, UnicodeEncodeError) and (mark := _MARKS.get(error.object[error.start])):
        return mark, error.start + 1
    if isinstance(error, UnicodeEncodeError):  # one character at a time: a mark may follow
        error.end = error.start + 1
    return codecs.backslashreplace_errors(error)


codecs.register_error("naq_core.escape", _escape)


def guard_standard_streams() -> None:
    """Replace `sys.stdout` and `sys.stderr`, unless somebody else has done so, by streams that escape and end as said above."""
    sys.stdout = _guarded(sys.stdout, _Answer)
    sys.stderr = _guarded(sys.stderr, _Descriptor)


def treat_output_as_log() -> None:
    """Drop what cannot be written to standard output from now on: a service goes on when the output of jobs is not read."""
    if (answer := _answer()) is not None:
        answer.is_log = True


def output_failure() -> OSError | None:
    """Return why standard output could not be written, if it could not."""
    return None if (answer := _answer()) is None else answer.failure


def flush_output() -> int | None:
    """Write what is still buffered; where that or an earlier write failed, say why and return the exit code."""
    try:
        sys.stdout.flush()
    except OutputError:
        pass
    except OSError as error:  # not guarded
        return unwritable(error)
    return None if (failure := output_failure()) is None else unwritable(failure)


def unwritable(error: OSError) -> int:
    """Say on standard error why standard output cannot be written, and return the exit code.

    Nothing is said where the reader has gone, as `head` does when it has seen enough.
    """
    guard_standard_streams()  # what an unguarded stream still holds is dropped
    if error.errno == errno.EPIPE:
        return BROKEN_PIPE
    sys.stderr.write(f"naq: cannot write to standard output: {error.strerror or error}\n")
    return FAILED


def _answer() -> _Answer | None:
    buffer = getattr(sys.stdout, "buffer", None)
    raw = getattr(buffer, "raw", buffer)
    return raw if isinstance(raw, _Answer) else None


def _guarded(stream: TextIO, kind: type[_Descriptor]) -> TextIO:
    if not isinstance(stream, io.TextIOWrapper):
        return stream
    raw = getattr(stream.buffer, "raw", stream.buffer)
    if type(raw) is not io.FileIO:  # a Windows console, or guarded already
        return stream
    descriptor = kind(raw.fileno())
    return io.TextIOWrapper(
        descriptor if stream.write_through else io.BufferedWriter(descriptor),  # unbuffered, as with -u
        encoding=stream.encoding,
        errors=_errors(stream),
        newline="\n",
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def _errors(stream: io.TextIOWrapper) -> str:
    if stream.errors is not None and stream.errors not in _STRICT:
        return stream.errors
    return "naq_core.escape" if stream.isatty() else "backslashreplace"
