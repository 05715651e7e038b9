"""Who did what: every action is logged and published, before it is carried out."""

import logging
import time
from typing import Any

import msgspec

from naq_core.errors import BrokerError
from naq_dashboard.access import Action, Viewer
from naq_dashboard.broker import Broker

__all__ = ["Audit"]

log = logging.getLogger("naq.audit")

LONGEST = 200


class Audit:
    """Notes actions in the log `naq.audit` and on the subject `<namespace>.event.audit.<action>`."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def note(self, viewer: Viewer, action: Action, target: str, words: dict[str, Any]) -> None:
        """Say that somebody is about to do something; form tokens and confirmations are left out."""
        details = {name: str(value)[:LONGEST] for name, value in words.items() if not name.startswith("_") and name != "confirm"}
        log.info(
            "%s %s %s by %s (%s)",
            action,
            target[:LONGEST],
            details,
            viewer.name or "nobody",
            viewer.by,
            extra={"action": str(action)},
        )
        entry = {
            "at": time.time(),
            "action": str(action),
            "target": target[:LONGEST],
            "by": viewer.name,
            "how": viewer.by,
            "details": details,
        }
        try:
            connection = await self._broker.connection()
            subject = f"{connection.names.namespace}.event.audit.{action}"
            await connection.tell_all([subject], msgspec.json.encode(entry), timeout=1)
        except BrokerError as error:
            log.warning("the audit event could not be published: %s", error)
