"""The jobs that wait for a key: the first ones of many keys, read with few requests (`docs/adr/0054-keys.md`)."""

import asyncio
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from naq_core.names import is_job_id
from naq_core.storage.connection import Connection
from naq_core.storage.messages import run_of, target_of
from naq_core.storage.records import find_job
from naq_core.storage.subjects import BELL_ID, FOR_KEY, LEVELS, PLACE, state_of_subject
from naq_core.transport.direct import Entry, get_many
from naq_core.transport.many import read_some
from naq_core.transport.message import Message, header_block
from naq_core.transport.streams import read_next

Key: TypeAlias = tuple[str, str]
"""Queue and token of a key."""


class WaitingJob(NamedTuple):
    """A job that waits for its key."""

    entry: int
    """The sequence of its entry in the key's order."""
    sequence: int
    job_id: str
    run: str
    ready: str
    """The subject on which it is delivered."""
    data: bytes
    place: str
    """The token of its key where it waits for its queue's rate and has a place of its key already, else empty."""


class KeyLook(NamedTuple):
    """What a look at a key has found."""

    jobs: list[WaitingJob]
    """The first ones, the important ones first, each priority in the order of its enqueues."""
    stale: list[int]
    """Sequences of entries whose jobs wait no more: they were started, or have ended without."""
    is_all: bool
    """Nothing more waited."""


class WantedJobs(NamedTuple):
    """What to look for."""

    key: Key
    most: int
    """How many jobs."""
    levels: Sequence[str] = LEVELS
    """Of these priorities."""


async def read_waiting(connection: Connection, wanted: Sequence[WantedJobs]) -> list[KeyLook]:
    """Read the first jobs that wait for keys.

    Raises:
        BrokerError: The server did not answer in time.
    """
    looks = await _look(connection, wanted)
    ids = [
        (each.key[0], entry.data.decode(errors="replace"))
        for each, (entries, _) in zip(wanted, looks, strict=True)
        for entry in entries
    ]
    # Foreign data may be a wildcard, which must not be asked for. No job has the id that is used instead.
    held = [{"last_by_subj": connection.names.held(queue, job_id if is_job_id(job_id) else BELL_ID)} for queue, job_id in ids]
    jobs = iter(await get_many(connection, connection.names.jobs_stream, held) if held else [])
    found = [KeyLook([], [], is_all=is_all) for _, is_all in looks]
    for (key, _, _), (entries, _), into in zip(wanted, looks, found, strict=True):
        for entry in entries:
            job = next(jobs)
            waiting = _waiting(entry, job, key[1]) or await _certainly(connection, entry, key)
            if waiting is None:
                into.stale.append(entry.sequence)
            else:
                into.jobs.append(waiting)
    return found


async def _look(connection: Connection, wanted: Sequence[WantedJobs]) -> list[tuple[list[Message], bool]]:
    """Return the first entries of keys, and whether that is all of them.

    One priority after the other: where a block of the stream has many subjects, the server looks at all its messages for the
    first one that a wildcard matches, but knows the first one of a subject.
    """
    names, stream = connection.names, connection.names.jobs_stream
    single = [names.waits_for_key(*key, level) for key, most, levels in wanted if most == 1 for level in levels]
    firsts = iter(await get_many(connection, stream, [{"seq": 1, "next_by_subj": each} for each in single]) if single else [])
    several = [(names.waits_for_key(*key, level), most) for key, most, levels in wanted if most > 1 for level in levels]
    batches = iter(await asyncio.gather(*(read_some(connection, stream, *each) for each in several)))
    looks: list[tuple[list[Message], bool]] = []
    for key, most, levels in wanted:
        found: list[Message] = []
        left = False
        for _ in levels:
            if most == 1:
                first = next(firsts)
                found += [] if first is None else [Message(first.subject, first.sequence, first.data)]
            else:
                batch = next(batches)
                found += batch.messages
                left |= batch.left > 0
        if not found and connection.is_clustered:  # a replica has answered that may be behind
            last = await read_next(connection, stream, names.waits_for_key(*key), 1)
            found = [] if last is None else [last]
        looks.append((found[:most], not left and (most > 1 or not found) and len(found) <= most))
    return looks


def _waiting(entry: Message, job: Entry | None, token: str) -> WaitingJob | None:
    if job is None or job.headers.get(FOR_KEY) != token:
        return None
    return _of(entry.sequence, Message(job.subject, job.sequence, job.data, header_block(job.headers)))


def _of(entry: int, message: Message) -> WaitingJob:
    ready = target_of(message)
    assert ready is not None  # noqa: S101 - it is held
    job_id, place = state_of_subject(message.subject)[2], message.headers.get(PLACE, "")
    return WaitingJob(entry, message.sequence, job_id, run_of(message), ready, message.data, place)


async def _certainly(connection: Connection, entry: Message, key: Key) -> WaitingJob | None:
    """Ask the leader for a job that does not wait by what another replica says: on this its entry is deleted."""
    if not connection.is_clustered:
        return None
    job_id = entry.data.decode(errors="replace")
    message = await find_job(connection, job_id, key[0]) if is_job_id(job_id) else None
    if message is None or state_of_subject(message.subject)[0] != "held" or message.headers.get(FOR_KEY) != key[1]:
        return None
    return _of(entry.sequence, message)
