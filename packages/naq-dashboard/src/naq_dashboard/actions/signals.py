"""Sending a signal to the jobs that wait for it."""

from typing import Any

import msgspec

from naq_core.manage import send_signal as send
from naq_core.manage.signals import KEPT
from naq_core.option_kinds import TTL
from naq_core.storage.connection import Connection
from naq_dashboard.actions.details import Target, Text
from naq_dashboard.languages import Sentence, said

__all__ = ["NewSignal", "send_signal"]


class NewSignal(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A signal: jobs that wait for its name may start."""

    data: Any = None
    """Values of JSON for the jobs, such as `{"approved": true}`."""
    ttl: Text = ""
    """How long it is kept for jobs that are enqueued later, such as `30d`; 7 days by default."""


async def send_signal(connection: Connection, target: Target, order: NewSignal) -> Sentence:
    """Send a signal; the user who is logged in is its sender."""
    kept = TTL.read(order.ttl.strip(), connection.clock.utc()) if order.ttl.strip() else KEPT
    if await send(connection, target.name, order.data, sender=target.by, ttl=kept):
        return said("Signal %(signal)s is sent.", signal=target.name)
    return said("Signal %(signal)s had been sent before; its data stay as they are.", signal=target.name)
