"""Log lines into a pipe that nobody reads."""

import logging
import os

import pytest

from naq_core import log_lines
from naq_core.log_lines import LineHandler
from naq_core.platforms import has_room


@pytest.mark.parametrize("line", ["short", "x" * 50_000, "ü" * 9_000], ids=["short", "long", "not ASCII"])
def test_lines_that_nobody_reads_are_dropped_and_counted(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_lines, "PATIENCE", 0.0)
    reader, writer = os.pipe()
    handler = LineHandler()
    with os.fdopen(reader, "rb", buffering=0) as pipe, os.fdopen(writer, "w", encoding="utf-8") as stream:
        handler.setStream(stream)
        for _ in range(20_000):
            handler.emit(logging.makeLogRecord({"msg": line}))
        assert not has_room(stream)
        pipe.read(1 << 20)
        handler.emit(logging.makeLogRecord({"msg": "again"}))
        assert pipe.read(1 << 20).decode().endswith(" log lines were dropped: standard error is not read\nagain\n")
