"""The workers that live."""

from typing import Any

from naq_core.errors import UnreadableError
from naq_core.storage.connection import Connection
from naq_core.storage.presence import decode_presence, read_presences


async def list_workers(connection: Connection) -> list[dict[str, Any]]:
    """Return the presence of every living worker, the oldest first.

    A presence that cannot be read is among them with its key as `worker_id`, the reason as `unreadable`, and `state` set to
    `unreadable`; it runs no jobs and takes none.
    """
    workers = [_view(each.subject, each.data) for each in await read_presences(connection) if each.data]
    return sorted(workers, key=lambda worker: (worker.get("started_at", 0), worker["worker_id"]))


def _view(subject: str, data: bytes) -> dict[str, Any]:
    try:
        return decode_presence(data, subject)
    except UnreadableError as error:
        return {
            "worker_id": subject.rpartition(".")[2],
            "state": "unreadable",
            "unreadable": str(error),
            "queues": [],
            "running": {},
            "concurrency": 0,
        }
