"""FastAPI: the lifespan opens one queue, and dependencies give it to routes."""

from typing import Annotated, TypeAlias

try:
    from fastapi import Depends
except ImportError as error:
    raise ImportError('FastAPI is not installed: pip install "naq-client[fastapi]"') from error

from naq_client.contrib.starlette import EXCEPTION_HANDLERS, get_queue, get_sync_queue, lifespan, unavailable
from naq_client.queue import Queue
from naq_client.sync import SyncQueue

__all__ = ["EXCEPTION_HANDLERS", "QueueDep", "SyncQueueDep", "get_queue", "get_sync_queue", "lifespan", "unavailable"]

QueueDep: TypeAlias = Annotated[Queue, Depends(get_queue)]
"""The type of a parameter that gets the application's queue; tests replace it by `app.dependency_overrides[get_queue]`."""
SyncQueueDep: TypeAlias = Annotated[SyncQueue, Depends(get_sync_queue)]
"""As `QueueDep`, for routes without `async`."""
