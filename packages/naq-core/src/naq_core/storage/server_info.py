"""The server at the other end of a connection."""

import time
from typing import Any

from naq_core.errors import BrokerTimeoutError
from naq_core.storage.connection import Connection
from naq_core.transport.errors import CLIENT_ERRORS

PATIENCE = 5


def server_facts(connection: Connection) -> dict[str, Any]:
    """Return what the server said of itself when the connection was made."""
    return connection.client.server_facts


async def round_trip(connection: Connection) -> float:
    """Return how many seconds the server takes to answer a ping.

    Raises:
        BrokerTimeoutError: It does not.
    """
    begun = time.perf_counter()
    try:
        await connection.client.flush(timeout=PATIENCE)
    except CLIENT_ERRORS as error:
        raise BrokerTimeoutError("ping", PATIENCE) from error
    return time.perf_counter() - begun


async def list_streams(connection: Connection) -> list[dict[str, Any]]:
    """Return the server's information on each stream and bucket of the namespace."""
    namespace = connection.settings.namespace
    prefixes = (f"{namespace}_", f"KV_{namespace}_", f"OBJ_{namespace}_")
    found: list[dict[str, Any]] = []
    offset = 0
    while True:
        answer = await connection.api("STREAM.LIST", {"offset": offset})
        page = answer.get("streams") or []
        found += [each for each in page if each["config"]["name"].startswith(prefixes)]
        offset += len(page)
        if not page or offset >= answer["total"]:
            return sorted(found, key=lambda each: str(each["config"]["name"]))
