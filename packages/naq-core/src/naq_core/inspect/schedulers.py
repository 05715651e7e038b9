"""The scheduler that leads."""

from typing import Any

import msgspec

from naq_core._nats.connection import Connection
from naq_core._nats.documents import read_document


async def leading_scheduler(connection: Connection) -> dict[str, Any] | None:
    """Return owner, host and process id of the scheduler that holds the lease, or None where none does.

    One that runs without electing a leader holds none.
    """
    names = connection.names
    found = await read_document(connection, names.leases_stream, names.lease("scheduler"))
    if not found.data:
        return None
    try:
        lease: dict[str, Any] = msgspec.json.decode(found.data, type=dict[str, Any])
    except msgspec.DecodeError:
        return None
    return lease if lease.get("owner") else None
