"""The worker's figures: counted in memory, stored every ten seconds as sums."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterable

from naq_core.broker import Connection, consumer_state
from naq_core.errors import NaqError
from naq_core.metrics import LEVELS, Recorder
from naq_core.record import JobRecord, JobState

__all__ = ["Metrics"]

log = logging.getLogger(__name__)

LAST = 1.0
"""Seconds that storing the last figures may take at the end."""
OUTCOMES = {
    JobState.SUCCEEDED: "succeeded",
    JobState.DEAD: "failed",
    JobState.RETRYING: "retried",
    JobState.CANCELLED: "cancelled",
}


class Metrics:
    """Counts attempts, looks at the depth of the worker's queues, and stores both.

    Figures are for charts: what cannot be stored is lost with a line in the log, and never disturbs a job.
    """

    def __init__(self, connection: Connection, worker_id: str, places: Iterable[tuple[str, str]]) -> None:
        self._connection = connection
        self._recorder = Recorder(worker_id)
        self._places = sorted(set(places))
        self._task: asyncio.Task[None] | None = None
        self._complained = False

    def note(self, record: JobRecord, seconds: float) -> None:
        """Count an attempt that has come to its end."""
        wait = record.started_at - record.enqueued_at if record.attempt <= 1 and record.enqueued_at else None
        self._recorder.note(record.queue, record.function, OUTCOMES.get(record.state, ""), wait, seconds)

    def note_fast(self, queue: str, function: str, wait: float, seconds: float) -> None:
        """Count a success that has no record."""
        self._recorder.note(queue, function, "succeeded", wait, seconds)

    def start(self) -> None:
        """Begin to store."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name="naq-metrics")

    async def stop(self) -> None:
        """Store what is left, if that goes quickly."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        if self._connection.is_connected:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LAST):
                    await self._store()

    async def _run(self) -> None:
        step = LEVELS[0].step
        while True:
            await asyncio.sleep(step - time.time() % step)
            if not self._connection.is_connected:
                continue
            await self._look()
            await self._store()

    async def _look(self) -> None:
        depths: dict[str, int] = {}
        try:
            for queue, level in self._places:
                waiting = (await consumer_state(self._connection, queue, level)).pending
                depths[queue] = depths.get(queue, 0) + waiting
        except NaqError as error:
            log.debug("the depth of the queues is not known: %s", error)
            return
        for queue, waiting in depths.items():
            self._recorder.note_depth(queue, waiting)

    async def _store(self) -> None:
        try:
            # What was counted up to the turn of a stretch belongs to the stretch that has just ended.
            await self._recorder.store(self._connection, time.time() - 1.0)
        except NaqError as error:
            log.log(logging.DEBUG if self._complained else logging.WARNING, "figures for charts are not stored: %s", error)
            self._complained = True
