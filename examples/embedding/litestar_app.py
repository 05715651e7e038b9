"""NAQ in Litestar: `litestar --app litestar_app:app run`, and `litestar --app litestar_app:app workers` beside it."""

from litestar import Litestar, get, post
from litestar.params import FromPath
from shop_jobs import price, receipt

from naq_client.contrib.litestar import NaqPlugin, QueueDep, SyncQueueDep


@post("/orders/{number:int}", status_code=202)
async def order(number: FromPath[int], queue: QueueDep) -> dict[str, str]:
    """Enqueue, and answer at once."""
    job = await queue.enqueue(receipt, number)
    return {"job_id": job.job_id}


@get("/price/{pieces:int}")
async def ask_price(pieces: FromPath[int], queue: QueueDep) -> dict[str, int]:
    """Wait for a result."""
    job = await queue.enqueue(price, pieces)
    return {"price": await job.result(timeout=10)}


@get("/sync-price/{pieces:int}", sync_to_thread=True)
def ask_price_in_thread(pieces: FromPath[int], sync_queue: SyncQueueDep) -> dict[str, int]:
    """Do the same in a thread."""
    return {"price": sync_queue.enqueue(price, pieces).result(timeout=10)}


app = Litestar([order, ask_price, ask_price_in_thread], plugins=[NaqPlugin()])
