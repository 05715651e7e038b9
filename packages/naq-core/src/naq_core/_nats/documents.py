"""Documents in a bucket: read, compare-and-set, delete, and list them all."""

import asyncio
from typing import NamedTuple

import msgspec

from naq_core._nats.client import parse_headers
from naq_core._nats.connection import Connection
from naq_core._nats.direct import END_OF_BATCH, TIMEOUT, Entry, entry_of
from naq_core._nats.errors import CLIENT_ERRORS, NotReadyError
from naq_core._nats.records import read_last
from naq_core._nats.subjects import EXPECTED_SEQUENCE, KV_OPERATION, TTL
from naq_core.errors import BrokerError, BrokerTimeoutError, WrongSequenceError

PAGE = 1000
DELETED_FOR = 3600
"""Seconds that a deletion stays visible, for those who follow the bucket and were away."""


class Document(NamedTuple):
    """What lies under a key; its data is empty where there is nothing."""

    data: bytes
    revision: int
    """The stream sequence to compare-and-set against."""


async def read_document(connection: Connection, stream: str, subject: str) -> Document:
    """Read a document from the leader."""
    message = await read_last(connection, stream, subject)
    return Document(b"", 0) if message is None else Document(message.data, message.sequence)


async def write_document(
    connection: Connection,
    stream: str,
    subject: str,
    data: bytes,
    revision: int,
    *,
    ttl: int | None = None,
    deadline: float | None = None,
) -> int | None:
    """Compare-and-set a document and return its new revision, or None where somebody else was faster.

    Args:
        data: Empty: delete it.
        ttl: Seconds after which the server removes it; None: never.
        deadline: In loop time, until which it is repeated; None: as the settings say.

    Raises:
        BrokerError: It is unknown whether it was stored.
    """
    headers = {EXPECTED_SEQUENCE: str(revision)}
    if not data:
        headers |= {KV_OPERATION: "DEL", TTL: f"{DELETED_FOR}s"}
    elif ttl is not None:
        headers[TTL] = f"{ttl}s"
    try:
        return await connection.publish(subject, data, headers, deadline=deadline)
    except WrongSequenceError as error:
        if not error.repeated:
            return None
    found = await read_document(connection, stream, subject)
    return found.revision if found.data == data else None  # an earlier try of ours had been stored, its answer lost


async def list_documents(connection: Connection, stream: str, subjects: str, start: int = 1) -> list[Entry]:
    """Return every message of matching subjects, from a sequence on, by pages of batched direct gets; any replica answers."""
    found: list[Entry] = []
    while True:
        page, is_last = await _page(connection, stream, subjects, start)
        found += page
        if is_last or not page:
            return found
        start = page[-1].sequence + 1


async def _page(connection: Connection, stream: str, subjects: str, start: int) -> tuple[list[Entry], bool]:
    deadline = connection.budget()
    while True:
        await connection.wait_connected(deadline)
        try:
            return await _get_batch(connection, stream, {"seq": start, "batch": PAGE, "next_by_subj": subjects})
        except (NotReadyError, TimeoutError, *CLIENT_ERRORS) as error:  # lost on the way, or no leader: reads can be repeated
            if connection.is_past(deadline):
                raise BrokerTimeoutError(f"list of {subjects} ({error})", TIMEOUT) from error
        await asyncio.sleep(0.1)


async def _get_batch(connection: Connection, stream: str, request: dict[str, object]) -> tuple[list[Entry], bool]:
    found: list[Entry] = []
    done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    client = connection.client
    inbox = client.new_inbox()

    def on_answer(_subject: bytes, _reply: bytes, data: bytes, block: bytes) -> None:
        headers = parse_headers(block)
        if done.done():
            return
        if headers.get("Status") == END_OF_BATCH:
            done.set_result(headers.get("Nats-Num-Pending", "0") == "0")
            return
        try:
            entry = entry_of(stream, data, headers)
        except BrokerError as error:
            done.set_exception(error)
            return
        if entry is None:  # nothing there at all
            done.set_result(True)
        else:
            found.append(entry)

    subscription = await client.listen(inbox, on_answer)
    try:
        await client.publish(f"$JS.API.DIRECT.GET.{stream}", msgspec.json.encode(request), reply=inbox)
        async with asyncio.timeout(TIMEOUT):
            is_last = await done
    finally:
        await subscription.unsubscribe()
    return found, is_last
