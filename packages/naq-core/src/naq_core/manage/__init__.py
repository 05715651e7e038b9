"""Changing what is there: operations on queues, jobs and workers, shared by the client, the CLI and the dashboard."""

from naq_core.manage.queues import purge_queue

__all__ = ["purge_queue"]
