"""Who did what, and what was refused; and what was done last to one thing."""

from typing import Any

from naq_core.audit import activity, read_trail
from naq_core.errors import PermissionDeniedError
from naq_core.views import AuditEntry, AuditFilter
from naq_dashboard.actions.bulk import BULK
from naq_dashboard.actions.table import VERBS
from naq_dashboard.pages.page import Query
from naq_dashboard.state import AppState

__all__ = ["MOST_LOOKED_AT", "audit", "done_to"]

PAGE = 50
MOST_LOOKED_AT = 5_000
"""Messages of the trail for one page of it."""
RECENT = 8
FRESH = 1.0
TERMS = ("by", "action", "kind", "target", "outcome")
ACTIONS = sorted({*VERBS, *(f"{verb}-jobs" for verb in BULK), "log-in", "log-out"})
OUTCOMES = ("begun", "done", "refused", "failed", "stopped")


async def audit(state: AppState, query: Query) -> dict[str, Any]:
    """Show the audit trail, or what of it a filter matches."""
    terms = {name: query.get(name) for name in TERMS}
    page = await state.read(read_trail, AuditFilter(**terms), PAGE, query.get("cursor") or None, MOST_LOOKED_AT, state.mask)
    return {
        "title": "Audit",
        "found": page,
        "entries": page.entries,
        "terms": {name: value for name, value in terms.items() if value},
        "kept": state.naq_settings.audit_ttl,
        "actions": ACTIONS,
        "outcomes": OUTCOMES,
    }


async def done_to(state: AppState, kind: str, target: str) -> list[AuditEntry]:
    """Return what was done last to one thing; nothing where the trail may not be read, as the page shows more than that."""
    try:
        return await state.read(activity, kind, target, RECENT, state.mask, fresh=FRESH)
    except PermissionDeniedError:
        return []
