"""The scheduler that leads."""

from typing import Any

from msgspec.structs import asdict

from naq_core.storage.connection import Connection
from naq_core.storage.lease import lease_at
from naq_core.transport.buckets import read_document


async def leading_scheduler(connection: Connection) -> dict[str, Any] | None:
    """Return owner, host, process id and `since` (seconds since the epoch) of the scheduler that holds the lease, or None.

    One that runs without electing a leader holds none.
    """
    names = connection.names
    found = await read_document(connection, names.leases_stream, names.lease("scheduler"))
    lease = lease_at(found.data)
    return asdict(lease) if lease is not None and lease.owner else None
