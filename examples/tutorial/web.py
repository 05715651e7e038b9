"""The web application of the photo site: `uvicorn web:app`."""

import asyncio
import json
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.responses import FileResponse, StreamingResponse
from photos import FOLDER, make_thumbnails, tell

from naq_client import Job, Queue
from naq_core import JobNotFoundError

HERE = Path(__file__).parent
MOST_BYTES = 20_000_000


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Open one queue for all requests."""
    FOLDER.mkdir(exist_ok=True)
    async with Queue(publish_budget=2) as queue:
        app.state.queue = queue
        yield


app = FastAPI(lifespan=lifespan)


@app.get("/")
async def page() -> FileResponse:
    """Show the page."""
    return FileResponse(HERE / "page.html")


@app.post("/photos", status_code=202)
async def upload(request: Request, mail: str) -> dict[str, str]:
    """Keep a photo, enqueue what is to be done with it, and answer at once."""
    content = bytearray()
    async for part in request.stream():
        content += part
        if len(content) > MOST_BYTES:
            raise HTTPException(413, "A photo may have 20 MB.")
    name = f"{secrets.token_hex(8)}.photo"
    await asyncio.to_thread((FOLDER / name).write_bytes, content)
    thumbnails = make_thumbnails.options(on_success=tell.s(mail), on_dead=tell.s(mail))
    job = await request.app.state.queue.enqueue(thumbnails, name)
    return {"job": job.job_id}


@app.get("/jobs/{job_id}")
async def progress(request: Request, job_id: str) -> StreamingResponse:
    """Send how far a job is, until it has ended."""
    try:
        job = await request.app.state.queue.job(job_id)
        await job.status()
    except JobNotFoundError as error:
        raise HTTPException(404, str(error)) from error
    return StreamingResponse(changes(job), media_type="text/event-stream")


async def changes(job: Job[Any]) -> AsyncIterator[str]:
    """Yield server-sent events: the job's state, how far it is, and the thumbnails in the end."""
    while True:
        view = await job.view()
        shown: dict[str, Any] = {"state": view.state}
        if view.progress is not None:
            shown |= {"done": view.progress.done, "total": view.progress.total}
        if view.state == "succeeded":
            shown["thumbnails"] = await job.result(timeout=5)
        yield f"data: {json.dumps(shown)}\n\n"
        if view.state.is_final:
            return
        await asyncio.sleep(0.2)


@app.get("/thumbnails/{name}")
async def thumbnail(name: str) -> FileResponse:
    """Send a thumbnail."""
    path = FOLDER / Path(name).name
    if path.suffix != ".jpg" or not await asyncio.to_thread(path.is_file):
        raise HTTPException(404, "There is no such thumbnail.")
    return FileResponse(path)
