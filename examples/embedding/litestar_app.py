"""NAQ in Litestar: `uvicorn litestar_app:app`, and `naq worker` beside it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

from litestar import Litestar, Request, Response, get, post
from litestar.datastructures import State
from litestar.di import Provide
from shop_jobs import price, receipt

from naq_client import Queue
from naq_core import BrokerError


@asynccontextmanager
async def lifespan(app: Litestar) -> AsyncIterator[None]:
    """Open one queue for all requests."""
    async with Queue(publish_budget=2) as queue:
        app.state.queue = queue
        yield


async def get_queue(state: State) -> Queue:
    """Give a handler the queue."""
    return cast("Queue", state.queue)


@post("/orders/{number:int}", status_code=202)
async def order(number: int, queue: Queue) -> dict[str, str]:
    """Enqueue, and answer at once."""
    job = await queue.enqueue(receipt, number)
    return {"job_id": job.job_id}


@get("/price/{pieces:int}")
async def ask_price(pieces: int, queue: Queue) -> dict[str, int]:
    """Wait for a result."""
    job = await queue.enqueue(price, pieces)
    return {"price": await job.result(timeout=10)}


def later(_: Request[Any, Any, Any], error: BrokerError) -> Response[dict[str, str]]:
    """Answer 503 when the NATS server is away."""
    return Response({"detail": str(error)}, status_code=503)


app = Litestar(
    [order, ask_price],
    lifespan=[lifespan],
    dependencies={"queue": Provide(get_queue)},
    exception_handlers={BrokerError: later},
)
