"""Queues as JSON."""

from typing import Any

from litestar import get
from litestar.params import FromPath

from naq_core.inspect import get_queue, list_queues
from naq_core.views import QueueView
from naq_dashboard.web import AnyRequest, state_of

__all__ = ["QUEUES"]


@get("/api/queues", tags=["queues"])
async def all_queues(request: AnyRequest) -> list[QueueView]:
    """List the queues by name."""
    return await state_of(request).read(list_queues)


@get("/api/queues/{queue:str}", tags=["queues"])
async def one_queue(request: AnyRequest, queue: FromPath[str]) -> QueueView:
    """Return one queue. KEDA's metrics-api scaler can read `waiting` here."""
    return await state_of(request).read(get_queue, queue)


QUEUES: list[Any] = [all_queues, one_queue]
