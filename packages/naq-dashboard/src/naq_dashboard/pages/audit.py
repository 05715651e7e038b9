"""Who did what, and what was refused; and what was done last to one thing."""

from typing import Any

import msgspec

from naq_core.audit import activity, read_trail
from naq_core.errors import PermissionDeniedError
from naq_core.views import AuditEntry, AuditFilter
from naq_dashboard.board import Board
from naq_dashboard.bulk import BULK
from naq_dashboard.masking import Masker
from naq_dashboard.operations import VERBS
from naq_dashboard.pages.page import Query

__all__ = ["audit", "done_to", "masked_entry"]

PAGE = 50
RECENT = 8
FRESH = 1.0
TERMS = ("by", "action", "kind", "target", "outcome")
ACTIONS = sorted({*VERBS, *(f"{verb}-jobs" for verb in BULK), "log-in", "log-out"})
OUTCOMES = ("begun", "done", "refused", "failed", "stopped")


async def audit(board: Board, query: Query) -> dict[str, Any]:
    """Show the audit trail, or what of it a filter matches."""
    terms = {name: query.get(name) for name in TERMS}
    page = await board.read(read_trail, AuditFilter(**terms), PAGE, query.get("cursor") or None)
    mask = board.renderer.masker
    return {
        "title": "Audit",
        "found": page,
        "entries": [masked_entry(mask, each) for each in page.entries],
        "terms": {name: value for name, value in terms.items() if value},
        "kept": board.naq_settings.audit_ttl,
        "actions": ACTIONS,
        "outcomes": OUTCOMES,
    }


async def done_to(board: Board, kind: str, target: str) -> list[AuditEntry]:
    """Return what was done last to one thing; nothing where the trail may not be read, as the page shows more than that."""
    try:
        found = await board.read(activity, kind, target, RECENT, fresh=FRESH)
    except PermissionDeniedError:
        return []
    return [masked_entry(board.renderer.masker, each) for each in found]


def masked_entry(mask: Masker, entry: AuditEntry) -> AuditEntry:
    """Return an entry without what looks secret: reasons are typed by people, and filters hold what they searched for."""
    return msgspec.structs.replace(
        entry,
        target=mask(entry.target),
        reason=mask(entry.reason),
        details={name: mask(value) for name, value in entry.details.items()},
    )
