"""Who did what, and what was refused."""

from typing import Any

from naq_core.views import AuditFilter
from naq_dashboard.actions.bulk import BULK
from naq_dashboard.actions.table import VERBS
from naq_dashboard.languages import _
from naq_dashboard.pages.page import Query
from naq_dashboard.queries.audit import find_entries
from naq_dashboard.state import AppState

__all__ = ["audit"]

PAGE = 50
TERMS = ("by", "action", "kind", "target", "outcome")
ACTIONS = sorted({*VERBS, *(f"{verb}-jobs" for verb in BULK), "log-in", "log-out"})
OUTCOMES = ("begun", "done", "refused", "failed", "stopped")


async def audit(state: AppState, query: Query) -> dict[str, Any]:
    """Show the audit trail, or what of it a filter matches."""
    terms = {name: query.get(name) for name in TERMS}
    page = await find_entries(state.read, AuditFilter(**terms), PAGE, query.get("cursor"))
    return {
        "title": _("Audit"),
        "found": page,
        "entries": page.entries,
        "terms": {name: value for name, value in terms.items() if value},
        "kept": state.naq_settings.audit_ttl,
        "actions": ACTIONS,
        "outcomes": OUTCOMES,
    }
