"""Signals as JSON: what waits, and sending one."""

from typing import Annotated, Any

from litestar import get, post
from litestar.params import FromPath, QueryParameter, RequestBody

from naq_core.inspect import waiting_for_signals
from naq_core.views import SignalPage
from naq_dashboard.access.roles import Action
from naq_dashboard.actions.details import Target
from naq_dashboard.actions.signals import NewSignal
from naq_dashboard.api.actions import Done
from naq_dashboard.guard.guard import viewer_of
from naq_dashboard.web import AnyRequest, state_of

__all__ = ["SIGNALS"]

Most = Annotated[int, QueryParameter(ge=1, le=500, description="Maximum number of jobs.")]


@get("/api/signals", tags=["signals"])
async def all_waiting(request: AnyRequest, limit: Most = 100) -> SignalPage:
    """List the jobs that wait for a signal, the one that has waited longest first."""
    state = state_of(request)
    return await state.read(waiting_for_signals, limit, state.mask)


@post("/api/signals/{signal:str}", tags=["signals"], status_code=200, opt={"action": Action.SEND_SIGNAL, "verb": "send-signal"})
async def send_signal(request: AnyRequest, signal: FromPath[str], data: RequestBody[NewSignal | None] = None) -> Done:
    """Send a signal to the jobs that wait for its name, and to those that are enqueued while it is kept; the first one counts."""
    order, operations = data or NewSignal(), state_of(request).operations
    return Done(str((await operations.perform(viewer_of(request), "send-signal", Target(signal), order)).notice))


SIGNALS: list[Any] = [all_waiting, send_signal]
