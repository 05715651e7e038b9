"""When jobs started and ended, written by the jobs into one shared file and read by the benchmark."""

import mmap
import os
from functools import cache
from pathlib import Path
from time import monotonic
from typing import Self

VARIABLE = "NAQ_BENCH_STAMPS"
"""The environment variable that tells workers the file."""
_SLOT = 8 + 8 + 1


class Stamps:
    """One slot per job: start and end on the monotonic clock, which processes of one machine share, and the runs."""

    def __init__(self, path: Path) -> None:
        with path.open("r+b") as file:
            size = os.fstat(file.fileno()).st_size
            self._map = mmap.mmap(file.fileno(), size)
        self.slots = size // _SLOT
        view = memoryview(self._map)
        self.start = view[: 8 * self.slots].cast("d")
        self.end = view[8 * self.slots : 16 * self.slots].cast("d")
        self.runs = view[16 * self.slots :]

    @classmethod
    def create(cls, path: Path, slots: int) -> Self:
        """Make a file with empty slots."""
        path.write_bytes(bytes(_SLOT * slots))
        return cls(path)

    def begin(self, slot: int) -> None:
        """Note that a job starts; of several runs, the first counts."""
        if not self.runs[slot]:
            self.start[slot] = monotonic()

    def finish(self, slot: int) -> None:
        """Note that a job has run."""
        self.end[slot] = monotonic()
        self.runs[slot] = min(255, self.runs[slot] + 1)

    def count(self) -> int:
        """Return how many jobs have run."""
        return self.slots - bytes(self.runs).count(0)

    def rate(self) -> float:
        """Return jobs per second between the first start and the last end."""
        return (self.slots - 1) / (max(self.end) - min(self.start))

    def extra_runs(self) -> int:
        """Return how many runs there were beyond one of each job."""
        return sum(self.runs) - self.count()


@cache
def stamps() -> Stamps:
    """Return the stamps that this worker process writes."""
    return Stamps(Path(os.environ[VARIABLE]))
