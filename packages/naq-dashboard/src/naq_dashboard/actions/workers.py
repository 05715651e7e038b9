"""Actions on one worker."""

from litestar.exceptions import ValidationException

from naq_core import manage
from naq_core.storage.connection import Connection
from naq_core.wording import counted
from naq_dashboard.actions.details import Details, Target

__all__ = ["quiet_worker", "resize_worker", "resume_worker", "stop_worker"]


async def quiet_worker(connection: Connection, target: Target, _: Details) -> str:
    """Stop a worker from taking new jobs."""
    await manage.quiet_worker(connection, target.name)
    return "The worker takes no new jobs and finishes its running ones."


async def resume_worker(connection: Connection, target: Target, _: Details) -> str:
    """Let a quiet worker take jobs again."""
    await manage.resume_worker(connection, target.name)
    return "The worker takes jobs again."


async def resize_worker(connection: Connection, target: Target, details: Details) -> str:
    """Let a worker run another number of jobs at a time.

    Raises:
        ValidationException: The number is missing.
    """
    if details.concurrency is None:
        raise ValidationException("concurrency is missing: say how many jobs the worker is to run at a time")
    await manage.resize_worker(connection, target.name, details.concurrency)
    return f"The worker runs {counted(details.concurrency, 'job')} at a time, until it is restarted."


async def stop_worker(connection: Connection, target: Target, _: Details) -> str:
    """Stop a worker."""
    await manage.stop_worker(connection, target.name)
    return "The worker is stopping: it waits for running jobs up to its grace time and requeues the rest."
