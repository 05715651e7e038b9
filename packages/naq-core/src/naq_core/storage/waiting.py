"""Waiting for the end of jobs: subscribe, look, wait for the event.

No event tells that a job has gone without an end: its record expired unseen, it was purged, or never existed. So who
waits looks again after a second, then less and less often, whether there still is something to wait for.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, NamedTuple, Self, TypeGuard

from naq_core.errors import JobNotFoundError, JobTimeoutError, NaqError
from naq_core.record import JobRecord, JobState
from naq_core.storage.connection import Connection
from naq_core.storage.ends import Key
from naq_core.storage.records import Stored, find_job, peek_record, read_record, stored_of
from naq_core.storage.subjects import ASIDE, state_of_subject
from naq_core.transport.direct import AT_ONCE, get_many
from naq_core.transport.many import read_many
from naq_core.transport.message import Message

FIRST_LOOK = 1.0
"""Seconds after which a wait checks that its job exists: time for a producer that is just enqueueing it."""
LONGEST_LOOK = 60.0

IsEnd = Callable[[JobRecord], bool]
OnWait = Callable[[Message], Awaitable[None]]
"""Called with the message of a job that is there and has not been started, each time it is looked for."""


def is_final(record: JobRecord) -> bool:
    """Whether a record is that of an end."""
    return record.state.is_final


async def wait_for_end(
    connection: Connection,
    queue: str,
    job_id: str,
    timeout: float | None,
    is_end: IsEnd = is_final,
    on_wait: OnWait | None = None,
) -> Stored:
    """Wait until the job's record is final.

    The server republishes each change of the record, headers only; they carry its state. An event can be missed only while
    disconnected, so the record is read again after a reconnect.

    Args:
        timeout: Seconds; None waits as long as it takes, 0 looks once.
        is_end: Tells whether a record is the end that is waited for; by default any final one.

    Raises:
        JobNotFoundError: There is neither a job nor a record, or not any more.
        JobTimeoutError: Not ended within `timeout` seconds; it goes on.
        BrokerUnavailableError, BrokerTimeoutError: The server was not there to ask.
        PermissionDeniedError: This user may not see events, so the end would be waited for in vain.
    """
    if timeout == 0:
        stored = await read_record(connection, queue, job_id)
        if stored is not None and is_end(stored.record):
            return stored
        await _check_there(connection, queue, job_id, stored)
        raise JobTimeoutError(job_id, 0)
    changed = asyncio.Event()
    key = (queue, job_id)
    await connection.ends.add(key, changed.set)
    pause = FIRST_LOOK if timeout is None else min(FIRST_LOOK, timeout / 2)
    is_due = False
    try:
        async with asyncio.timeout(timeout):
            while True:
                # A direct read is cheaper, but with replicas it may be older than the event that woke us, and without a stream
                # it is not answered. This connection has created or found the streams if it has enqueued anything.
                is_stored = changed.is_set() or "streams" in connection.ready
                read = peek_record if is_stored and connection.settings.replicas == 1 else read_record
                changed.clear()
                stored = await read(connection, queue, job_id)
                if stored is not None and is_end(stored.record):
                    return stored
                connection.denials.check_below(f"{connection.names.namespace}.event")
                if is_due and not changed.is_set():
                    message = await _check_there(connection, queue, job_id, stored)
                    if message is not None and on_wait is not None:
                        await on_wait(message)
                is_due = not await _comes(changed, pause)
                pause = min(max(2 * pause, FIRST_LOOK), LONGEST_LOOK) if is_due else pause
    except TimeoutError as error:
        if isinstance(error, NaqError):  # the server's silence, not the job's
            raise
        raise JobTimeoutError(job_id, timeout or 0) from None
    finally:
        connection.ends.remove(key, changed.set)


async def _comes(event: asyncio.Event, seconds: float) -> bool:
    """Wait for an event, no longer than so many seconds, and return whether it came."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True


async def _check_there(connection: Connection, queue: str, job_id: str, seen: Stored | None) -> Message | None:
    """Return the message of a job that has not been started, None where it runs.

    Args:
        seen: Its record as it was read just now, not that of the end that is waited for.

    Raises:
        JobNotFoundError: There is no such job (any more).
    """
    if _is_running(seen):
        return None
    message = await find_job(connection, job_id, queue)
    if message is not None and state_of_subject(message.subject)[0] not in ASIDE:
        return message
    latest = await read_record(connection, queue, job_id)  # between the two reads it may have begun and ended
    if latest is None or (seen is not None and latest.revision == seen.revision):
        raise JobNotFoundError(job_id, queue)
    return None


def _is_running(stored: Stored | None) -> bool:
    return stored is not None and stored.record.state is JobState.RUNNING


class Gone(NamedTuple):
    """A job that was waited for, and of which nothing is left."""

    key: Key


