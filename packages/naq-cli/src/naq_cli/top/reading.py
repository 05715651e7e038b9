"""What the screen shows, read at one moment."""

import asyncio
import time
from typing import Any, NamedTuple

import msgspec

from naq_core.connection import Connection
from naq_core.errors import InvalidOptionError
from naq_core.inspect import broker_info, list_jobs, list_queues, list_workers
from naq_core.record import JobState
from naq_core.views import BrokerView, JobFilter, JobView, QueueView

MOST_JOBS = 100
SECONDS = 0.5
"""How long to look for jobs at most: a filter may match few of many. The next picture goes on from there."""
DEAD = frozenset({JobState.DEAD})


class Picture(NamedTuple):
    """Everything that the screen shows."""

    broker: BrokerView
    queues: list[QueueView]
    workers: list[dict[str, Any]]
    jobs: list[JobView]
    failures: list[JobView]
    per_second: float | None
    """Attempts that the living workers have made since the picture before; None where that is not known."""

    @property
    def slots(self) -> tuple[int, int]:
        """How many jobs the workers run, and how many they can run at a time."""
        busy = sum(len(worker.get("running") or ()) for worker in self.workers)
        return busy, sum(_number(worker, "concurrency") for worker in self.workers)


class PictureReader:
    """Reads one picture after the other.

    Args:
        wanted: Which jobs to show.
    """

    def __init__(self, connection: Connection, wanted: JobFilter) -> None:
        self._connection = connection
        self._jobs = _JobList(connection, wanted)
        self._failures = _JobList(connection, msgspec.structs.replace(wanted, states=DEAD))
        self._before: tuple[int, float] | None = None

    async def read(self) -> Picture:
        """Read everything at once.

        Raises:
            BrokerError: The server does not answer.
        """
        connection = self._connection
        broker, queues, workers, jobs, failures = await asyncio.gather(
            broker_info(connection),
            list_queues(connection),
            list_workers(connection),
            self._jobs.read(),
            self._failures.read(),
        )
        return Picture(broker, queues, workers, jobs, failures, self._rate(workers))

    def _rate(self, workers: list[dict[str, Any]]) -> float | None:
        done, now = sum(_number(worker, "processed") for worker in workers), time.monotonic()
        before, self._before = self._before, (done, now)
        if before is None or done < before[0]:  # a worker has gone with what it had counted
            return None
        return (done - before[0]) / (now - before[1])


class _JobList:
    """The newest jobs that match: what was found last stays until as many are found again, or all."""

    def __init__(self, connection: Connection, wanted: JobFilter) -> None:
        self._connection = connection
        self._wanted = wanted
        self._shown: list[JobView] = []
        self._found: list[JobView] = []
        self._cursor: str | None = None

    async def read(self) -> list[JobView]:
        left = MOST_JOBS - len(self._found)
        try:
            page = await list_jobs(self._connection, self._wanted, left, self._cursor, max_seconds=SECONDS)
        except InvalidOptionError:
            if self._cursor is None:
                raise
            self._found, self._cursor = [], None  # queues have come or gone: the list has other parts now
            return self._shown
        found, self._found, self._cursor = [*self._found, *page.jobs], [], None
        is_whole = page.cursor is None or len(found) >= MOST_JOBS
        if not is_whole:
            self._found, self._cursor = found, page.cursor
        if is_whole or len(found) > len(self._shown):
            self._shown = found
        return self._shown


def _number(worker: dict[str, Any], name: str) -> int:
    value = worker.get(name)
    return value if isinstance(value, int) else 0
