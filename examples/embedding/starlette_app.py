"""NAQ in Starlette: `uvicorn starlette_app:app`, and `naq worker` beside it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypedDict

from shop_jobs import price, receipt
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from naq_client import Queue
from naq_core import BrokerError


class State(TypedDict):
    """What the lifespan gives to every request."""

    queue: Queue


@asynccontextmanager
async def lifespan(_: Starlette) -> AsyncIterator[State]:
    """Open one queue for all requests."""
    async with Queue(publish_budget=2) as queue:
        yield {"queue": queue}


async def order(request: Request) -> JSONResponse:
    """Enqueue, and answer at once."""
    queue: Queue = request.state.queue
    job = await queue.enqueue(receipt, request.path_params["number"])
    return JSONResponse({"job_id": job.job_id}, status_code=202)


async def ask_price(request: Request) -> JSONResponse:
    """Wait for a result."""
    queue: Queue = request.state.queue
    job = await queue.enqueue(price, request.path_params["pieces"])
    return JSONResponse({"price": await job.result(timeout=10)})


async def later(_: Request, error: Exception) -> JSONResponse:
    """Answer 503 when the NATS server is away."""
    return JSONResponse({"detail": str(error)}, status_code=503)


app = Starlette(
    routes=[Route("/orders/{number:int}", order, methods=["POST"]), Route("/price/{pieces:int}", ask_price)],
    exception_handlers={BrokerError: later},
    lifespan=lifespan,
)
