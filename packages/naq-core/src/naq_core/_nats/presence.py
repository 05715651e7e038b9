"""Worker presence: one key per worker process, which the server removes a few heartbeats after the last one."""

import asyncio

import msgspec
from nats.aio.msg import Msg

from naq_core._nats.connection import Connection
from naq_core._nats.records import read_last
from naq_core._nats.topology import ensure_streams
from naq_core.errors import BrokerTimeoutError

PAGE = 1024


async def read_all(connection: Connection) -> list[bytes]:
    """Read every worker's presence: one batched direct get (ADR-31), no consumer."""
    await ensure_streams(connection)
    names = connection.names
    inbox = connection.client.new_inbox()
    found: list[bytes] = []
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def on_message(message: Msg) -> None:
        status = (message.headers or {}).get("Status")
        if status is None:
            found.append(message.data)
        elif not done.done():  # 204 end of batch, 404 nothing there
            done.set_result(None)

    subscription = await connection.client.subscribe(inbox, cb=on_message)
    try:
        body = msgspec.json.encode({"multi_last": [names.worker("*")], "batch": PAGE})
        await connection.client.publish(f"$JS.API.DIRECT.GET.{names.workers_stream}", body, reply=inbox)
        async with asyncio.timeout(5):
            await done
    except TimeoutError:
        raise BrokerTimeoutError("list of workers", 5) from None
    finally:
        await subscription.unsubscribe()
    return found


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
