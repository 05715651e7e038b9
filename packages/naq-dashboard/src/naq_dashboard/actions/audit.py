"""Who did what here: noted in NAQ's audit trail before it is done; who may not do it is refused, which is noted too."""

import asyncio
import logging
from collections.abc import Awaitable, Mapping
from contextlib import AbstractAsyncContextManager

from litestar.exceptions import HTTPException, PermissionDeniedException

from naq_core.audit import Actor, Recording, note_refusal, recorded
from naq_core.errors import NaqError
from naq_core.options import OPTIONS, SCHEDULE_OPTIONS
from naq_core.storage.connection import Connection
from naq_core.tasks import Background
from naq_dashboard.access.roles import Action, Viewer
from naq_dashboard.actions.details import Target
from naq_dashboard.actions.refusals import Refusal, Refusals
from naq_dashboard.nats import Broker

__all__ = ["Audit"]

log = logging.getLogger("naq.audit")

MOMENT = 1.0
"""Seconds for which a dashboard that ends waits for what is still to be noted."""

NOTED = (
    "reason",
    "duration",
    "since",
    "until",
    "limit",
    "concurrency",
    "function",
    *OPTIONS.keys() - {"job_id"},
    *SCHEDULE_OPTIONS.keys() - {"schedule_id"},
)
"""Fields that become details of an entry. Arguments do not: nobody knows what is secret in them."""


class Audit:
    """Notes actions, logins, and what was refused."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._refusals = Refusals(self._report)
        self._background = Background()

    def recorded(
        self, connection: Connection, viewer: Viewer, action: str, target: Target | str, order: object = None
    ) -> AbstractAsyncContextManager[Recording]:
        """Note an action, run the body, and add its outcome.

        Args:
            order: What the action takes, as a struct or as a form's fields.

        Raises:
            NaqError: It cannot be noted, so it must not be done.
        """
        name, queue = (target.name, target.queue) if isinstance(target, Target) else (target, "")
        given = order if isinstance(order, Mapping) else {each: getattr(order, each, None) for each in NOTED}
        details = {"queue": queue, **{each: given[each] for each in NOTED if given.get(each)}}
        return recorded(connection, _actor(viewer), action, name, details, refusals=(NaqError, HTTPException))

    def require(self, viewer: Viewer, action: Action, verb: str, target: str) -> None:
        """Refuse what the viewer may not do.

        Args:
            verb: What they want to do: an action covers several.

        Raises:
            PermissionDeniedException: It is not among their actions.
        """
        if not viewer.may(action):
            told = f"{viewer.name or 'an anonymous user'} is not allowed to {action}"
            self.refused(_actor(viewer), verb, target, told)
            raise PermissionDeniedException(told)

    def refused(self, actor: Actor, action: str, target: str, reason: str, address: str = "") -> None:
        """Log a refused attempt, and note it as far as that works: nothing was done, so nobody waits for it.

        Of attempts that differ in nothing but their target, the first is noted at once and the others as a sum (`Refusals`).
        """
        self._refusals.add(Refusal(actor, action, reason, address), target)

    def logged(self, viewer: Viewer, action: str, address: str, session: str = "") -> None:
        """Log that somebody has logged in or out, and note it as far as that works: looking is possible without NATS too.

        Args:
            session: The mark of the session that a logout ends; every dashboard reads it in the trail.
        """
        log.info("%s by %r from %s", action, viewer.name, address)
        self._later(self._note_login(viewer, action, address, session))

    async def close(self) -> None:
        """Wait for a moment for what is to be noted."""
        self._refusals.close()
        if self._background.tasks:
            await asyncio.wait(self._background.tasks, timeout=MOMENT)
        await self._background.close()

    def _later(self, work: Awaitable[None]) -> None:
        async def run() -> None:
            try:
                await work
            except NaqError as error:
                log.warning("not stored in the audit trail: %s", error)

        _ = self._background.start(run(), "naq-dashboard-audit")

    def _report(self, refusal: Refusal, target: str, count: int) -> None:
        actor, action, reason, address = refusal
        times = "" if count == 1 else f", {count:,} times"
        log.warning(
            "%s %r refused to %r (%s) %s: %s%s", action, target[:200], actor.name[:200], actor.how, address, reason, times
        )
        self._later(self._note_refusal(refusal, target, count))

    async def _note_refusal(self, refusal: Refusal, target: str, count: int) -> None:
        actor, action, reason, address = refusal
        details = {"from": address, "count": "" if count == 1 else count}
        try:
            await note_refusal(await self._broker.connection(), actor, action, target, reason, details)
        except NaqError:
            self._refusals.give_back(refusal, target, count)
            raise

    async def _note_login(self, viewer: Viewer, action: str, address: str, session: str) -> None:
        details = {"from": address, "session": session}
        async with recorded(await self._broker.connection(), _actor(viewer), action, "", details):
            pass


def _actor(viewer: Viewer) -> Actor:
    return Actor(viewer.name, viewer.by)
