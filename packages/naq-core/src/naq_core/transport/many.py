"""Reading many messages with few requests: the last ones of many subjects, for decisions, or all of a subject, for lists."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from naq_core.errors import BrokerTimeoutError
from naq_core.transport.errors import DisconnectedError, NobodyThereError, NotReadyError
from naq_core.transport.jetstream import JetStream
from naq_core.transport.message import Message
from naq_core.transport.reader import Batch, TooManyError
from naq_core.transport.streams import read_last

CHUNK = 500
MOST = 1024
"""The server's limit for the answers of one batched direct get of last messages."""
PAGE = 1000
PAUSE = 0.02


async def read_many(connection: JetStream, stream: str, subjects: Sequence[str], newest: str) -> list[Message]:
    """Read the last message of each subject that has one: for decisions; subjects may hold wildcards.

    One batched direct get for every 500 subjects. With replicas such a read may be a moment old, so it is compared with what
    the leader says is the newest message.

    Args:
        newest: A wildcard over all subjects in question: an answer is too old if it lacks the newest message of these.

    Raises:
        BrokerTimeoutError, BrokerUnavailableError: The server did not answer, or not with the newest, in time.
    """
    found: list[Message] = []
    for start in range(0, len(subjects), CHUNK):
        found += await _read_chunk(connection, stream, list(subjects[start : start + CHUNK]), newest)
    return found


async def _read_chunk(connection: JetStream, stream: str, subjects: list[str], newest: str) -> list[Message]:
    deadline = connection.budget()
    while True:
        await connection.wait_connected(deadline)
        marker = await read_last(connection, stream, newest) if connection.settings.replicas > 1 else None
        wanted = subjects if marker is None else [*subjects, marker.subject]
        batch = await _get(connection, stream, {"multi_last": wanted, "batch": MOST}, deadline)
        if batch is None or batch.left:  # more than one answer may hold
            if len(subjects) == 1:
                return await read_all(connection, stream, subjects[0])
            half = len(subjects) // 2
            return [
                *await _read_chunk(connection, stream, subjects[:half], newest),
                *await _read_chunk(connection, stream, subjects[half:], newest),
            ]
        found = batch.messages
        if marker is None or any(each.subject == marker.subject and each.sequence >= marker.sequence for each in found):
            return found
        if connection.is_past(deadline):
            raise BrokerTimeoutError(f"an up-to-date read of {stream}", connection.settings.publish_budget.total_seconds())
        await asyncio.sleep(PAUSE)


async def read_all(
    connection: JetStream, stream: str, subject: str, start: int = 1, since: datetime | None = None
) -> list[Message]:
    """Read every message of a subject, which may hold wildcards, from a sequence or time on; any replica answers.

    Raises:
        BrokerTimeoutError, BrokerUnavailableError: The server did not answer in time.
    """
    found: list[Message] = []
    begin: dict[str, Any] = {"seq": start} if since is None else {"start_time": since.isoformat()}
    while True:
        batch = await _get(connection, stream, {**begin, "next_by_subj": subject, "batch": PAGE}, connection.budget())
        if batch is None or not batch.messages:
            return found
        found += batch.messages
        if not batch.left:
            return found
        begin = {"seq": found[-1].sequence + 1}


async def read_some(connection: JetStream, stream: str, subject: str, most: int, start: int = 1) -> Batch:
    """Read the first messages of a subject from a sequence on, and how many more there are; any replica answers.

    The server counts those: that is cheap where few subjects match, however many messages these have.

    Raises:
        BrokerTimeoutError, BrokerUnavailableError: The server did not answer in time.
    """
    request = {"seq": start, "next_by_subj": subject, "batch": most}
    return await _get(connection, stream, request, connection.budget()) or Batch([], 0)


async def _get(connection: JetStream, stream: str, request: dict[str, Any], deadline: float) -> Batch | None:
    """Make a batched direct get, again while it is lost on the way or there is no leader; None where too many match."""
    while True:
        await connection.wait_connected(deadline)
        try:
            return await connection.reader.get(stream, request)
        except TooManyError:
            return None
        except (NotReadyError, DisconnectedError, BrokerTimeoutError) as error:
            if isinstance(error, NobodyThereError):
                if await connection.keeper.restore(stream):
                    continue
                if await connection.keeper.lacks(stream):
                    return Batch([], 0)
            if connection.is_past(deadline):
                raise
        await asyncio.sleep(PAUSE)
