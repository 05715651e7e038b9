"""The client of NAQ: enqueue Python functions on NATS JetStream and fetch their results."""

from naq_client._blocking_loop import SyncJob
from naq_client._schedule import Schedule, scheduled
from naq_client._schedule_sync import SyncSchedule
from naq_client._shared import disconnect, disconnect_sync, forget_settings
from naq_client.queue import EnqueuedMany, Queue
from naq_client.signature import Chain, Group, OpenSignature, Signature, chain, chord, group
from naq_client.sync import SyncQueue
from naq_client.task import Task, task
from naq_client.waiting import as_completed, gather
from naq_client.workflow import SyncWorkflowHandle, Workflow, WorkflowHandle, current_workflow
from naq_core import (
    Cancel,
    Dependency,
    Job,
    JobOutcome,
    JobState,
    QueuePolicy,
    Retry,
    Snooze,
    __version__,
    current_job,
    result_of,
    results_of,
    track,
)

__all__ = [
    "Cancel",
    "Chain",
    "Dependency",
    "EnqueuedMany",
    "Group",
    "Job",
    "JobOutcome",
    "JobState",
    "OpenSignature",
    "Queue",
    "QueuePolicy",
    "Retry",
    "Schedule",
    "Signature",
    "Snooze",
    "SyncJob",
    "SyncQueue",
    "SyncSchedule",
    "SyncWorkflowHandle",
    "Task",
    "Workflow",
    "WorkflowHandle",
    "__version__",
    "as_completed",
    "chain",
    "chord",
    "current_job",
    "current_workflow",
    "disconnect",
    "disconnect_sync",
    "forget_settings",
    "gather",
    "group",
    "result_of",
    "results_of",
    "scheduled",
    "task",
    "track",
]
