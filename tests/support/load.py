"""Enqueue many jobs while things break, and see all of them to their ends."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from naq_client import Queue
from naq_core import BrokerError, DuplicateJobError, EnqueueUnknownError
from naq_core.enqueue.submit import submit
from naq_core.record import JobRecord
from tests.support.eventually import eventually
from tests.support.history import History, boottime
from tests.support.observer import Observer

GIVE_UP_SECONDS = 60.0
Call = tuple[Any, ...]


class Load:
    """Jobs enqueued through one queue, each noted in the history.

    An enqueue with an unknown outcome is repeated with the same id, which promise G2 allows.

    Args:
        queue: An open queue.
        history: Where to note what happened.
        observer: Reads the records at the end.
        name: The queue's name.
        prefix: Starts every job id.
    """

    def __init__(
        self,
        queue: Queue,
        history: History,
        observer: Observer,
        name: str = "default",
        prefix: str = "job",
    ) -> None:
        self.queue = queue
        self.history = history
        self.observer = observer
        self.name = name
        self.accepted: list[str] = []
        self.unknown = 0
        self.refused = 0
        self.false_duplicates: list[str] = []
        self.slowest = 0.0
        self._noted: set[str] = set()
        self._ids = (f"{prefix}-{number:06d}" for number in itertools.count())

    async def enqueue(self, function: Callable[..., Any], *args: Any, **options: Any) -> str:
        """Enqueue one job, repeating while its outcome is unknown or the server is away.

        Every other one has a chosen id, the rest a new one: those are the ones that may run before they are claimed.
        """
        job_id = next(self._ids)
        if job_id[-1] in "02468" and "job_id" not in options:
            return await self._enqueue_new(function, *args, **options)
        await self._accepted([job_id], lambda: self.queue.options(job_id=job_id, **options).enqueue(function, *args))
        return job_id

    async def _enqueue_new(self, function: Callable[..., Any], *args: Any, **options: Any) -> str:
        call = self.queue.options(**options).call(function, *args)
        tries = itertools.count()

        async def enqueue() -> None:
            if next(tries) == 0:
                await submit(self.queue, call)
            else:
                await self.queue.options(job_id=call.job_id, **options).enqueue(function, *args)

        await self._accepted([call.job_id], enqueue)
        return call.job_id

    async def enqueue_many(self, count: int, function: Callable[..., Any], *args: Any) -> list[str]:
        """Enqueue the same call so many times at once, as `enqueue` does: atomically up to 1,000, else in a pipeline."""
        job_ids = list(itertools.islice(self._ids, count))
        calls = [self.queue.options(job_id=job_id).call(function, *args) for job_id in job_ids]
        await self._accepted(job_ids, lambda: self.queue.enqueue_many(calls))
        return job_ids

    async def _accepted(self, job_ids: list[str], enqueue: Callable[[], Awaitable[object]]) -> None:
        self._record("enq_invoke", job_ids)
        since = time.monotonic()
        is_unsure = False
        while True:
            try:
                await enqueue()
                break
            except EnqueueUnknownError:
                is_unsure = True
                self.unknown += 1
                self._record("enq_unknown", job_ids)
            except DuplicateJobError:
                if not is_unsure:
                    self.false_duplicates += job_ids
                break
            except BrokerError:
                self.refused += 1
                self._record("enq_fail", job_ids)
            assert time.monotonic() - since < GIVE_UP_SECONDS, f"{job_ids[0]} was never accepted"
            await asyncio.sleep(0.05)
        self.accepted += job_ids
        self.slowest = max(self.slowest, time.monotonic() - since)
        self._record("enq_ok", job_ids)

    def _record(self, kind: str, job_ids: list[str]) -> None:
        for job_id in job_ids:
            self.history.record(kind, job=job_id)

    @asynccontextmanager
    async def steady(self, make: Callable[[], Call], *, pause: float, clients: int = 1) -> AsyncIterator[None]:
        """Enqueue what `make` returns (function and arguments) again and again during the body."""
        over = asyncio.Event()

        async def client() -> None:
            while not over.is_set():
                await self.enqueue(*make())
                await asyncio.sleep(pause)

        async with asyncio.TaskGroup() as group:
            for _ in range(clients):
                group.create_task(client())
            try:
                yield
            finally:
                over.set()

    async def finish(self, within: float, *, is_long: bool = False) -> dict[str, JobRecord]:
        """Wait until every accepted job has ended and the queue is empty; note it all.

        The gauges of the first call are the base line to which those of a later one are held.

        Args:
            is_long: There may be a backlog of any length: it is enough that something of it ends `within` so many seconds.

        Raises:
            AssertionError: Some did not `within` so many seconds.
        """
        records: dict[str, JobRecord] = {}
        stored = -1

        async def all_ended() -> None:
            nonlocal stored
            live = await self.observer.live(self.name)
            for place in ("dead", "kept"):
                live.pop(place, None)
            stored = live.total()
            assert not stored, f"still stored: {live}"
            assert await self.observer.ack_pending(self.name) == 0
            waiting = [job_id for job_id in self.accepted if job_id not in records]
            found = await self.observer.records(self.name, waiting)
            records.update({k: v for k, v in found.items() if v.state.is_final})
            left = [job_id for job_id in waiting if job_id not in records]
            assert not left, f"gone without an end: {len(left)} of {len(self.accepted)}: {left[:5]}"

        try:
            await eventually(all_ended, within, interval=0.1, progress=(lambda: stored) if is_long else None)
            self.history.record("drained")
            self.history.record("gauge", values=await self.observer.gauges(self.name))
        except AssertionError as error:
            raise AssertionError(f"{error}\n{await self.observer.leftovers(self.name)}") from error
        finally:
            offset = boottime() - time.time()
            for job_id in records.keys() - self._noted:
                record = records[job_id]
                ended_at = record.ended_at + offset if record.ended_at else boottime()
                self.history.record("terminal", job=job_id, state=str(record.state), ended_at=ended_at)
            self._noted |= records.keys()
        return records
