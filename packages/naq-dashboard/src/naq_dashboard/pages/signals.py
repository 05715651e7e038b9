"""Jobs that wait for a signal, such as a person's approval."""

from typing import Any

from naq_core.inspect import waiting_for_signals
from naq_dashboard.languages import _
from naq_dashboard.masking import MASK
from naq_dashboard.pages.page import Query
from naq_dashboard.state import AppState

__all__ = ["signals"]

PAGE = 100


async def signals(state: AppState, query: Query) -> dict[str, Any]:
    """Show the jobs that wait for a signal, the one that has waited longest first."""
    del query
    page = await state.read(waiting_for_signals, PAGE, state.mask)
    return {"title": _("Signals"), "found": page, "hidden": MASK}
