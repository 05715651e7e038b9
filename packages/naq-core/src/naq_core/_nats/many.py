"""Reading the last messages of many subjects at once, for decisions."""

import asyncio
from collections.abc import Sequence

from naq_core._nats.connection import Connection
from naq_core._nats.errors import DisconnectedError, NotReadyError
from naq_core._nats.reader import Found, TooManyError
from naq_core._nats.records import Message, read_last
from naq_core.errors import BrokerTimeoutError

CHUNK = 500
MOST = 1024
"""The server's limit for the answers of one batched direct get."""


async def read_many(connection: Connection, stream: str, subjects: Sequence[str], newest: str) -> list[Message]:
    """Read the last message of each subject that has one: for decisions; subjects may hold wildcards.

    One batched direct get for every 500 subjects. With replicas such a read may be a moment old, so it is compared with what
    the leader says is the newest message.

    Args:
        newest: A wildcard over all subjects in question: an answer is too old if it lacks the newest message of these.
    """
    found: list[Found] = []
    for start in range(0, len(subjects), CHUNK):
        found += await _read_chunk(connection, stream, list(subjects[start : start + CHUNK]), newest)
    return [Message(*each) for each in found]


async def _read_chunk(connection: Connection, stream: str, subjects: list[str], newest: str) -> list[Found]:
    deadline = connection.budget()
    while True:
        await connection.wait_connected(deadline)
        marker = await read_last(connection, stream, newest) if connection.settings.replicas > 1 else None
        wanted = subjects if marker is None else [*subjects, marker.subject]
        try:
            found = await connection.reader.get(stream, {"multi_last": wanted, "batch": MOST})
        except TooManyError:
            if len(subjects) == 1:
                return await _page(connection, stream, subjects[0])
            half = len(subjects) // 2
            return [
                *await _read_chunk(connection, stream, subjects[:half], newest),
                *await _read_chunk(connection, stream, subjects[half:], newest),
            ]
        except (NotReadyError, DisconnectedError, BrokerTimeoutError):
            if connection.is_past(deadline):
                raise
        else:
            if marker is None or any(each.subject == marker.subject and each.sequence >= marker.sequence for each in found):
                return found
            if connection.is_past(deadline):
                raise BrokerTimeoutError(f"an up-to-date read of {stream}", connection.settings.publish_budget.total_seconds())
        await asyncio.sleep(0.02)


async def _page(connection: Connection, stream: str, subject: str) -> list[Found]:
    """Read all messages of a subject with more of them than one answer may hold."""
    found: list[Found] = []
    sequence = 1
    while True:
        page = await connection.reader.get(stream, {"seq": sequence, "next_by_subj": subject, "batch": CHUNK})
        found += page
        if len(page) < CHUNK:
            return found
        sequence = page[-1].sequence + 1
