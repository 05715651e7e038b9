"""NAQ in FastAPI, with a worker in the same process: `uvicorn fastapi_app:app`."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, cast

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse
from shop_jobs import price, receipt

from naq_client import Queue
from naq_core import BrokerError, JobNotFoundError, JobTimeoutError
from naq_worker import Worker


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open one queue for all requests, and run a worker until the server stops."""
    # A request waits 2 s at most for a NATS server that is away, instead of 30 s.
    async with Queue(publish_budget=2) as queue:
        app.state.queue = queue
        worker = Worker(queue.name)  # leaves SIGTERM and Ctrl-C to the web server
        running = asyncio.create_task(worker.run())
        try:
            yield
        finally:
            worker.stop()
            await running


def get_queue(request: Request) -> Queue:
    """Give a route the queue."""
    return cast("Queue", request.app.state.queue)


Jobs = Annotated[Queue, Depends(get_queue)]
app = FastAPI(lifespan=lifespan)


@app.post("/orders/{number}", status_code=202)
async def order(number: int, queue: Jobs) -> dict[str, str]:
    """Enqueue, and answer at once. The chosen id makes it harmless to send the request again."""
    job = await queue.options(job_id=f"receipt-{number}").enqueue(receipt, number)
    return {"job_id": job.job_id}


@app.get("/jobs/{job_id}")
async def state(job_id: str, queue: Jobs) -> dict[str, str]:
    """Tell how a job is getting on."""
    job = await queue.job(job_id)
    try:
        return {"state": await job.status()}
    except JobNotFoundError as error:
        raise HTTPException(404, str(error)) from error


@app.get("/price/{pieces}")
async def ask_price(pieces: int, queue: Jobs) -> dict[str, int]:
    """Wait for a result, for as long as a client of ours waits."""
    job = await queue.enqueue(price, pieces)
    return {"price": await job.result(timeout=10)}


@app.exception_handler(BrokerError)
@app.exception_handler(JobTimeoutError)
async def later(_: Request, error: Exception) -> JSONResponse:
    """Answer 503 when the NATS server is away, or no worker has ended the job in time."""
    return JSONResponse({"detail": str(error)}, status_code=503, headers={"Retry-After": "5"})
