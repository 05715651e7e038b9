"""An append-only record of what clients, jobs and faults did, shared by many processes.

Every process appends whole lines to one file opened with `O_APPEND`, so that lines of different
processes do not mix and a killed process loses nothing it has written. The stamps come from a
clock that all processes of one machine share and that nobody can set.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HISTORY_VARIABLE = "NAQ_TEST_HISTORY"


def boottime() -> float:
    """Return seconds on the machine's boot-time clock (monotonic where there is none)."""
    clock = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
    return time.clock_gettime(clock)


@dataclass(frozen=True)
class Event:
    """One line of a history.

    Attributes:
        kind: What happened: `enq_invoke`, `enq_ok`, `enq_unknown`, `enq_fail`, `start`, `end`,
            `effect`, `terminal`, `due` (a time of a schedule), `fault`, `drained` or `gauge`.
        at: When, in seconds of `boottime`.
        fields: Everything else, depending on the kind.
    """

    kind: str
    at: float
    fields: dict[str, Any] = field(default_factory=dict)

    @property
    def job(self) -> str:
        """The id of the job that the event is about."""
        return str(self.fields["job"])


class History:
    """A history file.

    Args:
        path: The file; created when missing.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        self._file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._running: Counter[int] = Counter()
        self._counted = 0

    def record(self, kind: str, **fields: Any) -> None:
        """Append one event, stamped now."""
        line = json.dumps({"kind": kind, "at": boottime(), **fields})
        os.write(self._file, line.encode() + b"\n")

    @contextmanager
    def fault(self, name: str, worker: int | None = None) -> Iterator[None]:
        """Record the body as a fault window; `worker` narrows it to one process id."""
        since = boottime()
        try:
            yield
        finally:
            self.record("fault", name=name, worker=worker, t0=since, t1=boottime())

    def events(self, kind: str | None = None, job: str | None = None) -> list[Event]:
        """Return the events so far, oldest first, of one kind and one job if given."""
        found = [event for event in load(self.path) if kind in (None, event.kind) and job in (None, event.fields.get("job"))]
        return sorted(found, key=lambda event: event.at)

    def running(self) -> Counter[int]:
        """Return how many runs each worker process has begun and not ended; reads only what is new since the last call."""
        with self.path.open("rb") as file:
            file.seek(self._counted)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                self._counted += len(line)
                fields = json.loads(line)
                if fields["kind"] in {"start", "end"}:
                    self._running[fields["worker"]] += 1 if fields["kind"] == "start" else -1
        return self._running

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


def load(path: Path | str) -> Iterator[Event]:
    """Yield the events of a history file in the order they were written.

    A last line without its newline is still being written and is left out.
    """
    for line in Path(path).read_bytes().splitlines(keepends=True):
        if line.endswith(b"\n"):
            fields = json.loads(line)
            yield Event(fields.pop("kind"), fields.pop("at"), fields)
