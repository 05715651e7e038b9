"""Changing what is there: operations on queues, jobs and workers, shared by the client, the CLI and the dashboard."""

from naq_core.manage.bulk import bulk
from naq_core.manage.cancel import CancelOutcome, cancel_job
from naq_core.manage.jobs import delete_job, retry_job
from naq_core.manage.later import expire_job, reschedule, run_now
from naq_core.manage.queues import (
    delete_queue,
    get_queue_policy,
    is_queue_paused,
    pause_queue,
    purge_queue,
    resume_queue,
    set_queue_limit,
    set_queue_policy,
)
from naq_core.manage.signals import send_signal
from naq_core.manage.workers import quiet_worker, resize_worker, resume_worker, stop_worker, worker_stacks
from naq_core.manage.workflows import cancel_workflow, retry_workflow
from naq_core.storage.drift import apply_topology

__all__ = [
    "CancelOutcome",
    "apply_topology",
    "bulk",
    "cancel_job",
    "cancel_workflow",
    "delete_job",
    "delete_queue",
    "expire_job",
    "get_queue_policy",
    "is_queue_paused",
    "pause_queue",
    "purge_queue",
    "quiet_worker",
    "reschedule",
    "resize_worker",
    "resume_queue",
    "resume_worker",
    "retry_job",
    "retry_workflow",
    "run_now",
    "send_signal",
    "set_queue_limit",
    "set_queue_policy",
    "stop_worker",
    "worker_stacks",
]
