"""Processes whose wall clock is wrong and can be set right while they run, and what such processes leave."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from naq_core.schedules.document import decode_document, encode_document
from naq_core.storage.connection import Connection
from naq_core.transport.buckets import read_document

_HOOK = '''
"""Shift what this process takes for the time by the seconds in a file; clocks that nobody can set stay as they are."""
import time

_time, _time_ns = time.time, time.time_ns


def _shift():
    with open({path!r}) as file:
        return float(file.read() or 0)


time.time = lambda: _time() + _shift()
time.time_ns = lambda: _time_ns() + int(_shift() * 1e9)
'''


class WrongClock:
    """A directory that, first on a process's `PYTHONPATH`, shifts the process's wall clock.

    Args:
        directory: An empty place for it.
        shift: Seconds by which the clock is ahead, or behind where it is negative.
    """

    def __init__(self, directory: Path, shift: float) -> None:
        directory.mkdir()
        self._directory = directory
        self._file = directory / "shift"
        self.set(shift)
        (directory / "sitecustomize.py").write_text(_HOOK.format(path=str(self._file)))

    def set(self, shift: float) -> None:
        """Set the clock of the processes that run on it."""
        new = self._file.with_suffix(".new")
        new.write_text(str(shift))
        new.replace(self._file)

    def environment(self, inherited: dict[str, str]) -> dict[str, str]:
        """Return the environment for a process with this clock."""
        return inherited | {"PYTHONPATH": os.pathsep.join([str(self._directory), inherited["PYTHONPATH"]])}


async def make_late(connection: Connection, schedule_id: str, by: timedelta) -> None:
    """Leave a schedule with an interval as it is when its time has passed and no scheduler has fired it."""
    names = connection.names
    found = await read_document(connection, names.schedules_stream, names.schedule(schedule_id))
    document = decode_document(found.data)
    document.anchor = document.watermark = connection.clock.utc() - by - timedelta(seconds=document.spec.interval or 0)
    document.next_at = next(document.times())
    await connection.publish(names.schedule(schedule_id), encode_document(document))


async def put_ahead(connection: Connection, schedule_id: str, by: timedelta) -> None:
    """Leave a schedule as a scheduler whose clock is ahead does."""
    names = connection.names
    found = await read_document(connection, names.schedules_stream, names.schedule(schedule_id))
    document = decode_document(found.data)
    document.move_on(datetime.now(UTC) + by)
    await connection.publish(names.schedule(schedule_id), encode_document(document))
