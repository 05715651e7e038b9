"""Sessions that have been ended before their time."""

import asyncio

from naq_core.audit import latest
from naq_core.errors import NaqError
from naq_core.tasks import Background
from naq_dashboard.access.sessions import BrowserSession
from naq_dashboard.nats import Broker

__all__ = ["EndedSessions"]

LOOK = 5.0
"""Seconds between two looks at what other processes have ended."""
MOST_LOOKED_AT = 300
"""The newest logins and logouts that are looked at."""
PATIENCE = 1.0
"""Seconds that the first request of a process waits to know what was ended before; without NATS it goes on."""


class EndedSessions:
    """Sessions that somebody has logged out of: their cookie may have been copied.

    The audit trail notes each logout with the session's mark. All dashboards of a namespace read it, so a session ends in each of
    them within some seconds, and stays ended after a restart.
    """

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._marks: set[str] = set()
        self._looked_at = float("-inf")
        self._looking: asyncio.Task[None] | None = None
        self._background = Background()

    def end(self, session: BrowserSession) -> None:
        """End a session in this process."""
        self._marks.add(session.mark)

    def knows(self, session: BrowserSession) -> bool:
        """Whether this process knows that it was ended."""
        return session.mark in self._marks

    async def has(self, session: BrowserSession) -> bool:
        """Whether it was ended, as far as this process knows; other processes' logouts are known a moment later."""
        now = asyncio.get_running_loop().time()
        is_first = self._looked_at == float("-inf")
        if now - self._looked_at > LOOK and (self._looking is None or self._looking.done()):
            self._looking = self._background.start(self._look(), "naq-dashboard-logouts")
        if is_first and self._looking is not None:
            await asyncio.wait([self._looking], timeout=PATIENCE)
        return self.knows(session)

    async def close(self) -> None:
        """Stop looking."""
        await self._background.close()

    async def _look(self) -> None:
        try:
            entries = await latest(await self._broker.connection(), "login", MOST_LOOKED_AT)
        except NaqError:
            return  # looking at pages is possible without the audit trail
        finally:
            self._looked_at = asyncio.get_running_loop().time()
        self._marks |= {each.details["session"] for each in entries if each.action == "log-out" and each.details.get("session")}
