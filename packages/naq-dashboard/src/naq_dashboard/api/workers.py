"""Workers as JSON."""

import logging
from typing import Any

from litestar import get
from litestar.exceptions import NotFoundException
from litestar.params import FromPath
from litestar.response import Response

from naq_core.errors import BrokerError
from naq_core.inspect import list_workers
from naq_dashboard.web import AnyRequest, state_of

__all__ = ["WORKERS"]

log = logging.getLogger(__name__)


@get("/api/workers", tags=["workers"])
async def list_all_workers(request: AnyRequest) -> Response[list[dict[str, Any]]]:
    """List the living workers.

    While NATS is away the answer is the last list known, empty without one, and says so in the header
    `NAQ-Stale: true`: what watches workers through this address need not be able to tell two kinds of outage apart.
    """
    state = state_of(request)
    try:
        state.last_workers = await state.read(list_workers)
    except BrokerError as error:
        log.info("serving the last known workers: %s", error)
        return Response(state.last_workers, headers={"NAQ-Stale": "true"})
    return Response(state.last_workers)


@get("/api/workers/{worker_id:str}", tags=["workers"])
async def one_worker(request: AnyRequest, worker_id: FromPath[str]) -> dict[str, Any]:
    """Return one living worker.

    Raises:
        NotFoundException: There is nothing with this id.
    """
    for worker in await state_of(request).read(list_workers):
        if worker.get("worker_id") == worker_id:
            return worker
    raise NotFoundException(f"no running worker with id {worker_id[:200]!r}")


WORKERS: list[Any] = [list_all_workers, one_worker]
