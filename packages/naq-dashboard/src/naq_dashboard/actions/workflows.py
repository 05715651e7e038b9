"""Actions on one workflow."""

from naq_core import manage
from naq_core.storage.connection import Connection
from naq_dashboard.actions.details import Details, Target
from naq_dashboard.languages import Sentence, said_of

__all__ = ["cancel_workflow", "retry_workflow"]


async def retry_workflow(connection: Connection, target: Target, _: Details) -> Sentence:
    """Requeue the dead and cancelled jobs of a workflow."""
    count = await manage.retry_workflow(connection, target.name)
    return said_of(count, "%(count)s job of the workflow requeued.", "%(count)s jobs of the workflow requeued.")


async def cancel_workflow(connection: Connection, target: Target, details: Details) -> Sentence:
    """Cancel the jobs of a workflow that have not ended, with a reason."""
    count = await manage.cancel_workflow(connection, target.name, details.reason)
    return said_of(count, "%(count)s job of the workflow cancelled.", "%(count)s jobs of the workflow cancelled.")
