"""Actions on one workflow."""

from naq_core import manage
from naq_core.storage.connection import Connection
from naq_core.wording import counted
from naq_dashboard.actions.details import Details, Target

__all__ = ["cancel_workflow", "retry_workflow"]


async def retry_workflow(connection: Connection, target: Target, _: Details) -> str:
    """Requeue the dead and cancelled jobs of a workflow."""
    count = await manage.retry_workflow(connection, target.name)
    return f"{counted(count, 'job')} of the workflow requeued."


async def cancel_workflow(connection: Connection, target: Target, details: Details) -> str:
    """Cancel the jobs of a workflow that have not ended, with a reason."""
    count = await manage.cancel_workflow(connection, target.name, details.reason)
    return f"{counted(count, 'job')} of the workflow cancelled."
