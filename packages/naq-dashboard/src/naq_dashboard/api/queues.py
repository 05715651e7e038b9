"""Queues, and the figures of the overview, as JSON."""

import asyncio
from typing import Any

import msgspec
from litestar import get
from litestar.params import FromPath

from naq_core.inspect import broker_info, get_queue, list_queues, list_workers
from naq_core.views import BrokerView, Problem, QueueView
from naq_dashboard.queries.queues import problems, totals
from naq_dashboard.web import AnyRequest, state_of

__all__ = ["QUEUES", "Overview"]


class Overview(msgspec.Struct, kw_only=True):
    """The overview's statistics."""

    totals: dict[str, int]
    queues: list[QueueView]
    workers: int
    slots: int
    broker: BrokerView


@get("/api/overview", tags=["overview"])
async def overview(request: AnyRequest) -> Overview:
    """Return totals, queues, and how many workers there are."""
    state = state_of(request)
    queues, workers, broker = await asyncio.gather(state.read(list_queues), state.read(list_workers), state.read(broker_info))
    slots = sum(each["concurrency"] for each in workers if isinstance(each.get("concurrency"), int))
    return Overview(totals=totals(queues), queues=queues, workers=len(workers), slots=slots, broker=broker)


@get("/api/attention", tags=["overview"])
async def attention(request: AnyRequest) -> list[Problem]:
    """List what is broken, the worst first: each with its cause, since when, and what to do. `naq doctor` says the same."""
    return await problems(state_of(request).read)


@get("/api/queues", tags=["queues"])
async def all_queues(request: AnyRequest) -> list[QueueView]:
    """List the queues by name."""
    return await state_of(request).read(list_queues)


@get("/api/queues/{queue:str}", tags=["queues"])
async def one_queue(request: AnyRequest, queue: FromPath[str]) -> QueueView:
    """Return one queue. KEDA's metrics-api scaler can read `queued` here."""
    return await state_of(request).read(get_queue, queue)


QUEUES: list[Any] = [overview, attention, all_queues, one_queue]
