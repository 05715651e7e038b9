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
from naq_dashboard.access.roles import Action
from naq_dashboard.actions.bulk import BulkRun
from naq_dashboard.actions.details import Details, Target, Text
from naq_dashboard.actions.enqueue import NewJob, target_of
from naq_dashboard.actions.table import VERBS
from naq_dashboard.guard.guard import viewer_of
from naq_dashboard.web import AnyRequest, links_of, state_of

__all__ = ["ACTING"]


class Done(msgspec.Struct):
    """The result of an action."""

    notice: str


class Enqueued(msgspec.Struct, kw_only=True):
    """The result of the action."""

    job_id: str
    notice: str


class WorkerStacks(msgspec.Struct):
    """What a worker is doing."""

    stacks: str
    """As in a traceback: files, lines and source text, at most 64 KiB."""


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


async def _act(request: AnyRequest, target: str, details: Details | None) -> Done:
    verb = request.route_handler.opt["verb"]
    order = details or Details()
    return Done((await state_of(request).operations.perform(viewer_of(request), verb, Target(target), order)).notice)


async def act_on_job(request: AnyRequest, job_id: FromPath[str], data: RequestBody[Details | None] = None) -> Done:
    """Do it to one job."""
    return await _act(request, job_id, data)


async def act_on_queue(request: AnyRequest, queue: FromPath[str], data: RequestBody[Details | None] = None) -> Done:
    """Do it to one queue."""
    return await _act(request, queue, data)


async def act_on_worker(request: AnyRequest, worker_id: FromPath[str], data: RequestBody[Details | None] = None) -> Done:
    """Do it to one worker."""
    return await _act(request, worker_id, data)


async def act_on_schedule(request: AnyRequest, schedule_id: FromPath[str], data: RequestBody[Details | None] = None) -> Done:
    """Do it to one schedule."""
    return await _act(request, schedule_id, data)


async def act_on_workflow(request: AnyRequest, workflow_id: FromPath[str], data: RequestBody[Details | None] = None) -> Done:
    """Do it to one workflow."""
    return await _act(request, workflow_id, data)


_TARGETS: dict[str, tuple[str, Any]] = {
    "job": ("/api/jobs/{job_id:str}", act_on_job),
    "queue": ("/api/queues/{queue:str}", act_on_queue),
    "worker": ("/api/workers/{worker_id:str}", act_on_worker),
    "schedule": ("/api/schedules/{schedule_id:str}", act_on_schedule),
    "workflow": ("/api/workflows/{workflow_id:str}", act_on_workflow),
}


_SENTENCES = {
    "retry-job": "Requeue a dead or cancelled job, from its first attempt, or run a job that waits for its retry now.",
    "cancel-job": "Cancel a queued, held or running job. `reason` is stored in its record.",
    "delete-job": "Delete a queued, held or ended job and its record.",
    "run-job": "Run a delayed job now.",
    "reschedule-job": "Change the time of a delayed job: `duration` from now, such as `2h`, or a time.",
    "pause-queue": "Pause a queue; running jobs continue. With a `duration`, such as `1h` or `18:00`, it resumes automatically.",
    "resume-queue": "Resume a paused queue.",
    "limit-queue": "Run at most `limit` jobs of the queue at once across all workers; without `limit`, remove the limit.",
    "policy-queue": "Run at most `key_limit` jobs of each key at once, start jobs at `rate` and those of each key at `key_rate`, "
    "and give the keys of `weights` a larger share, across all workers; what is not given stays.",
    "purge-queue": "Delete every queued or held job of the queue. `confirm` must be the queue's name.",
    "delete-queue": "Delete a queue that has no jobs and no workers, with its pause and limit; otherwise the answer is 409.",
    "quiet-worker": "Stop a worker from taking new jobs; it finishes its running jobs.",
    "resume-worker": "Let a quiet worker take jobs again.",
    "resize-worker": "Let a worker run `concurrency` jobs at a time, until it is restarted; running jobs finish.",
    "stop-worker": "Stop a worker: it waits for running jobs up to its grace time and requeues the rest.",
    "trigger-schedule": "Enqueue the schedule's job now, in addition to its times.",
    "backfill-schedule": "Enqueue the schedule's runs from `since` to `until` (by default now) that have no job, at most 1,000.",
    "pause-schedule": "Pause a schedule.",
    "resume-schedule": "Resume a paused schedule.",
    "delete-schedule": "Delete a schedule; its jobs are kept.",
    "retry-workflow": "Requeue the dead and cancelled jobs of a workflow.",
    "cancel-workflow": "Cancel the jobs of a workflow that have not ended. `reason` is stored in their records.",
}


