"""Workers that start jobs before they claim them."""

from __future__ import annotations

from naq_client import Queue
from naq_worker import Worker
from naq_worker._late import Late
from naq_worker._life import Life
from tests.support.eventually import eventually


def life_of(worker: Worker) -> Life:
    """Return the parts of a worker that runs."""
    assert worker._life is not None
    return worker._life


def late_of(worker: Worker) -> Late:
    """Return what lets the worker's jobs start before they are claimed."""
    return life_of(worker)._processor.claims.late


async def make_late(queue: Queue, worker: Worker) -> None:
    """Run jobs until one has started unclaimed: by then the worker knows what it has to know of the server for that."""

    async def starts_unclaimed() -> None:
        started = late_of(worker).started
        await (await queue.enqueue(_nothing)).result(timeout=20)
        assert late_of(worker).started > started

    await eventually(starts_unclaimed)


async def _nothing() -> None:
    return
