"""What the screen shows, read at one moment."""

import asyncio
import time
from typing import Any, NamedTuple

import msgspec

from naq_core.connection import Connection
from naq_core.inspect import broker_info, list_jobs, list_queues, list_workers
from naq_core.record import JobState
from naq_core.views import BrokerView, JobFilter, JobView, QueueView

MOST_JOBS = 100
SECONDS = 0.5
"""How long to look for jobs at most: a filter may match few of many."""
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
        self._wanted = wanted
        self._failed = msgspec.structs.replace(wanted, states=DEAD)
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
            list_jobs(connection, self._wanted, MOST_JOBS, max_seconds=SECONDS),
            list_jobs(connection, self._failed, MOST_JOBS, max_seconds=SECONDS),
        )
        return Picture(broker, queues, workers, jobs.jobs, failures.jobs, self._rate(workers))

    def _rate(self, workers: list[dict[str, Any]]) -> float | None:
        done, now = sum(_number(worker, "processed") for worker in workers), time.monotonic()
        before, self._before = self._before, (done, now)
        if before is None or done < before[0]:  # a worker has gone with what it had counted
            return None
        return (done - before[0]) / (now - before[1])


def _number(worker: dict[str, Any], name: str) -> int:
    value = worker.get(name)
    return value if isinstance(value, int) else 0
