"""What is known of workers that have ended: a document for each, which outlives its presence by a day.

A worker notes it at its second heartbeat, every ten minutes, and when it stops. So one that was killed while it had no job in
progress leaves a trace too, and ten thousand workers write 17 messages a second for it.
"""

from datetime import datetime
from typing import Any

import msgspec

from naq_core.storage.connection import Connection
from naq_core.storage.presence import presence_at
from naq_core.storage.topology import ensure_streams
from naq_core.transport.headers import TTL, ttl_text
from naq_core.transport.many import read_all

EVERY = 600.0
"""Seconds between two notes of a worker."""
KEPT = 86_400.0
"""Seconds for which the last one is kept."""
STOPPED = "stopped"
"""The state of a worker that has ended in order."""


async def note_worker(connection: Connection, presence: dict[str, Any], *, has_ended: bool = False) -> None:
    """Store what a worker tells of itself, in place of what it has told before.

    Raises:
        BrokerError: It is unknown whether that was stored.
    """
    document = {**presence, "running": {}, "in_progress": {}}
    if has_ended:
        document["state"] = STOPPED
    subject = connection.names.past_worker(presence["worker_id"])
    await connection.publish_once(subject, msgspec.json.encode(document), {TTL: ttl_text(KEPT)})


async def read_noted(connection: Connection, since: datetime | None = None) -> list[dict[str, Any]]:
    """Return the last note of each worker of the last day, or of those that were noted since a time; the newest last.

    Workers that are alive are among them.

    Raises:
        BrokerError: The server did not answer in time.
    """
    await ensure_streams(connection)
    names = connection.names
    messages = await read_all(connection, names.workers_stream, names.past_worker("*"), since=since)
    return [found for each in messages if (found := presence_at(each)) is not None]
