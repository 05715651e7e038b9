"""Django: database connections are closed around each attempt as around each request."""

import inspect
from collections.abc import AsyncIterator, Iterator

try:
    from asgiref.sync import ThreadSensitiveContext, sync_to_async
    from django.db import close_old_connections, connections, reset_queries
except ImportError as error:
    raise ImportError("Django is not installed: pip install django") from error

from naq_core.middleware import Attempt

__all__ = ["django"]


class ThreadConnections:
    """For plain functions: the connections are those of their thread."""

    def attempt(self, attempt: Attempt) -> Iterator[None]:
        """Close those that have broken or are older than `CONN_MAX_AGE`, before and after the function."""
        if _is_async(attempt):
            yield
            return
        _begin()
        try:
            yield
        finally:
            close_old_connections()


class AsyncConnections:
    """For async functions: Django runs their queries in a thread, which is a new one for each attempt."""

    async def attempt(self, attempt: Attempt) -> AsyncIterator[None]:
        """Let the attempt have a thread of its own, as Django's ASGI handler does for a request, and close its connections."""
        if not _is_async(attempt):
            yield
            return
        async with ThreadSensitiveContext():
            try:
                yield
            finally:
                await sync_to_async(connections.close_all)()


django = (ThreadConnections, AsyncConnections)
"""The middleware: `naq_core.contrib.django:django`."""


def _is_async(attempt: Attempt) -> bool:
    return inspect.iscoroutinefunction(inspect.unwrap(attempt.function))


def _begin() -> None:
    reset_queries()  # with DEBUG they pile up
    close_old_connections()
