"""What happens right now."""

from typing import Any

from naq_dashboard.languages import _
from naq_dashboard.pages.page import Query
from naq_dashboard.state import AppState

__all__ = ["events"]

SHOWN = 100


async def events(state: AppState, query: Query) -> dict[str, Any]:
    """Show the newest events that this dashboard has seen; they are not stored anywhere."""
    state.feed.start()
    await state.connection()
    queue, kind = query.get("queue"), query.get("kind")
    queues = {each.strip() for each in queue.split(",")} - {""}
    kept = [each for each in reversed(state.feed.recent) if each.kind != "gap"]
    found = [each for each in kept if (not queues or each.queue in queues) and kind in ("", each.kind)]
    return {
        "title": _("Events"),
        "events": found[:SHOWN],
        "seen": state.feed.seen,
        "kinds": sorted({each.kind for each in kept} | ({kind} if kind else set())),
        "kind": kind,
        "queue": queue,
    }
