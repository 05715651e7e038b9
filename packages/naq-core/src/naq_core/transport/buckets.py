"""Documents in a bucket: read, compare-and-set, delete, and list them all."""

from typing import NamedTuple

from naq_core.errors import WrongSequenceError
from naq_core.transport.direct import Entry
from naq_core.transport.headers import EXPECTED_SEQUENCE, KV_OPERATION, TTL, parse_headers
from naq_core.transport.jetstream import JetStream
from naq_core.transport.many import read_all
from naq_core.transport.streams import read_last

DELETED_FOR = 3600
"""Seconds that a deletion stays visible, for those who follow the bucket and were away."""


class Document(NamedTuple):
    """What lies under a key; its data is empty where there is nothing."""

    data: bytes
    revision: int
    """The stream sequence to compare-and-set against."""


async def read_document(connection: JetStream, stream: str, subject: str) -> Document:
    """Read a document from the leader."""
    message = await read_last(connection, stream, subject)
    return Document(b"", 0) if message is None else Document(message.data, message.sequence)


async def write_document(
    connection: JetStream,
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
    except WrongSequenceError:
        return None


async def list_documents(connection: JetStream, stream: str, subjects: str, start: int = 1) -> list[Entry]:
    """Return every message of matching subjects, from a sequence on, by pages of batched direct gets; any replica answers."""
    found: list[Entry] = []
    for each in await read_all(connection, stream, subjects, start):
        headers = parse_headers(each.raw_headers)
        found.append(Entry(each.subject, each.sequence, headers["Nats-Time-Stamp"], headers, each.data))
    return found
