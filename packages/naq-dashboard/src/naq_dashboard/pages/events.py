"""What happens right now."""

from typing import Any

from naq_dashboard.pages.page import Query
from naq_dashboard.state import Board

__all__ = ["events"]

SHOWN = 100


async def events(board: Board, query: Query) -> dict[str, Any]:
    """Show the newest events that this dashboard has seen; they are not stored anywhere."""
    board.feed.start()
    await board.connection()
    queue, kind = query.get("queue"), query.get("kind")
    kept = [each for each in reversed(board.feed.recent) if each.kind != "gap"]
    found = [each for each in kept if queue in ("", each.queue) and kind in ("", each.kind)]
    return {
        "title": "Events",
        "events": found[:SHOWN],
        "seen": board.feed.seen,
        "kinds": sorted({each.kind for each in kept} | ({kind} if kind else set())),
        "kind": kind,
        "queue": queue,
    }
