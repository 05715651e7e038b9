"""Actions on one worker."""

from litestar.exceptions import ValidationException

from naq_core import manage
from naq_core.storage.connection import Connection
from naq_dashboard.actions.details import Details, Target
from naq_dashboard.languages import Sentence, said, said_of

__all__ = ["quiet_worker", "resize_worker", "resume_worker", "stop_worker"]


async def quiet_worker(connection: Connection, target: Target, _: Details) -> Sentence:
    """Stop a worker from taking new jobs."""
    await manage.quiet_worker(connection, target.name)
    return said("The worker takes no new jobs and finishes its running ones.")


async def resume_worker(connection: Connection, target: Target, _: Details) -> Sentence:
    """Let a quiet worker take jobs again."""
    await manage.resume_worker(connection, target.name)
    return said("The worker takes jobs again.")


async def resize_worker(connection: Connection, target: Target, details: Details) -> Sentence:
    """Let a worker run another number of jobs at a time.

    Raises:
        ValidationException: The number is missing.
    """
    if details.concurrency is None:
        raise ValidationException("concurrency is missing: say how many jobs the worker is to run at a time")
    await manage.resize_worker(connection, target.name, details.concurrency)
    return said_of(
        details.concurrency,
        "The worker runs %(count)s job at a time, until it is restarted.",
        "The worker runs %(count)s jobs at a time, until it is restarted.",
    )


async def stop_worker(connection: Connection, target: Target, _: Details) -> Sentence:
    """Stop a worker."""
    await manage.stop_worker(connection, target.name)
    return said("The worker is stopping: it waits for running jobs up to its grace time and requeues the rest.")
