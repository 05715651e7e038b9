"""Actions on one job."""

from litestar.exceptions import ValidationException

from naq_core import manage
from naq_core.manage import CancelOutcome
from naq_core.storage.connection import Connection
from naq_dashboard.actions.details import Details, Target
from naq_dashboard.languages import Sentence, said

__all__ = ["NEVER_RUNS", "cancel_job", "delete_job", "reschedule_job", "retry_job", "run_job"]


NEVER_RUNS = said("The job is cancelled and will not run.")
"""What is said of a job that was cancelled before it began: nothing of it was done, so that it can be requeued as it was."""


async def retry_job(connection: Connection, target: Target, _: Details) -> Sentence:
    """Requeue a job."""
    await manage.retry_job(connection, target.job_id)
    return said("The job is requeued.")


async def cancel_job(connection: Connection, target: Target, details: Details) -> Sentence:
    """Cancel a job, with a reason."""
    outcome = await manage.cancel_job(connection, target.job_id, details.reason)
    return {
        CancelOutcome.BEFORE_START: NEVER_RUNS,
        CancelOutcome.WHILE_RUNNING: said("The job is cancelled; its worker was asked to stop it."),
        CancelOutcome.ALREADY_ENDED: said("The job had already ended; nothing was changed."),
    }[outcome]


async def delete_job(connection: Connection, target: Target, _: Details) -> Sentence:
    """Delete a job and its record."""
    await manage.delete_job(connection, target.job_id)
    return said("The job and its record are deleted.")


async def run_job(connection: Connection, target: Target, _: Details) -> Sentence:
    """Run a delayed job now."""
    await manage.run_now(connection, target.job_id)
    return said("The job is ready now.")


async def reschedule_job(connection: Connection, target: Target, details: Details) -> Sentence:
    """Give a delayed job another time: after a duration, or an instant."""
    if not details.duration.strip():
        raise ValidationException("duration is missing")
    at = details.instant("duration", connection.clock.utc(), ahead=True)
    await manage.reschedule(connection, target.job_id, at)
    time = f"{at:%Y-%m-%d %H:%M:%S %Z}"
    return said("The job is due at %(time)s.", time=time)
