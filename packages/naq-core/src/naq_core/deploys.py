"""Marks of deployments, for charts: which version came when. They are entries of the audit trail, and kept as long as these."""

from naq_core.audit import Actor, latest, recorded
from naq_core.errors import InvalidOptionError
from naq_core.masks import Mask
from naq_core.storage.connection import Connection
from naq_core.values import text
from naq_core.views import Deploy

__all__ = ["ACTION", "check_version", "list_deploys", "mark_deploy"]

ACTION = "mark-deploy"
LONGEST = 60


async def mark_deploy(connection: Connection, actor: Actor, version: str) -> None:
    """Note that a version is being deployed now.

    Args:
        actor: Who says so.
        version: Its name, such as `v12`, 1 to 60 characters.

    Raises:
        InvalidOptionError: This can be no name.
        ConfigurationError, BrokerError: It cannot be stored.
    """
    async with recorded(connection, actor, ACTION, check_version(version)):
        pass


def check_version(version: str) -> str:
    """Return the name of a version without what surrounds it.

    Raises:
        InvalidOptionError: It is empty, too long, or not printable.
    """
    name = text(version, "version").strip()
    if not name or len(name) > LONGEST or not name.isprintable():
        raise InvalidOptionError("version", f"{version[:80]!r} is not 1 to {LONGEST} printable characters, such as v12")
    return name


async def list_deploys(connection: Connection, limit: int = 50, mask: Mask | None = None) -> list[Deploy]:
    """Return the latest marks, the newest first.

    Raises:
        BrokerError: The server did not answer in time.
    """
    entries = await latest(connection, "deploy", limit, mask)
    return [Deploy(version=each.target, at=each.at, by=each.by) for each in entries if each.outcome != "refused"]
