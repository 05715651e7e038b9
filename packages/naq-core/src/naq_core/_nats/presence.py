"""Worker presence: one key per worker process, which the server removes a few heartbeats after the last one."""

import asyncio

from naq_core._nats.connection import Connection
from naq_core._nats.many import read_many
from naq_core._nats.records import read_last
from naq_core._nats.topology import ensure_streams


async def read_all(connection: Connection) -> list[bytes]:
    """Read every worker's presence: one batched direct get (ADR-31), no consumer."""
    await ensure_streams(connection)
    names = connection.names
    return [found.data for found in await read_many(connection, names.workers_stream, [names.worker("*")], names.worker("*"))]


async def read_one(connection: Connection, worker_id: str) -> bytes | None:
    """Read one worker's presence from the leader, or None where it is gone."""
    message = await read_last(connection, connection.names.workers_stream, connection.names.worker(worker_id))
    return None if message is None else message.data


async def remove(connection: Connection, worker_id: str) -> None:
    """Remove a worker's presence at once, at its orderly end."""
    names = connection.names
    await connection.api(
        f"STREAM.PURGE.{names.workers_stream}",
        {"filter": names.worker(worker_id)},
        deadline=asyncio.get_running_loop().time() + 1,
    )
