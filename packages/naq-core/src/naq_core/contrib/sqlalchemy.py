"""SQLAlchemy: scoped sessions end with the attempt that has used them."""

import threading
from collections.abc import AsyncIterator, Hashable, Iterator
from typing import Any

try:
    from sqlalchemy.ext.asyncio import async_scoped_session
    from sqlalchemy.orm import scoped_session
except ImportError as error:
    raise ImportError("SQLAlchemy is not installed: pip install sqlalchemy") from error

from naq_core.context import running_job
from naq_core.middleware import Attempt

__all__ = ["RemoveAsyncSession", "RemoveSession", "attempt_scope"]


def attempt_scope() -> Hashable:
    """Return what a scoped session belongs to: the running attempt, or where no job runs the thread.

    `scoped_session(factory, scopefunc=attempt_scope)` gives each job a session of its own, also async ones, which share a thread.
    """
    job = running_job()
    return threading.get_ident() if job is None else (job.job_id, job.attempt)


class RemoveSession:
    """Middleware that removes scoped sessions after each attempt: what was not committed is rolled back.

    Args:
        sessions: What `scoped_session` returned.
    """

    def __init__(self, *sessions: scoped_session[Any]) -> None:
        self._sessions = sessions

    def attempt(self, attempt: Attempt) -> Iterator[None]:
        """Run the function, then remove the sessions."""
        del attempt
        try:
            yield
        finally:
            for session in self._sessions:
                session.remove()


class RemoveAsyncSession:
    """As `RemoveSession`, for what `async_scoped_session` returned."""

    def __init__(self, *sessions: async_scoped_session[Any]) -> None:
        self._sessions = sessions

    async def attempt(self, attempt: Attempt) -> AsyncIterator[None]:
        """Run the function, then remove the sessions."""
        del attempt
        try:
            yield
        finally:
            for session in self._sessions:
                await session.remove()
