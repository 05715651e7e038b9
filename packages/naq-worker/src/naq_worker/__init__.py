"""The worker of NAQ: runs the jobs that clients enqueue."""

from naq_core import Cancel, JobContext, Retry, Snooze, __version__, current_job
from naq_worker.worker import Worker

__all__ = ["Cancel", "JobContext", "Retry", "Snooze", "Worker", "__version__", "current_job"]
