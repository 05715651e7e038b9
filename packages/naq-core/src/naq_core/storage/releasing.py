"""Starting the next jobs of a key: one atomic batch lists them as having a place and makes them ready.

Every step may be repeated by anybody at any time, and nobody has to live for the next one (`docs/adr/0054-keys.md`).
"""

import asyncio
import logging
import random
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from naq_core.decoding import complain
from naq_core.errors import BrokerTimeoutError, UnreadableError, WrongSequenceError
from naq_core.record import JobState
from naq_core.storage.connection import Connection
from naq_core.storage.edges import forget
from naq_core.storage.keys import Places, decode_places, encode_places
from naq_core.storage.messages import moving_headers, run_of, target_of
from naq_core.storage.presence import read_presence
from naq_core.storage.records import find_job, read_record
from naq_core.storage.subjects import FOR_KEY, LEVELS, PLACE, state_of_subject
from naq_core.transport.batch import publish_batch
from naq_core.transport.headers import EXPECTED_SEQUENCE, ROLLUP, TTL
from naq_core.transport.message import Message
from naq_core.transport.repeat import BrokerMessage
from naq_core.transport.streams import read_next

log = logging.getLogger(__name__)

AT_ONCE = 100
"""Jobs that one batch starts; more follow in the next one."""
MOST_TRIES = 200
"""Times that others may be faster before it is left to a later delivery."""
IDLE_FOR = 60
"""Seconds that the list of a key stays in which no job has a place. Its absence means the same."""
_NOTHING: Mapping[str, str] = {}


class _Next(NamedTuple):
    """A job that is next, and where its entry lies."""

    entry: int
    message: Message


async def start_next(
    connection: Connection,
    queue: str,
    token: str,
    limit: int,
    ended: Mapping[str, str] = _NOTHING,
    *,
    checks: bool = False,
) -> int:
    """Give the places of a key that are free to its next jobs, and make these ready.

    It writes before it looks for the last time: whoever enqueues between the two is found here, and whoever enqueues later finds
    what was written. So a job never waits for a key that has room.

    Args:
        limit: How many may have a place.
        ended: Ids and run tokens of jobs that have ended, on record: their places are free.
        checks: Look whether those that have a place are still there.

    Returns:
        How many were started.

    Raises:
        BrokerError: It is unknown whether all was done: do it again.
    """
    started = 0
    for tries in range(MOST_TRIES):
        places, revision = await _read(connection, queue, token)
        taken = {job_id: run for job_id, run in places.taken.items() if ended.get(job_id) != run}
        if checks and len(taken) >= limit:
            taken = await _still_there(connection, queue, taken)
        room = limit - len(taken)
        following = await _next(connection, queue, token, min(room, AT_ONCE), taken) if room > 0 else []
        if len(taken) == len(places.taken) and not following:
            return started
        taken |= {state_of_subject(each.message.subject)[2]: run_of(each.message) for each in following}
        if await _write(connection, queue, token, taken, revision, [each.message for each in following]):
            await forget(connection, [each.entry for each in following])
            started += len(following)
            if len(taken) >= limit:
                return started
        elif tries > 1:
            await asyncio.sleep(random.uniform(0, min(0.002 * tries, 0.1)))  # noqa: S311 - not for a secret
    raise BrokerTimeoutError(f"starting the next jobs of key {token} of queue {queue}: others were faster", 0)


async def _read(connection: Connection, queue: str, token: str) -> tuple[Places, int]:
    names = connection.names
    found = await read_next(connection, names.jobs_stream, names.places(queue, token))
    if found is None:
        return Places({}), 0
    try:
        return decode_places(found.data), found.sequence
    except UnreadableError as error:
        complain(log, found.subject, error, "no job has a place")
        return Places({}), found.sequence


async def _write(
    connection: Connection, queue: str, token: str, taken: Mapping[str, str], revision: int, messages: Sequence[Message]
) -> bool:
    """Write the list, and make jobs ready with it; False where something has changed since it was read."""
    headers = {EXPECTED_SEQUENCE: str(revision), ROLLUP: "sub"}
    if not taken:
        headers[TTL] = f"{IDLE_FOR}s"
    # The list comes first: a repeat of the batch is recognised by it, as no other writer's is the same.
    batch: list[BrokerMessage] = [(connection.names.places(queue, token), encode_places(connection, taken), headers)]
    for message in messages:
        ready = target_of(message)
        assert ready is not None  # noqa: S101 - it is held
        batch.append((ready, message.data, {**moving_headers(connection, message), PLACE: token}))
    try:
        await publish_batch(connection, batch)
    except WrongSequenceError:
        return False
    return True


async def _next(connection: Connection, queue: str, token: str, most: int, taken: Mapping[str, str]) -> list[_Next]:
    """Return the jobs that are next, the important ones first, each priority in the order of its enqueues."""
    names, stream = connection.names, connection.names.jobs_stream
    found: list[_Next] = []
    stale: list[int] = []
    seen = set(taken)
    for level in LEVELS:
        start = 1
        while len(found) < most:
            entry = await read_next(connection, stream, names.waits_for_key(queue, token, level), start)
            if entry is None:
                break
            start = entry.sequence + 1
            job_id = entry.subject.rpartition(".")[2]
            message = None if job_id in seen else await read_next(connection, stream, names.any_state(queue, job_id))
            if message is not None and _is_waiting(message, token):
                seen.add(job_id)
                found.append(_Next(entry.sequence, message))
            else:
                stale.append(entry.sequence)  # it was started, or has ended without
    if stale:
        await forget(connection, stale)
    return found


def _is_waiting(message: Message, token: str) -> bool:
    return state_of_subject(message.subject)[0] == "held" and message.headers.get(FOR_KEY) == token


async def _still_there(connection: Connection, queue: str, taken: Mapping[str, str]) -> dict[str, str]:
    """Return those that still need their place."""
    are_there = await asyncio.gather(*(_needs_place(connection, queue, *each) for each in taken.items()))
    return {job_id: run for (job_id, run), is_there in zip(taken.items(), are_there, strict=True) if is_there}


async def _needs_place(connection: Connection, queue: str, job_id: str, run: str) -> bool:
    """Whether a job's message says that it has its place: then its delivery gives it back, if nobody else does.

    A job whose message was purged or deleted while it ran still needs it, as long as its worker tells that it runs.
    """
    message = await find_job(connection, job_id, queue)
    if message is not None:
        return PLACE in message.headers and run_of(message) == run
    stored = await read_record(connection, queue, job_id)
    if stored is None or stored.record.state is not JobState.RUNNING or stored.record.run != run:
        return False
    presence = await read_presence(connection, stored.record.worker)
    return presence is not None and (job_id in presence["running"] or presence["at"] <= stored.record.started_at)
