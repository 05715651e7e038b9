"""The client of NAQ: enqueue Python functions on NATS JetStream and fetch their results."""

from naq_client._portal import SyncJob
from naq_client._schedule import Schedule
from naq_client._schedule_sync import SyncSchedule
from naq_client.queue import EnqueuedMany, Queue
from naq_client.sync import SyncQueue
from naq_client.task import Task, disconnect, disconnect_sync, task
from naq_core import Cancel, Dependency, Job, JobState, Retry, Snooze, __version__, current_job, result_of, results_of

__all__ = [
    "Cancel",
    "Dependency",
    "EnqueuedMany",
    "Job",
    "JobState",
    "Queue",
    "Retry",
    "Schedule",
    "Snooze",
    "SyncJob",
    "SyncQueue",
    "SyncSchedule",
    "Task",
    "__version__",
    "current_job",
    "disconnect",
    "disconnect_sync",
    "result_of",
    "results_of",
    "task",
]
