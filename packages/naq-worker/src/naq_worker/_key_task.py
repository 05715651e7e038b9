"""What is to be done for a key, and whom to tell when it is done (`docs/adr/0054-keys.md`)."""

import asyncio
from collections.abc import Mapping
from typing import Any

from naq_core.errors import BrokerError
from naq_core.storage.asks import Ask
from naq_core.storage.deliveries import Delivery
from naq_core.storage.releasing import Work


class KeyTask:
    """What is to be done for a key, and whom to tell when it is done."""

    __slots__ = ("asks", "bells", "due", "ended", "failures", "is_alone", "is_own", "starts", "work")

    def __init__(self, work: Work) -> None:
        self.work = work
        self.bells: list[Delivery] = []
        self.ended: list[Delivery] = []
        self.starts: dict[str, asyncio.Future[float]] = {}
        """By the ids of jobs that are about to start: to be told when they may."""
        self.asks: list[asyncio.Future[None]] = []
        """To be told that all is done: other workers have asked for it."""
        self.is_own = False
        """To be done by this worker, as another one did not do it."""
        self.due = 0.0
        self.failures = 0
        self.is_alone = False
        """The server has refused a round with it: it must not stand in the way of others."""

    def merge(self, later: "KeyTask") -> None:
        """Add what has come for the key since: what was seen before may be old by now."""
        self.work.rule = later.work.rule
        self.work.at = max(self.work.at, later.work.at)
        self.work.ended |= later.work.ended
        self.work.starting |= later.work.starting
        self.begin(later.starts)
        self.work.listed_at = max(self.work.listed_at, later.work.listed_at)
        self.work.checks |= later.work.checks
        self.work.is_rung |= later.work.is_rung
        self.work.has_levels |= later.work.has_levels
        self.work.is_seen = self.work.has_written = False
        self.bells += later.bells
        self.ended += later.ended
        self.asks += later.asks

    def begin(self, starts: Mapping[str, "asyncio.Future[float]"]) -> None:
        """Add jobs that are about to start. One that two workers are about to start is left to the one that asked last."""
        for job_id, start in starts.items():
            before = self.starts.get(job_id)
            if before is not None and not before.done():
                before.set_exception(BrokerError(f"another worker starts job {job_id}, too"))
            self.starts[job_id] = start

    def take(self, ask: Ask) -> "list[asyncio.Future[float]]":
        """Add what another worker asks for; return what tells when its jobs may start, in their order."""
        loop = asyncio.get_running_loop()
        work = self.work
        work.ended |= ask.ended
        work.starting |= ask.starting
        work.listed_at, work.at = max(work.listed_at, ask.listed_at), max(work.at, ask.at)
        work.checks, work.is_rung = work.checks or ask.checks, work.is_rung or ask.is_rung
        work.has_levels |= ask.has_levels
        starts = {job_id: loop.create_future() for job_id in ask.starting}
        self.begin(starts)
        self.asks.append(loop.create_future())
        return list(starts.values())

    def asked(self) -> Ask:
        """Return what to ask another worker for."""
        work = self.work
        flags = work.checks, work.is_rung, work.has_levels
        return Ask(work.key[1], work.ended, work.starting, work.listed_at, work.at, *flags)

    def answer(self) -> None:
        """Tell the jobs that are about to start what has become of it."""
        for job_id, seconds in self.work.answers.items():
            start = self.starts.pop(job_id)
            if not start.done():  # else its task was cancelled
                start.set_result(seconds)
        self.work.answers.clear()

    def end(self) -> None:
        """Tell the workers that have asked for it that all is done."""
        for each in self.asks:
            if not each.done():  # else they wait no more
                each.set_result(None)

    def fail(self, error: BrokerError) -> None:
        """Leave the jobs that are about to start to their next delivery, and the rest to the workers that have asked for it."""
        waiting: list[asyncio.Future[Any]] = [*self.starts.values(), *self.asks]
        for each in waiting:
            if not each.done():
                each.set_exception(error)
