"""Actions as JSON: the same table of verbs as the forms of the pages."""

from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from litestar import delete, get, post
from litestar.exceptions import NotFoundException
from litestar.params import FromPath, RequestBody
from litestar.response import Response

from naq_core.filters import parse_filter
from naq_core.masks import Mask
from naq_dashboard.access import Action
from naq_dashboard.bulk import BulkRun
from naq_dashboard.gate import viewer_of
from naq_dashboard.operations import VERBS
from naq_dashboard.web import AnyRequest, board_of, links_of

__all__ = ["ACTING"]

Text = Annotated[str, msgspec.Meta(max_length=2000)]


class Done(msgspec.Struct):
    """What came of an action."""

    notice: str


class Details(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """What an action may be told besides its target."""

    reason: Text = ""
    """Kept with a cancelled job."""
    duration: Text = ""
    """How long a pause lasts, such as `1h`; empty until it is resumed."""
    confirm: Text = ""
    """The queue's name again, for a purge."""
    limit: Annotated[int, msgspec.Meta(ge=1, le=1_000_000)] | None = None
    """How many of a queue's jobs may run at once over all workers; none lifts the limit."""


class NewJob(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """A call of a function that workers know by its name."""

    function: Text
    """`module:function`."""
    queue: Text = ""
    """By default the setting `default_queue`."""
    args: list[Any] = []
    kwargs: dict[str, Any] = {}
    job_id: Text = ""
    """An id of your own: while a job or record of it is there, none is enqueued again."""
    delay: Text = ""
    """How long to wait, such as `5m`, or an instant."""
    priority: Literal["high", "normal", "low"] = "normal"
    max_retries: Annotated[int, msgspec.Meta(ge=0, le=10_000)] = 0
    timeout: Text = ""
    """How long one attempt may take, such as `30s`."""


class Enqueued(msgspec.Struct, kw_only=True):
    """What came of it."""

    job_id: str
    notice: str


class BulkOrder(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """An action on every job that a filter matches."""

    action: Literal["retry", "cancel", "delete"]
    filter: Text
    """As in the search field: `state:dead queue:mail`."""
    expect_count: Annotated[int, msgspec.Meta(ge=0)] | None = None
    """Refuse when more than this many match: what was looked at is not what is there any more."""


class BulkState(msgspec.Struct, kw_only=True):
    """How far it is."""

    run_id: str
    action: str
    filter: str
    by: str
    done: int
    expected: int | None
    """How many there were at the beginning; null where that would have taken long to find out."""
    started_at: datetime
    ended_at: datetime | None
    error: str


async def _act(request: AnyRequest, target: str, value: str, data: Details | None) -> Done:
    words = {target: value}
    if data is not None:
        words |= {"reason": data.reason, "duration": data.duration, "confirm": data.confirm}
        words["limit"] = "" if data.limit is None else str(data.limit)
    told = await board_of(request).operations.perform(viewer_of(request), request.route_handler.opt["verb"], words)
    return Done(told.notice)


async def act_on_job(request: AnyRequest, job_id: FromPath[str], data: RequestBody[Details | None] = None) -> Done:
    """Do it to one job."""
    return await _act(request, "job_id", job_id, data)


async def act_on_queue(request: AnyRequest, queue: FromPath[str], data: RequestBody[Details | None] = None) -> Done:
    """Do it to one queue."""
    return await _act(request, "queue", queue, data)


async def act_on_worker(request: AnyRequest, worker_id: FromPath[str], data: RequestBody[Details | None] = None) -> Done:
    """Do it to one worker."""
    return await _act(request, "worker_id", worker_id, data)


async def act_on_schedule(request: AnyRequest, schedule_id: FromPath[str], data: RequestBody[Details | None] = None) -> Done:
    """Do it to one schedule."""
    return await _act(request, "schedule_id", schedule_id, data)


async def act_on_workflow(request: AnyRequest, workflow_id: FromPath[str], data: RequestBody[Details | None] = None) -> Done:
    """Do it to one workflow."""
    return await _act(request, "workflow_id", workflow_id, data)


_TARGETS: dict[str, tuple[str, Any]] = {
    "job": ("/api/jobs/{job_id:str}", act_on_job),
    "queue": ("/api/queues/{queue:str}", act_on_queue),
    "worker": ("/api/workers/{worker_id:str}", act_on_worker),
    "schedule": ("/api/schedules/{schedule_id:str}", act_on_schedule),
    "workflow": ("/api/workflows/{workflow_id:str}", act_on_workflow),
}


_SENTENCES = {
    "retry-job": "Put a dead or cancelled job back to work, from its first attempt, or run one now that waits for its retry.",
    "cancel-job": "End a job as cancelled, whether it waits, is held or runs. `reason` is kept with it.",
    "delete-job": "Delete a job that waits or has ended, and its record.",
    "run-job": "Let a job that is held until a time start now.",
    "reschedule-job": "Give a held job another time: `duration` from now, such as `2h`, or an instant.",
    "pause-queue": "Deliver no more jobs of the queue; running ones go on. `duration`, such as `1h`, ends it by itself.",
    "resume-queue": "Deliver the jobs of a paused queue again.",
    "limit-queue": "Let at most `limit` of the queue's jobs run at once over all workers; without it there is no limit.",
    "purge-queue": "Delete every job of the queue that waits. `confirm` must be the queue's name.",
    "quiet-worker": "Let a worker take no more jobs; it finishes those it has.",
    "resume-worker": "Let a worker that was told to be quiet take jobs again.",
    "stop-worker": "Stop a worker: running jobs may finish within its grace, the rest is handed back.",
    "trigger-schedule": "Enqueue the schedule's job now, whatever its times say.",
    "pause-schedule": "Let a schedule not fire until it is resumed.",
    "resume-schedule": "Let a paused schedule fire again.",
    "delete-schedule": "Delete a schedule; the jobs it has made stay.",
    "retry-workflow": "Put the dead and cancelled jobs of a workflow back to work.",
    "cancel-workflow": "Cancel the jobs of a workflow that have not ended. `reason` is kept with them.",
}


def _handlers() -> list[Any]:
    handlers = []
    for verb, (action, _) in VERBS.items():
        name, _, kind = verb.rpartition("-")
        if verb not in _SENTENCES:
            continue
        path, function = _TARGETS[kind]
        handlers.append(
            post(
                f"{path}/{name}",
                opt={"action": action, "verb": verb},
                status_code=200,
                tags=[f"{kind}s"],
                operation_id=f"{name}_{kind}",
                description=_SENTENCES[verb],
            )(function)
        )
    return handlers


@post("/api/jobs", tags=["jobs"], status_code=201, opt={"action": Action.ENQUEUE_JOB})
async def enqueue_job(request: AnyRequest, data: RequestBody[NewJob]) -> Response[Enqueued]:
    """Enqueue a job. Its arguments are stored as JSON; a worker imports the function, nothing is imported here."""
    words = {name: getattr(data, name) for name in ("function", "queue", "job_id", "delay", "priority", "timeout")}
    words |= {name: msgspec.json.encode(getattr(data, name)).decode() for name in ("args", "kwargs", "max_retries")}
    told = await board_of(request).operations.perform(viewer_of(request), "enqueue-job", words)
    made = Enqueued(job_id=told.place[1], notice=told.notice)
    return Response(made, headers={"Location": links_of(request)("api", "jobs", made.job_id)})


@delete("/api/jobs/{job_id:str}", tags=["jobs"], status_code=200, opt={"action": Action.DELETE_JOB, "verb": "delete-job"})
async def remove_job(request: AnyRequest, job_id: FromPath[str]) -> Done:
    """Delete a job that waits or has ended, and its record; the same as its action `delete`."""
    return await _act(request, "job_id", job_id, None)


@delete(
    "/api/schedules/{schedule_id:str}",
    tags=["schedules"],
    status_code=200,
    opt={"action": Action.DELETE_SCHEDULE, "verb": "delete-schedule"},
)
async def remove_schedule(request: AnyRequest, schedule_id: FromPath[str]) -> Done:
    """Delete a schedule; the same as its action `delete`."""
    return await _act(request, "schedule_id", schedule_id, None)


@post("/api/bulk", tags=["jobs"], status_code=202, opt={"checks_action": True})
async def begin_bulk(request: AnyRequest, data: RequestBody[BulkOrder]) -> BulkState:
    """Begin an action on every job that a filter matches; ask for its progress with the returned id."""
    board, viewer = board_of(request), viewer_of(request)
    wanted = parse_filter(data.filter, now=board.now())
    return _state(await board.operations.bulk(viewer, data.action, wanted, data.expect_count), board.mask)


@get("/api/bulk/{run_id:str}", tags=["jobs"])
async def bulk_state(request: AnyRequest, run_id: FromPath[str]) -> BulkState:
    """Tell how far an action on many jobs is."""
    run = board_of(request).operations.runs.get(run_id)
    if run is None:
        raise NotFoundException(f"no bulk action {run_id!r} was begun here")
    return _state(run, board_of(request).mask)


@post("/api/bulk/{run_id:str}/stop", tags=["jobs"], status_code=200, opt={"checks_action": True})
async def stop_bulk(request: AnyRequest, run_id: FromPath[str]) -> BulkState:
    """End an action on many jobs after those that it has in hand; what was done stays done."""
    board = board_of(request)
    return _state(board.operations.runs.stop(viewer_of(request), run_id), board.mask)


def _state(run: BulkRun, mask: Mask) -> BulkState:
    return BulkState(
        run_id=run.run_id,
        action=run.verb,
        filter=mask(run.filter),
        by=run.by,
        done=run.done,
        expected=run.expected,
        started_at=run.started_at,
        ended_at=run.ended_at,
        error=run.error,
    )


ACTING: list[Any] = [enqueue_job, *_handlers(), remove_job, remove_schedule, begin_bulk, bulk_state, stop_bulk]
