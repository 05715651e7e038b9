"""What the audit trail says: who did what, what was refused, and what was done last to one thing."""

from datetime import datetime, timedelta

from naq_core.audit import activity, read_trail
from naq_core.errors import PermissionDeniedError
from naq_core.views import AuditEntry, AuditFilter, AuditPage
from naq_dashboard.queries.reader import Reader

__all__ = ["done_lately", "done_to", "find_entries"]

MOST_LOOKED_AT = 5_000
"""Messages of the trail for one page of it."""
RECENT = 8
FRESH = 1.0
LATELY = timedelta(hours=1)
MOST_LATELY = 100
"""Entries of the trail that are looked at for what was done lately."""


async def find_entries(read: Reader, wanted: AuditFilter, limit: int, cursor: str = "") -> AuditPage:
    """Return the next entries that a filter matches, the newest first, masked.

    Raises:
        ConfigurationError: The cursor is of another list.
        BrokerError: The server does not answer.
    """
    return await read(read_trail, wanted, limit, cursor or None, MOST_LOOKED_AT, read.mask)


async def done_lately(read: Reader, now: datetime) -> list[AuditEntry]:
    """Return what somebody has changed within the last hour, the newest first; logins and refused attempts change nothing."""
    try:
        page: AuditPage = await read(read_trail, AuditFilter(), MOST_LATELY, None, MOST_LOOKED_AT, read.mask, fresh=FRESH)
    except PermissionDeniedError:
        return []
    return [each for each in page.entries if each.at > now - LATELY and each.kind != "login" and each.outcome != "refused"]


async def done_to(read: Reader, kind: str, target: str) -> list[AuditEntry]:
    """Return what was done last to one thing; nothing if the trail cannot be read, as the page shows more than that."""
    try:
        return await read(activity, kind, target, RECENT, read.mask, fresh=FRESH)
    except PermissionDeniedError:
        return []
