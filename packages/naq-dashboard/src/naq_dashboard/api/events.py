"""What happens to jobs, as a stream."""

from typing import Annotated, Any, Literal

from litestar import get
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import QueryParameter
from litestar.response import ServerSentEvent

from naq_core.names import check_place, check_queue
from naq_core.views import Event
from naq_dashboard.guard.guard import viewer_of
from naq_dashboard.live.event_stream import event_frames
from naq_dashboard.web import AnyRequest, state_of

__all__ = ["EVENTS"]

Kind = Literal[
    "started",
    "progress",
    "retrying",
    "returned",
    "succeeded",
    "failed",
    "cancelled",
    "expired",
    "enqueued",
    "held",
    "dead",
    "kept",
    "released",
]
Kinds = Annotated[
    list[Kind] | None,
    QueryParameter(
        name="kind", max_items=20, description="May be repeated. `enqueued` and later kinds need `NAQ_JOB_EVENTS=on`."
    ),
]
OfQueue = Annotated[
    str, QueryParameter(max_length=1000, description="Only events of this queue, or of several, separated by commas.")
]
OfJob = Annotated[str, QueryParameter(max_length=200, description="Only events of this job.")]


@get(
    "/api/stream",
    tags=["events"],
    responses={200: ResponseSpec(Event, media_type="text/event-stream", description="In `data` of each, as JSON")},
)
async def event_stream(request: AnyRequest, kinds: Kinds = None, queue: OfQueue = "", job: OfJob = "") -> ServerSentEvent:
    """Send what happens to jobs from now on, as server-sent events.

    A reader that comes back with `Last-Event-ID` is sent what it has missed; where that is not kept any more, and wherever else
    events may be missing, there is one of the kind `gap`: read the lists again then. A comment every 15 seconds keeps the
    connection alive.
    """
    state = state_of(request)
    queues = frozenset(check_queue(each.strip()) for each in queue.split(",") if each.strip())
    if job:
        job, place = check_place(job, next(iter(queues)) if len(queues) == 1 else "*")
        queues = queues if place == "*" else frozenset({place})
    chosen = frozenset(kinds or ())

    def wanted(event: Event) -> bool:
        is_of_queue = not queues or event.queue in queues
        return is_of_queue and (not chosen or event.kind in chosen) and job in ("", event.job_id)

    await state.connection()
    state.feed.start()
    owner = viewer_of(request).name
    state.live.check_room(owner, state.settings.streams_per_user)
    frames = event_frames(state.feed, state.live, wanted, request.headers.get("Last-Event-ID", ""), owner)
    return ServerSentEvent(frames, headers={"X-Accel-Buffering": "no", "Cache-Control": "no-store"})


EVENTS: list[Any] = [event_stream]
