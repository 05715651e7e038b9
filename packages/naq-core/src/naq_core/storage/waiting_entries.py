"""The jobs that wait for a key: the first ones of many keys, read with few requests (`docs/adr/0054-keys.md`)."""

import asyncio
import logging
from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from naq_core.names import is_job_id
from naq_core.storage.connection import Connection
from naq_core.storage.messages import run_of, target_of
from naq_core.storage.records import find_job
from naq_core.storage.subjects import BELL_ID, ENTRY, FOR_KEY, LEVELS, PLACE, state_of_subject
from naq_core.transport.direct import Entry, get_many
from naq_core.transport.many import read_some
from naq_core.transport.message import Message, header_block
from naq_core.transport.streams import read_next

log = logging.getLogger(__name__)

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

    @property
    def level(self) -> str:
        """Its priority."""
        return self.ready.rsplit(".", 3)[1]


class KeyLook(NamedTuple):
    """What a look at a key has found."""

    jobs: list[WaitingJob]
    """The first ones, the important ones first, each priority in the order of its enqueues. Those whose entries hold them may
    wait no more, unless that was to be looked at."""
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
    is_certain: bool = True
    """Whether to look at each job. If not, the entries are believed; the precondition of a start shows whether that was right."""
    after: int = 0
    """Only at entries after this sequence."""


async def read_waiting(connection: Connection, wanted: Sequence[WantedJobs]) -> list[KeyLook]:
    """Read the first jobs that wait for keys.

    Raises:
        BrokerError: The server did not answer in time.
    """
    looks = await _look(connection, wanted)
    found = [[_of_entry(connection, each, entry) for entry in entries] for each, (entries, _) in zip(wanted, looks, strict=True)]
    # Foreign data may be a wildcard, which must not be asked for. No job has the id that is used instead.
    held = [
        {"last_by_subj": connection.names.held(each.key[0], job_id if is_job_id(job_id) else BELL_ID)}
        for each, entries in zip(wanted, found, strict=True)
        for job_id, waiting in entries
        if waiting is None
    ]
    jobs = iter(await get_many(connection, connection.names.jobs_stream, held) if held else [])
    result: list[KeyLook] = []
    for each, (entries, is_all), read in zip(wanted, looks, found, strict=True):
        look = KeyLook([], [], is_all=is_all)
        for entry, (job_id, waiting) in zip(entries, read, strict=True):
            known = waiting or _waiting(entry, next(jobs), each.key[1]) or await _certainly(connection, entry, job_id, each.key)
            if known is None:
                look.stale.append(entry.sequence)
            else:
                look.jobs.append(known)
        result.append(look)
    return result


def id_of_entry(entry: Message) -> str:
    """Return the id of an entry's job, as it is stored: foreign data may be anything."""
    return entry.headers.get(ENTRY) or entry.data.decode(errors="replace")


def _of_entry(connection: Connection, wanted: WantedJobs, entry: Message) -> tuple[str, WaitingJob | None]:
    """Return the id of an entry's job, and the job where it is in the entry and is to be believed."""
    job_id = id_of_entry(entry)
    if wanted.is_certain or not is_job_id(job_id) or ENTRY not in entry.headers:
        return job_id, None
    level, queue = entry.subject.rpartition(".")[2], wanted.key[0]
    if level not in LEVELS:
        return job_id, None
    return job_id, WaitingJob(
        entry.sequence, entry.sequence - 1, job_id, run_of(entry), connection.names.ready(queue, job_id, level), entry.data, ""
    )


async def _look(connection: Connection, wanted: Sequence[WantedJobs]) -> list[tuple[list[Message], bool]]:
    """Return the first entries of keys, and whether that is all of them.

    One priority after the other: where a block of the stream has many subjects, the server looks at all its messages for the
    first one that a wildcard matches, but knows the first one of a subject.
    """
    names, stream = connection.names, connection.names.jobs_stream
    single = [
        {"seq": each.after + 1, "next_by_subj": names.waits_for_key(*each.key, level)}
        for each in wanted
        if each.most == 1
        for level in each.levels
    ]
    firsts = iter(await get_many(connection, stream, single) if single else [])
    several = [
        (names.waits_for_key(*each.key, level), each.most, each.after + 1)
        for each in wanted
        if each.most > 1
        for level in each.levels
    ]
    batches = iter(await asyncio.gather(*(read_some(connection, stream, *each) for each in several)))
    looks: list[tuple[list[Message], bool]] = []
    for key, most, levels, _, after in wanted:
        found: list[Message] = []
        left = False
        for _ in levels:
            if most == 1:
                first = next(firsts)
                found += [] if first is None else [_message(first)]
            else:
                batch = next(batches)
                found += batch.messages
                left |= batch.left > 0
        if not found and connection.is_clustered:  # a replica has answered that may be behind
            last = await read_next(connection, stream, names.waits_for_key(*key), after + 1)
            found = [] if last is None else [last]
        looks.append((found[:most], not left and (most > 1 or not found) and len(found) <= most))
    return looks


def _waiting(entry: Message, job: Entry | None, token: str) -> WaitingJob | None:
    if job is None or job.headers.get(FOR_KEY) != token:
        return None
    return _of(entry.sequence, _message(job))


def _message(found: Entry) -> Message:
    return Message(found.subject, found.sequence, found.data, header_block(found.headers))


def _of(entry: int, message: Message) -> WaitingJob:
    ready = target_of(message)
    assert ready is not None  # noqa: S101 - it is held
    job_id, place = state_of_subject(message.subject)[2], message.headers.get(PLACE, "")
    return WaitingJob(entry, message.sequence, job_id, run_of(message), ready, message.data, place)


async def _certainly(connection: Connection, entry: Message, job_id: str, key: Key) -> WaitingJob | None:
    """Ask the leader for a job that does not wait by what another replica says: on this its entry is deleted."""
    if not connection.is_clustered:
        return None
    message = await find_job(connection, job_id, key[0]) if is_job_id(job_id) else None
    if message is None or state_of_subject(message.subject)[0] != "held" or message.headers.get(FOR_KEY) != key[1]:
        return None
    return _of(entry.sequence, message)
