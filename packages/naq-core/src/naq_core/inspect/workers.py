"""The workers that live."""

from typing import Any

import msgspec

from naq_core._nats import presence
from naq_core._nats.connection import Connection


async def list_workers(connection: Connection) -> list[dict[str, Any]]:
    """Return the presence of every living worker, the oldest first."""
    workers: list[dict[str, Any]] = [msgspec.json.decode(data) for data in await presence.read_all(connection)]
    return sorted(workers, key=lambda worker: (worker.get("started_at", 0), worker.get("worker_id", "")))