def _handlers() -> list[Any]:
    handlers = []
    for verb, known in VERBS.items():
        name, _, kind = verb.rpartition("-")
        if verb not in _SENTENCES:
            continue
        path, function = _TARGETS[kind]
        handlers.append(
            post(
                f"{path}/{name}",
                opt={"action": known.action, "verb": verb},
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
    target = target_of(data)
    result = await state_of(request).operations.perform(viewer_of(request), "enqueue-job", target, data)
    made = Enqueued(job_id=target.name, notice=result.notice)
    return Response(made, headers={"Location": links_of(request)("api", "jobs", made.job_id)})


@delete("/api/jobs/{job_id:str}", tags=["jobs"], status_code=200, opt={"action": Action.DELETE_JOB, "verb": "delete-job"})
async def remove_job(request: AnyRequest, job_id: FromPath[str]) -> Done:
    """Delete a job that waits or has ended, and its record; the same as its action `delete`."""
    return await _act(request, job_id, None)


@delete("/api/queues/{queue:str}", tags=["queues"], status_code=200, opt={"action": Action.DELETE_QUEUE, "verb": "delete-queue"})
async def remove_queue(request: AnyRequest, queue: FromPath[str]) -> Done:
    """Delete a queue that has no jobs and no workers; the same as its action `delete`."""
    return await _act(request, queue, None)


@delete(
    "/api/schedules/{schedule_id:str}",
    tags=["schedules"],
    status_code=200,
    opt={"action": Action.DELETE_SCHEDULE, "verb": "delete-schedule"},
)
async def remove_schedule(request: AnyRequest, schedule_id: FromPath[str]) -> Done:
    """Delete a schedule; the same as its action `delete`."""
    return await _act(request, schedule_id, None)


@post(
    "/api/workers/{worker_id:str}/stack",
    tags=["workers"],
    status_code=200,
    opt={"action": Action.STACK_WORKER},
    operation_id="stack_worker",
)
async def see_stacks(request: AnyRequest, worker_id: FromPath[str]) -> WorkerStacks:
    """Return what a worker is doing: the stacks of its jobs, threads and child processes, without values of variables."""
    return WorkerStacks(await state_of(request).operations.stacks(viewer_of(request), worker_id))


@post("/api/bulk", tags=["jobs"], status_code=202, opt={"checks_action": True})
async def begin_bulk(request: AnyRequest, data: RequestBody[BulkOrder]) -> BulkState:
    """Begin an action on every job that a filter matches; ask for its progress with the returned id."""
    state, viewer = state_of(request), viewer_of(request)
    wanted = parse_filter(data.filter, now=state.now())
    return _state(await state.operations.bulk(viewer, data.action, wanted, data.expect_count), state.mask)


@get("/api/bulk/{run_id:str}", tags=["jobs"])
async def bulk_state(request: AnyRequest, run_id: FromPath[str]) -> BulkState:
    """Tell how far an action on many jobs is."""
    run = state_of(request).operations.runs.get(run_id)
    if run is None:
        raise NotFoundException(f"there is no bulk action {run_id!r} in this process")
    return _state(run, state_of(request).mask)


@post("/api/bulk/{run_id:str}/stop", tags=["jobs"], status_code=200, opt={"checks_action": True})
async def stop_bulk(request: AnyRequest, run_id: FromPath[str]) -> BulkState:
    """End an action on many jobs after those that it has in hand; what was done stays done."""
    state = state_of(request)
    return _state(state.operations.runs.stop(viewer_of(request), run_id), state.mask)


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


ACTING: list[Any] = [
    enqueue_job,
    *_handlers(),
    remove_job,
    remove_queue,
    remove_schedule,
    see_stacks,
    begin_bulk,
    bulk_state,
    stop_bulk,
]
