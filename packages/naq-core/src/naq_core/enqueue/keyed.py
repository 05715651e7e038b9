"""Putting jobs with a key where they wait until it has room (`docs/adr/0054-keys.md`)."""

from collections.abc import Sequence
from typing import Any

from naq_core.call import JobCall
from naq_core.enqueue.message import job_message
from naq_core.errors import (
    BrokerError,
    BrokerTimeoutError,
    BrokerUnavailableError,
    DuplicateJobError,
    EnqueueUnknownError,
    UnreadableError,
    WrongSequenceError,
)
from naq_core.storage.bells import bell_of_many
from naq_core.storage.connection import Connection
from naq_core.storage.keys import decode_places, token_of_key, waiting_pair
from naq_core.storage.subjects import NORMAL
from naq_core.transport.batch import BATCH_LIMIT, publish_batch
from naq_core.transport.direct import get_many
from naq_core.transport.errors import DisconnectedError
from naq_core.transport.headers import EXPECTED_SEQUENCE, EXPECTED_SUBJECT
from naq_core.transport.repeat import BrokerMessage


async def store_keyed(connection: Connection, job: JobCall[Any]) -> bool:
    """Store one job with a key; return whether it is new.

    Raises:
        EnqueueUnknownError: The server could not be asked whether it was stored. BrokerError: It was not stored.
    """
    try:
        return await (_store_kept(connection, job) if _is_kept(job) else _stored(connection, _messages(connection, job)))
    except BrokerTimeoutError as error:
        raise EnqueueUnknownError([job.job_id], str(error)) from error


async def _store_kept(connection: Connection, job: JobCall[Any]) -> bool:
    """Store a job where it waits for its key, with a bell unless none is needed while the key's list stays as it is.

    That is so of a list that was full, or at whose state a bell was stored before: who answers it writes the list, and looks
    after that.
    """
    token = token_of_key(job.options.key)
    key = job.queue, token, job.options.priority
    revision, is_rung = connection.rung.of(key), True
    if revision is None and connection.rung.is_busy(key):
        revision, is_rung = await _look(connection, *key)
    if revision is not None:
        held, (subject, body, headers) = _messages(connection, job)
        if_unchanged = {**headers, EXPECTED_SEQUENCE: str(revision), EXPECTED_SUBJECT: connection.names.places(job.queue, token)}
        bells = [] if is_rung else _bells(connection, [job])
        if await _stored(connection, [held, (subject, body, if_unchanged), *bells]):
            if not is_rung or connection.rung.of(key) is None:
                connection.rung.note(key, revision)
            return True
    connection.rung.note(key, None)
    return await _stored(connection, [*_messages(connection, job), *_bells(connection, [job])])


async def _look(connection: Connection, queue: str, token: str, level: str) -> tuple[int | None, bool]:
    """Return the sequence of a key's list, 0 without one and None where it cannot be read, and whether no job has room."""
    names = connection.names
    try:
        (found,) = await get_many(connection, names.jobs_stream, [{"last_by_subj": names.places(queue, token)}])
        places = None if found is None else decode_places(found.data)
    except (BrokerError, UnreadableError):
        return None, False
    if found is None or places is None:
        return 0, False
    return found.sequence, places.is_full and (level == NORMAL or places.has_levels)


async def _stored(connection: Connection, messages: Sequence[BrokerMessage]) -> bool:
    try:
        await publish_batch(connection, messages)
    except WrongSequenceError:
        return False
    return True


async def store_keyed_many(connection: Connection, jobs: Sequence[JobCall[Any]]) -> bool:
    """Store jobs of which some have a key, in their order.

    A job with a key is two messages, and each queue and priority one more. What fits into 1,000 messages is stored all or none;
    of more, each part of as many.

    Returns:
        Whether it was atomic.

    Raises:
        DuplicateJobError: A job of the atomic batch exists already; nothing was enqueued.
        EnqueueUnknownError: Names the jobs of which it is unknown whether they were stored.
    """
    parts = _parts(jobs)
    for number, part in enumerate(parts):
        messages = [message for job in part for message in _messages(connection, job)]
        try:
            await publish_batch(connection, [*messages, *_bells(connection, part)])
        except WrongSequenceError as error:
            if len(parts) == 1:
                raise DuplicateJobError(jobs[0].job_id if len(jobs) == 1 else "of the batch") from error
            for job in part:  # one of them is there already
                await _stored(connection, [*_messages(connection, job), *_bells(connection, [job])])
        except (BrokerTimeoutError, BrokerUnavailableError, DisconnectedError) as error:
            if number == 0 and isinstance(error, BrokerUnavailableError):
                raise
            raise EnqueueUnknownError([job.job_id for rest in parts[number:] for job in rest], str(error)) from error
    return len(parts) == 1


def _is_kept(job: JobCall[Any]) -> bool:
    """Whether it waits for its key from the start: what is delayed does so when it is due."""
    return bool(job.options.key) and not job.due


def _messages(connection: Connection, job: JobCall[Any]) -> list[BrokerMessage]:
    message = job_message(connection, job, again=True)
    if not _is_kept(job):
        return [message]
    return waiting_pair(connection, message, (job.queue, job.job_id), token_of_key(job.options.key))


def _bells(connection: Connection, jobs: Sequence[JobCall[Any]]) -> list[BrokerMessage]:
    """Return the bells for the keys of these jobs: one for each queue and priority."""
    keys: dict[tuple[str, str], dict[str, None]] = {}
    for job in jobs:
        if _is_kept(job):
            keys.setdefault((job.queue, job.options.priority), {})[token_of_key(job.options.key)] = None
    return [bell_of_many(connection, queue, list(tokens), level) for (queue, level), tokens in keys.items()]


def _parts(jobs: Sequence[JobCall[Any]]) -> list[list[JobCall[Any]]]:
    parts: list[list[JobCall[Any]]] = [[]]
    size, rung = 0, set[tuple[str, str]]()
    for job in jobs:
        where = job.queue, job.options.priority
        needs = (2 + (where not in rung)) if job.options.key else 1
        if size + needs > BATCH_LIMIT:
            parts.append([])
            size, rung = 0, set()
            needs = 3 if job.options.key else 1
        parts[-1].append(job)
        size += needs
        if job.options.key:
            rung.add(where)
    return parts
