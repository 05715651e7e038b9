"""Waiting for the end of a job: subscribe, look, wait for the event; never poll."""

import asyncio
import contextlib

from nats.aio.msg import Msg

from naq_core._nats.connection import Connection
from naq_core._nats.errors import CLIENT_ERRORS
from naq_core._nats.records import Stored, peek_record, read_record
from naq_core._nats.subjects import STATE


async def wait_for_end(connection: Connection, queue: str, job_id: str, timeout: float | None) -> Stored:
    """Wait until the job's record is final.

    The server republishes each change of the record, headers only; the one that ends the job carries its state. An event can
    be missed only while disconnected, so the record is read again after a reconnect.

    Args:
        timeout: Seconds; None waits as long as it takes, 0 looks once.

    Raises:
        TimeoutError: Not ended within `timeout` seconds.
    """
    if timeout == 0:
        stored = await read_record(connection, queue, job_id)
        if stored is None or not stored.record.state.is_final:
            raise TimeoutError
        return stored
    changed = asyncio.Event()

    async def on_event(message: Msg) -> None:
        if message.headers and STATE in message.headers:
            changed.set()

    connection.on_reconnect(changed.set)
    subscription = await connection.client.subscribe(connection.names.result_event(queue, job_id), cb=on_event)
    try:
        async with asyncio.timeout(timeout):
            while True:
                # With replicas a direct read may be older than the event that woke us: then ask the leader.
                read = read_record if changed.is_set() and connection.settings.replicas > 1 else peek_record
                changed.clear()
                stored = await read(connection, queue, job_id)
                if stored is not None and stored.record.state.is_final:
                    return stored
                await changed.wait()
    finally:
        connection.forget_listener(changed.set)
        # Bounded: while an event loop is torn down nobody empties nats-py's full flush queue any more.
        with contextlib.suppress(TimeoutError, *CLIENT_ERRORS):
            async with asyncio.timeout(1):
                await subscription.unsubscribe()
