"""NAQ in FastAPI, with a worker in the same process: `uvicorn fastapi_app:app`."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, HTTPException
from shop_jobs import price, receipt

from naq_client.contrib.fastapi import EXCEPTION_HANDLERS, QueueDep, SyncQueueDep, lifespan
from naq_core import JobNotFoundError
from naq_worker import Worker


@asynccontextmanager
async def with_worker(_: FastAPI) -> AsyncIterator[None]:
    """Run a worker until the server stops. Leave this out where `naq worker` runs beside it."""
    worker = Worker("default")  # leaves SIGTERM and Ctrl-C to the web server
    running = asyncio.create_task(worker.run())
    try:
        yield
    finally:
        worker.stop()
        await running


app = FastAPI(lifespan=lifespan(inner=with_worker), exception_handlers=EXCEPTION_HANDLERS)


@app.post("/orders/{number}", status_code=202)
async def order(number: int, queue: QueueDep) -> dict[str, str]:
    """Enqueue, and answer at once. The chosen id makes it harmless to send the request again."""
    job = await queue.options(job_id=f"receipt-{number}").enqueue(receipt, number)
    return {"job_id": job.job_id}


@app.get("/jobs/{job_id}")
async def state(job_id: str, queue: QueueDep) -> dict[str, str]:
    """Tell how a job is getting on."""
    job = await queue.job(job_id)
    try:
        return {"state": await job.status()}
    except JobNotFoundError as error:
        raise HTTPException(404, str(error)) from error


@app.get("/price/{pieces}")
async def ask_price(pieces: int, queue: QueueDep) -> dict[str, int]:
    """Wait for a result, for as long as a client of ours waits."""
    job = await queue.enqueue(price, pieces)
    return {"price": await job.result(timeout=10)}


@app.get("/sync-price/{pieces}")
def ask_price_in_thread(pieces: int, queue: SyncQueueDep) -> dict[str, int]:
    """Do the same in a route without `async`, which runs in a thread."""
    return {"price": queue.enqueue(price, pieces).result(timeout=10)}
