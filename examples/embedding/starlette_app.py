"""NAQ in Starlette: `uvicorn starlette_app:app`, and `naq worker` beside it."""

from shop_jobs import price, receipt
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from naq_client.contrib.starlette import EXCEPTION_HANDLERS, get_queue, get_sync_queue, lifespan


async def order(request: Request) -> JSONResponse:
    """Enqueue, and answer at once."""
    job = await get_queue(request).enqueue(receipt, request.path_params["number"])
    return JSONResponse({"job_id": job.job_id}, status_code=202)


async def ask_price(request: Request) -> JSONResponse:
    """Wait for a result."""
    job = await get_queue(request).enqueue(price, request.path_params["pieces"])
    return JSONResponse({"price": await job.result(timeout=10)})


def ask_price_in_thread(request: Request) -> JSONResponse:
    """Do the same in a route without `async`."""
    job = get_sync_queue(request).enqueue(price, request.path_params["pieces"])
    return JSONResponse({"price": job.result(timeout=10)})


app = Starlette(
    routes=[
        Route("/orders/{number:int}", order, methods=["POST"]),
        Route("/price/{pieces:int}", ask_price),
        Route("/sync-price/{pieces:int}", ask_price_in_thread),
    ],
    exception_handlers=EXCEPTION_HANDLERS,
    lifespan=lifespan(),
)
