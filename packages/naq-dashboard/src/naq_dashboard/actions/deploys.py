"""Marks of deployments."""

from naq_core.deploys import check_version
from naq_core.storage.connection import Connection
from naq_dashboard.actions.details import Details, Target
from naq_dashboard.languages import Sentence, said

__all__ = ["mark_deploy"]


async def mark_deploy(_: Connection, target: Target, __: Details) -> Sentence:
    """Mark that a version is deployed now: the entry of the audit trail, which this action has as all have, is the mark."""
    return said("%(version)s is marked in the charts.", version=check_version(target.name))