class EndWatch:
    """Waits for the ends of many jobs at a time; used as `async with`.

    Records are read together: all of them at the beginning, afterwards those of which an event has come.

    Args:
        ends: The jobs, each with what tells whether a record is the end that is waited for.
        on_wait: Called with the message of one of the jobs that have not been started, each time they are looked for.
    """

    def __init__(self, connection: Connection, ends: Mapping[Key, IsEnd], on_wait: OnWait | None = None) -> None:
        self._connection = connection
        self._on_wait = on_wait
        self._pause = FIRST_LOOK
        self._is_end = dict(ends)
        self._listeners = {key: self._listener(key) for key in ends}
        self._changed: dict[Key, bool] = dict.fromkeys(self._listeners, False)
        """Those to look at, and whether an event has announced their end."""
        self._added: set[Key] = set()
        self._wake = asyncio.Event()

    async def __aenter__(self) -> Self:
        try:
            for key, listener in self._listeners.items():
                self._added.add(key)
                await self._connection.ends.add(key, listener)
        except BaseException:
            self._stop()
            raise
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        self._stop()

    @property
    def missing(self) -> int:
        """How many have not been returned yet."""
        return len(self._listeners)

    async def next(self) -> list[Stored | Gone]:
        """Return the records of jobs that have ended since the last call, at least one; none when all were returned.

        A job of which nothing is left is returned as `Gone`. Cancelled while it waits, it loses nothing.
        """
        while self._listeners:
            ended = await self._look(list(self._changed)[:AT_ONCE])
            if ended:
                return [*ended]
            if not self._changed:
                self._connection.denials.check_below(f"{self._connection.names.namespace}.event")
                self._wake.clear()
                if not await _comes(self._wake, self._pause):
                    self._pause = min(2 * self._pause, LONGEST_LOOK)
                    if found := await self.look():
                        return found
        return []

    async def look(self) -> list[Stored | Gone]:
        """Look for every job that was not returned yet, without waiting, and return some that have ended or are gone."""
        keys = list(self._listeners)
        for start in range(0, len(keys), AT_ONCE):
            if found := await self._look_for(keys[start : start + AT_ONCE]):
                return found
        return []

    async def _look_for(self, keys: list[Key]) -> list[Stored | Gone]:
        before = dict(zip(keys, await self._read(keys, [False] * len(keys)), strict=True))
        found: list[Stored | Gone] = [stored for key, stored in before.items() if self._has_ended(stored, key)]
        idle = [key for key, stored in before.items() if not _is_running(stored) and not self._has_ended(stored, key)]
        names = self._connection.names
        subjects = [names.any_state(*key) for key in idle]
        live: dict[Key, Message] = {}
        for message in await read_many(self._connection, names.jobs_stream, subjects, f"{names.jobs}.>"):
            state, queue, job_id = state_of_subject(message.subject)
            if state not in ASIDE:
                live[queue, job_id] = message
        if live and self._on_wait is not None:
            await self._on_wait(next(iter(live.values())))
        for key in idle:
            if key in live:
                continue
            stored = await read_record(self._connection, *key)  # between the two reads it may have begun and ended
            if self._has_ended(stored, key):
                found.append(stored)
            elif stored is None or ((old := before[key]) is not None and old.revision == stored.revision):
                found.append(Gone(key))
        for each in found:
            self._forget(each.key if isinstance(each, Gone) else (each.record.queue, each.record.job_id))
        return found

    async def _look(self, keys: list[Key]) -> list[Stored]:
        told = [self._changed.pop(key) for key in keys]  # before the read: what changes during it is looked at again
        try:
            found = await self._read(keys, told)
        except BaseException:
            for key, was_told in zip(keys, told, strict=True):
                self._changed[key] = was_told or self._changed.get(key, False)
            raise
        ended: list[Stored] = []
        for key, stored in zip(keys, found, strict=True):
            if self._has_ended(stored, key):
                ended.append(stored)
                self._forget(key)
        return ended

    async def _read(self, keys: list[Key], told: list[bool]) -> list[Stored | None]:
        names = self._connection.names
        requests: list[dict[str, Any]] = [{"last_by_subj": names.result(*key)} for key in keys]
        entries = await get_many(self._connection, names.results_stream, requests)
        found = [None if entry is None else stored_of(entry) for entry in entries]
        if self._connection.settings.replicas > 1:
            for number, stored in enumerate(found):
                if told[number] and not self._has_ended(stored, keys[number]):
                    found[number] = await read_record(self._connection, *keys[number])  # the replica was behind the event
        return found

    def _listener(self, key: Key) -> Callable[[], None]:
        def mark() -> None:
            self._changed[key] = True
            self._wake.set()

        return mark

    def _forget(self, key: Key) -> None:
        self._added.discard(key)
        self._changed.pop(key, None)
        self._connection.ends.remove(key, self._listeners.pop(key))

    def _has_ended(self, stored: Stored | None, key: Key) -> TypeGuard[Stored]:
        return stored is not None and self._is_end[key](stored.record)

    def _stop(self) -> None:
        for key in tuple(self._added):
            self._forget(key)
