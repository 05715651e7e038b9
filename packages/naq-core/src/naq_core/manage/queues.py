"""Operations on whole queues."""

from naq_core._nats.connection import Connection
from naq_core._nats.topology import ensure_streams
from naq_core.names import check_queue


async def purge_queue(connection: Connection, queue: str) -> int:
    """Delete every job of a queue that waits for a worker or for its time.

    A job that runs goes on and its result is kept, but if its worker dies it is not run again. Dead jobs stay.

    Returns:
        How many were deleted.
    """
    check_queue(queue)
    await ensure_streams(connection)
    names = connection.names
    deleted = 0
    for state in ("high", "normal", "low", "held"):
        answer = await connection.api(f"STREAM.PURGE.{names.jobs_stream}", {"filter": f"{names.jobs}.{state}.{queue}.*"})
        deleted += int(answer["purged"])
    return deleted
