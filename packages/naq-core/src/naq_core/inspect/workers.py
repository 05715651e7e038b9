"""The workers that live, and those that have ended."""

from datetime import datetime
from typing import Any

from naq_core.errors import UnreadableError
from naq_core.storage.connection import Connection
from naq_core.storage.presence import decode_presence, read_presences
from naq_core.storage.worker_history import STOPPED, read_noted


async def list_workers(connection: Connection) -> list[dict[str, Any]]:
    """Return the presence of every living worker, the oldest first.

    A presence that cannot be read is among them with its key as `worker_id`, the reason as `unreadable`, and `state` set to
    `unreadable`; it runs no jobs and takes none.
    """
    workers = [_view(each.subject, each.data) for each in await read_presences(connection) if each.data]
    return sorted(workers, key=lambda worker: (worker.get("started_at", 0), worker["worker_id"]))


async def list_past_workers(connection: Connection, since: datetime | None = None) -> list[dict[str, Any]]:
    """Return the workers of the last day that have ended, the one that was noted last first.

    Their `state` is `stopped`, or `vanished` where they were killed or lost the server for good; then `at` is up to ten minutes
    before that. Workers that live for less than two heartbeats are not noted.

    Args:
        since: Only those that were noted since then.

    Raises:
        BrokerError: The server did not answer in time.
    """
    noted = await read_noted(connection, since)
    alive = {each["worker_id"] for each in await list_workers(connection)}  # later: who is noted and not alive has ended
    ended = [each for each in noted if each["worker_id"] not in alive]
    return [each if each.get("state") == STOPPED else {**each, "state": "vanished"} for each in reversed(ended)]


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
