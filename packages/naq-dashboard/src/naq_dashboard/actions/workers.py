"""Actions on one worker."""

from naq_core import manage
from naq_core.storage.connection import Connection
from naq_dashboard.actions.details import Details, Target

__all__ = ["quiet_worker", "resume_worker", "stop_worker"]


async def quiet_worker(connection: Connection, target: Target, _: Details) -> str:
    """Stop a worker from taking new jobs."""
    await manage.quiet_worker(connection, target.name)
    return "The worker takes no new jobs and finishes its running ones."


async def resume_worker(connection: Connection, target: Target, _: Details) -> str:
    """Let a quiet worker take jobs again."""
    await manage.resume_worker(connection, target.name)
    return "The worker takes jobs again."


async def stop_worker(connection: Connection, target: Target, _: Details) -> str:
    """Stop a worker."""
    await manage.stop_worker(connection, target.name)
    return "The worker is stopping: it waits for running jobs up to its grace time and requeues the rest."
