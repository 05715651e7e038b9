"""Changing what is there: operations on queues, jobs and workers, shared by the client, the CLI and the dashboard."""

from naq_core.manage.queues import is_queue_paused, pause_queue, purge_queue, resume_queue

__all__ = ["is_queue_paused", "pause_queue", "purge_queue", "resume_queue"]
