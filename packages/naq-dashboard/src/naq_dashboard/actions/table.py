"""Everything the dashboard can change: one table for its forms and its API."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import msgspec

from naq_core.storage.connection import Connection
from naq_dashboard.access.roles import Action
from naq_dashboard.actions.deploys import mark_deploy
from naq_dashboard.actions.details import Details, Target
from naq_dashboard.actions.enqueue import NewJob, enqueue_job
from naq_dashboard.actions.jobs import cancel_job, delete_job, reschedule_job, retry_job, run_job
from naq_dashboard.actions.queues import delete_queue, limit_queue, pause_queue, policy_queue, purge_queue, resume_queue
from naq_dashboard.actions.schedules import (
    NewSchedule,
    Times,
    backfill_schedule,
    create_schedule,
    delete_schedule,
    edit_schedule,
    pause_schedule,
    resume_schedule,
    trigger_schedule,
)
from naq_dashboard.actions.signals import NewSignal, send_signal
from naq_dashboard.actions.workers import quiet_worker, resize_worker, resume_worker, stop_worker
from naq_dashboard.actions.workflows import cancel_workflow, retry_workflow
from naq_dashboard.languages import Sentence

__all__ = ["TARGETS", "UNDO", "VERBS", "Verb"]

TARGETS = {
    "job": "job_id",
    "queue": "queue",
    "worker": "worker_id",
    "schedule": "schedule_id",
    "workflow": "workflow_id",
    "deploy": "version",
    "signal": "signal",
}
"""The field or parameter that names the target, by the kind of the target."""


@dataclass(frozen=True, slots=True)
class Verb:
    """Something that can be done."""

    action: Action
    """What the viewer must be allowed to do; an action covers several verbs."""
    do: Callable[[Connection, Target, Any], Awaitable[Sentence]]
    """Does it, and returns a sentence that says what was done."""
    takes: type[msgspec.Struct] = Details
    """What it takes besides the target."""
    leads_to: str = ""
    """The list to show afterwards, as there is no page of the target any more."""


VERBS: dict[str, Verb] = {
    "enqueue-job": Verb(Action.ENQUEUE_JOB, enqueue_job, NewJob),
    "retry-job": Verb(Action.RETRY_JOB, retry_job),
    "cancel-job": Verb(Action.CANCEL_JOB, cancel_job),
    "delete-job": Verb(Action.DELETE_JOB, delete_job, leads_to="jobs"),
    "run-job": Verb(Action.RUN_JOB, run_job),
    "reschedule-job": Verb(Action.RUN_JOB, reschedule_job),
    "pause-queue": Verb(Action.PAUSE_QUEUE, pause_queue),
    "resume-queue": Verb(Action.RESUME_QUEUE, resume_queue),
    "limit-queue": Verb(Action.LIMIT_QUEUE, limit_queue),
    "policy-queue": Verb(Action.LIMIT_QUEUE, policy_queue),
    "purge-queue": Verb(Action.PURGE_QUEUE, purge_queue),
    "delete-queue": Verb(Action.DELETE_QUEUE, delete_queue, leads_to="queues"),
    "quiet-worker": Verb(Action.QUIET_WORKER, quiet_worker),
    "resume-worker": Verb(Action.QUIET_WORKER, resume_worker),
    "resize-worker": Verb(Action.RESIZE_WORKER, resize_worker),
    "stop-worker": Verb(Action.STOP_WORKER, stop_worker),
    "trigger-schedule": Verb(Action.TRIGGER_SCHEDULE, trigger_schedule),
    "backfill-schedule": Verb(Action.TRIGGER_SCHEDULE, backfill_schedule),
    "pause-schedule": Verb(Action.PAUSE_SCHEDULE, pause_schedule),
    "resume-schedule": Verb(Action.PAUSE_SCHEDULE, resume_schedule),
    "create-schedule": Verb(Action.EDIT_SCHEDULE, create_schedule, NewSchedule),
    "edit-schedule": Verb(Action.EDIT_SCHEDULE, edit_schedule, Times),
    "delete-schedule": Verb(Action.DELETE_SCHEDULE, delete_schedule, leads_to="schedules"),
    "retry-workflow": Verb(Action.RETRY_WORKFLOW, retry_workflow),
    "cancel-workflow": Verb(Action.CANCEL_WORKFLOW, cancel_workflow),
    "send-signal": Verb(Action.SEND_SIGNAL, send_signal, NewSignal),
    "mark-deploy": Verb(Action.MARK_DEPLOY, mark_deploy),
}

UNDO = {
    "pause-queue": "resume-queue",
    "quiet-worker": "resume-worker",
    "resume-worker": "quiet-worker",
    "pause-schedule": "resume-schedule",
    "resume-schedule": "pause-schedule",
}
"""What takes an action back without a trace. Who may do the one may do the other, and a resumed queue forgets until when it was
paused."""
