"""The stream of the audit trail: a note of each action before it, and a second message with its outcome."""

import hashlib
import re

from naq_core.storage.connection import Connection
from naq_core.storage.stream_configs import audit_config
from naq_core.storage.topology import ensure_stream_config
from naq_core.transport.buckets import list_documents
from naq_core.transport.direct import Entry, count_many, get_many
from naq_core.transport.headers import EXPECTED_SEQUENCE
from naq_core.transport.newest_first import ReverseScan
from naq_core.transport.streams import stream_span

FEW = 200
"""Up to so many notes are read all, as a descent through a long trail takes long to find the few that there are."""
_TOKEN = re.compile(r"[A-Za-z0-9_=-]{1,128}")


def target_token(target: str) -> str:
    """Return the token that stands for a target in subjects: itself where it can be one, else its digest."""
    if not target:
        return "-"
    return target if _TOKEN.fullmatch(target) else f"~{hashlib.sha256(target.encode(errors='replace')).hexdigest()[:32]}"


async def append_once(connection: Connection, subject: str, data: bytes, *, deadline: float | None = None) -> None:
    """Append the one message of a subject; to do it again is harmless.

    Args:
        deadline: In loop time, until which it is repeated; None: as the settings say.

    Raises:
        ConfigurationError, BrokerError: It is not known to be stored.
    """
    await ensure_stream_config(connection, audit_config(connection))
    await connection.publish(subject, data, {EXPECTED_SEQUENCE: "0"}, deadline=deadline)


async def append(connection: Connection, subject: str, data: bytes) -> None:
    """Append one of many messages of a subject, once.

    Raises:
        ConfigurationError, BrokerError: It is not known to be stored.
    """
    await ensure_stream_config(connection, audit_config(connection))
    await connection.publish_once(subject, data, None)


async def descend(connection: Connection, subject: str | None = None, below: int | None = None) -> ReverseScan:
    """Return a way through the trail from the newest message down.

    Args:
        subject: Only messages of this one, which may hold wildcards; None: all.
        below: Sequences from here on are not looked at; None: begin with the newest.
    """
    stream = connection.names.audit_stream
    span = await stream_span(connection, stream)
    below = span.last + 1 if below is None else min(below, span.last + 1)
    return ReverseScan(connection, stream, subject, below=below, first=max(1, span.first))


async def newest_notes(connection: Connection, kind: str, target: str, limit: int) -> list[Entry]:
    """Return the newest notes of one target, given as its token, or of all of a kind (`*`), the newest first."""
    stream, subject = connection.names.audit_stream, connection.names.audit_note(kind, target, "*")
    descent = await descend(connection, subject)
    if descent.is_done:
        return []
    (count,) = await count_many(connection, stream, [subject])
    if count <= FEW:
        return (await list_documents(connection, stream, subject))[: -limit - 1 : -1]
    found: list[Entry] = []
    while len(found) < limit and (more := await descent.more(limit)):
        found += more
    return found[:limit]


async def find_ends(connection: Connection, notes: list[tuple[str, int]]) -> list[Entry | None]:
    """Return what was added to notes, given as their ids and sequences: the first message, as it is the one that counts."""
    names = connection.names
    wanted = [{"seq": sequence, "next_by_subj": names.audit_end(entry_id)} for entry_id, sequence in notes]
    return await get_many(connection, names.audit_stream, wanted)
