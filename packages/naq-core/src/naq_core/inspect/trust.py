"""What confines the user of a connection, as the server tells it."""

import json

import msgspec

from naq_core.errors import BrokerError
from naq_core.permissions import USER_INFO
from naq_core.storage.connection import Connection


class Trust(msgspec.Struct, kw_only=True):
    """The account and the permissions of this user; the server tells nothing of other users."""

    account: str
    confined: bool
    """The user has permissions; otherwise it may do everything in the account."""
    other_namespaces: list[str]
    """Namespaces in the same account."""


async def read_trust(connection: Connection) -> Trust:
    """Ask the server what confines this user.

    Raises:
        BrokerError: The server does not tell. PermissionDeniedError: This user may not ask.
    """
    answer = await connection.request(USER_INFO, timeout=1.0)
    try:
        user = json.loads(answer.data)["data"]
        account, permissions = str(user["account"]), user.get("permissions")
    except (ValueError, KeyError, TypeError) as error:
        raise BrokerError(f"the server does not report this user's permissions: {answer.data[:200]!r}") from error
    names = (await connection.api("STREAM.NAMES")).get("streams") or []
    found = {
        name.removeprefix("KV_").removesuffix("_results")
        for name in names
        if name.startswith("KV_") and name.endswith("_results")
    }
    return Trust(account=account, confined=bool(permissions), other_namespaces=sorted(found - {connection.settings.namespace}))
