"""Log lines to standard error: if they are not read, they are dropped, and the process goes on."""

import logging
import sys
from typing import IO

from naq_core.platforms import has_room

PATIENCE = 1.0
"""Seconds that a line waits for a reader; those after it are dropped at once, until there is room again."""


class LineOutput:
    """Writes lines to a stream, unless that is a full pipe.

    Args:
        stream: Standard output or error.
    """

    def __init__(self, stream: IO[str]) -> None:
        self.stream = stream
        self._dropped = 0

    def write(self, lines: str) -> None:
        """Write lines, each with its end, or count them as dropped."""
        if self._dropped and self._write(f"{self._dropped} log lines were dropped: standard error is not read\n", 0):
            self._dropped = 0
        if not self._write(lines, 0 if self._dropped else PATIENCE):
            self._dropped += lines.count("\n")

    def _write(self, text: str, patience: float) -> bool:
        """Write in pieces that a pipe with room takes whole; return whether all was written."""
        size = 4096 if text.isascii() else 1024
        for start in range(0, len(text), size):
            if not has_room(self.stream, patience):
                return False
            self.stream.write(text[start : start + size])
            self.stream.flush()
        return True


class LineHandler(logging.StreamHandler[IO[str]]):
    """Writes each record to standard error, unless that is a full pipe."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)
        self._output = LineOutput(self.stream)

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, or count it as dropped."""
        try:
            self._output.stream = self.stream
            self._output.write(f"{self.format(record)}\n")
        except Exception:  # noqa: BLE001 - as each handler of the standard library
            self.handleError(record)

    def flush(self) -> None:
        """Do nothing: each record is flushed, and a full pipe must not hold up the end of the process."""
