"""Documents in a bucket: read, compare-and-set, delete, and list them all."""

import logging
from typing import NamedTuple

from naq_core.errors import QueueFullError, WrongSequenceError
from naq_core.transport.direct import Entry
from naq_core.transport.headers import EXPECTED_SEQUENCE, KV_OPERATION, TTL, parse_headers
from naq_core.transport.jetstream import JetStream
from naq_core.transport.many import read_all
from naq_core.transport.streams import read_last

log = logging.getLogger(__name__)

DELETED_FOR = 3600
"""Seconds that a deletion stays visible, for those who follow the bucket and were away."""


class Document(NamedTuple):
    """The document of a key; its data is empty if the key has no document."""

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


async def delete_document(connection: JetStream, stream: str, subject: str, revision: int) -> bool:
    """Delete a document, and leave a mark that tells those who watch; return False where somebody else was faster.

    In a full store the document goes first, which makes room for the mark. If that is not enough, the mark is left out.

    Raises:
        BrokerError: It is unknown whether it was deleted.
    """
    try:
        return await write_document(connection, subject, b"", revision) is not None
    except QueueFullError as error:
        request = {"filter": subject, "seq": revision + 1}
        if revision and not (await connection.api(f"STREAM.PURGE.{stream}", request))["purged"]:
            return False
        try:
            await write_document(connection, subject, b"", 0)
        except QueueFullError:
            log.warning("%s is deleted without a mark: %s", subject, error.description)
        return True


async def list_documents(connection: JetStream, stream: str, subjects: str, start: int = 1) -> list[Entry]:
    """Return every message of matching subjects, from a sequence on, by pages of batched direct gets; any replica answers."""
    found: list[Entry] = []
    for each in await read_all(connection, stream, subjects, start):
        headers = parse_headers(each.raw_headers)
        found.append(Entry(each.subject, each.sequence, headers["Nats-Time-Stamp"], headers, each.data))
    return found
