"""Waiting for the end of jobs: subscribe, look, wait for the event.

No event tells that a job has gone without an end: its record expired unseen, it was purged, or never existed. So who
waits looks again after a second, then less and less often, whether there still is something to wait for.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar

from naq_core.decoding import whole
from naq_core.errors import JobNotFoundError, JobTimeoutError, NaqError
from naq_core.record import JobRecord, JobState
from naq_core.storage.connection import Connection
from naq_core.storage.ends import Key
from naq_core.storage.records import Stored, find_job, peek_record, read_record, stored_of
from naq_core.storage.subjects import ASIDE, state_of_subject
from naq_core.transport.client import QuickClient
from naq_core.transport.direct import ABSENT, Entry, direct_get_of
from naq_core.transport.errors import CLIENT_ERRORS, DisconnectedError
from naq_core.transport.headers import parse_headers
from naq_core.transport.message import Message

FIRST_LOOK = 1.0
"""Seconds after which a wait checks that its job exists: time for a producer that is just enqueueing it."""
LONGEST_LOOK = 60.0
FRESH = 0.001
"""Seconds after its enqueue in which a job has hardly ended: its record is not asked for at once."""
LATER = 0.001
"""Seconds until it is asked for after all."""

T = TypeVar("T")
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
    enqueued_at: float = 0.0,
) -> Stored:
    """Wait until the job's record is final.

    The server republishes each change of the record, headers only; they carry its state. An event can be missed only while
    disconnected, so the record is read again after a reconnect.

    Args:
        timeout: Seconds; None waits as long as it takes, 0 looks once.
        is_end: Tells whether a record is the end that is waited for; by default any final one.
        on_wait: Called with the message of a job that has not been started, each time it is looked for.
        enqueued_at: When the job was enqueued, seconds since the epoch; 0 where it is not known.

    Raises:
        JobNotFoundError: There is neither a job nor a record, or not any more.
        JobTimeoutError: Not ended within `timeout` seconds; it goes on.
        BrokerUnavailableError, BrokerTimeoutError: The server was not there to ask.
        PermissionDeniedError: This user may not see events, so the end would be waited for in vain.
    """
    if timeout == 0:
        return await _look_once(connection, queue, job_id, is_end)
    wait = _Wait(is_end)
    key = (queue, job_id)
    await connection.ends.add(key, wait.take)
    pause = FIRST_LOOK if timeout is None else min(FIRST_LOOK, timeout / 2)
    deadline = None if timeout is None else asyncio.get_running_loop().time() + timeout
    try:
        is_due = await wait.look_and_wait(connection, key, pause, enqueued_at)
        if wait.ended is not None:
            return wait.ended
        async with asyncio.timeout_at(deadline):
            return await _read_until_ended(connection, key, wait, pause, on_wait, is_due=is_due)
    except TimeoutError as error:
        if isinstance(error, NaqError):  # the server's silence, not the job's
            raise
        raise JobTimeoutError(job_id, timeout or 0) from None
    finally:
        connection.ends.remove(key, wait.take)


async def _look_once(connection: Connection, queue: str, job_id: str, is_end: IsEnd) -> Stored:
    stored = await read_record(connection, queue, job_id)
    if stored is not None and is_end(stored.record):
        return stored
    await _check_there(connection, queue, job_id, stored)
    raise JobTimeoutError(job_id, 0)


async def _read_until_ended(
    connection: Connection, key: Key, wait: "_Wait", pause: float, on_wait: OnWait | None, *, is_due: bool
) -> Stored:
    """Read the record, now and whenever it has to be read, until it is that of the end.

    Args:
        pause: Seconds that were waited, or are to be, before it is looked whether the job is there.
        is_due: To look for that at once.
    """
    while wait.ended is None:
        # A direct read is cheaper, but with replicas it may be older than the event that woke us, and without a stream
        # it is not answered. This connection has created or found the streams if it has enqueued anything.
        is_stored = wait.must_read or "streams" in connection.ready
        read = peek_record if is_stored and connection.settings.replicas == 1 else read_record
        wait.must_read = False
        stored = await _in_turn(connection, partial(read, connection, *key))
        if stored is not None and wait.is_end(stored.record):
            return stored
        connection.denials.check_below(f"{connection.names.namespace}.event")
        if is_due and not wait.must_read:
            message = await _in_turn(connection, partial(_check_there, connection, *key, stored))
            if message is not None and on_wait is not None:
                await on_wait(message)
        if is_due:
            pause = min(max(2 * pause, FIRST_LOOK), LONGEST_LOOK)
        is_due = not await wait.comes(pause)
    return wait.ended


async def _in_turn(connection: Connection, ask: Callable[[], Awaitable[T]]) -> T:
    """Ask the server when it is this wait's turn: 20,000 waits look at the same time after a second, or after a reconnect.

    A wait that has no turn yet learns within its budget that the server cannot be reached.
    """
    deadline = connection.budget()
    while True:
        await connection.wait_connected(deadline)
        async with connection.turns:
            if connection.is_connected:
                return await ask()


class _Wait:
    """One wait for the end of a job, and what is known of it by now."""

    __slots__ = ("_loop", "_woken", "ended", "is_end", "must_read")

    def __init__(self, is_end: IsEnd) -> None:
        self.is_end = is_end
        self._loop = asyncio.get_running_loop()
        self._woken: asyncio.Future[None] | None = None
        self.ended: Stored | None = None
        """The record of the end, once it is known."""
        self.must_read = False
        """The record is to be read: an event has come without it, or was perhaps missed."""

    def take(self, entry: Entry | None) -> None:
        """Take the record of an end, or None where there is one to be read."""
        if entry is None:
            self.must_read = True
        else:
            stored = stored_of(entry)
            if stored is None or not self.is_end(stored.record):
                return  # of another run of the id
            self.ended = stored
        self._wake()

    async def look_and_wait(self, connection: Connection, key: Key, seconds: float, enqueued_at: float) -> bool:
        """Ask for the record, and wait for its end or for an event, whichever comes first; return whether the time is over.

        An end that came before the subscription is in the answer. Any other answer changes nothing, so nobody is woken for it.
        A job that was enqueued just now has hardly ended yet, so the event is given a moment.
        """
        names, client = connection.names, connection.client
        record = names.result(*key)
        question = direct_get_of(names.results_stream, record)
        if not connection.is_connected or "streams" not in connection.ready or connection.settings.replicas > 1:
            return False
        if connection.denials.is_refused(question):
            return False
        woken = self._woken = self._loop.create_future()
        timers = [self._loop.call_later(seconds, self._wake)]
        reply = ""
        try:
            reply = await client.replies.expect(woken, partial(self._on_answer, record))
            if 0 <= connection.clock.now() - enqueued_at < FRESH:
                timers.append(self._loop.call_later(LATER, self._ask, client, question, reply))
            else:
                self._ask(client, question, reply)
            await woken
        except (DisconnectedError, *CLIENT_ERRORS):
            return False
        finally:
            for timer in timers:
                timer.cancel()
            client.replies.forget((reply,))
        return self.ended is None and not self.must_read

    def _ask(self, client: QuickClient, question: str, reply: str) -> None:
        try:
            client.post(question, b"", reply)
        except CLIENT_ERRORS:
            self.take(None)

    def _on_answer(self, subject: str, _subject: bytes, _reply: bytes, data: bytes, block: bytes) -> None:
        headers = parse_headers(block)
        status, sequence = headers.get("Status"), whole(headers.get("Nats-Sequence", ""))
        if status is None and sequence:
            self.take(Entry(subject, sequence, "", headers, data))
        elif status != ABSENT:
            self.take(None)

    async def comes(self, seconds: float) -> bool:
        """Wait until there is something, no longer than so many seconds, and return whether there is."""
        if not self.must_read and self.ended is None:
            self._woken = self._loop.create_future()
            timer = self._loop.call_later(seconds, self._wake)
            try:
                await self._woken
            finally:
                timer.cancel()
        return self.must_read or self.ended is not None

    def _wake(self) -> None:
        if self._woken is not None and not self._woken.done():
            self._woken.set_result(None)


async def _check_there(connection: Connection, queue: str, job_id: str, seen: Stored | None) -> Message | None:
    """Return the message of a job that has not been started, None where it runs.

    Args:
        seen: Its record as it was read just now, not that of the end that is waited for.

    Raises:
        JobNotFoundError: There is no such job (any more).
    """
    if is_running(seen):
        return None
    message = await find_job(connection, job_id, queue)
    if message is not None and state_of_subject(message.subject)[0] not in ASIDE:
        return message
    latest = await read_record(connection, queue, job_id)  # between the two reads it may have begun and ended
    if latest is None or (seen is not None and latest.revision == seen.revision):
        raise JobNotFoundError(job_id, queue)
    return None


def is_running(stored: Stored | None) -> bool:
    """Whether a record is that of a job that a worker has claimed."""
    return stored is not None and stored.record.state is JobState.RUNNING
