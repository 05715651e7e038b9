"""Waiting for the end of jobs: subscribe, look, wait for the event; never poll."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, Self

from naq_core._nats.connection import Connection
from naq_core._nats.direct import AT_ONCE, get_many
from naq_core._nats.ends import Key
from naq_core._nats.records import Stored, peek_record, read_record, stored_of
from naq_core.errors import JobTimeoutError, NaqError
from naq_core.record import JobRecord


def is_final(record: JobRecord) -> bool:
    """Whether a record is that of an end."""
    return record.state.is_final


async def wait_for_end(
    connection: Connection,
    queue: str,
    job_id: str,
    timeout: float | None,
    is_end: Callable[[JobRecord], bool] = is_final,
) -> Stored:
    """Wait until the job's record is final.

    The server republishes each change of the record, headers only; they carry its state. An event can be missed only while
    disconnected, so the record is read again after a reconnect.

    Args:
        timeout: Seconds; None waits as long as it takes, 0 looks once.
        is_end: Tells whether a record is the end that is waited for; by default any final one.

    Raises:
        JobTimeoutError: Not ended within `timeout` seconds; it goes on.
        BrokerUnavailableError, BrokerTimeoutError: The server was not there to ask.
        PermissionDeniedError: This user may not see events, so the end would be waited for in vain.
    """
    if timeout == 0:
        stored = await read_record(connection, queue, job_id)
        if stored is None or not is_end(stored.record):
            raise JobTimeoutError(job_id, 0)
        return stored
    changed = asyncio.Event()
    key = (queue, job_id)
    await connection.ends.add(key, changed.set)
    try:
        async with asyncio.timeout(timeout):
            while True:
                # With replicas a direct read may be older than the event that woke us: then ask the leader.
                read = read_record if changed.is_set() and connection.settings.replicas > 1 else peek_record
                changed.clear()
                stored = await read(connection, queue, job_id)
                if stored is not None and is_end(stored.record):
                    return stored
                connection.denials.check_below(f"{connection.names.namespace}.event")
                await changed.wait()
    except TimeoutError as error:
        if isinstance(error, NaqError):  # the server's silence, not the job's
            raise
        raise JobTimeoutError(job_id, timeout or 0) from None
    finally:
        connection.ends.remove(key, changed.set)


class EndWatch:
    """Waits for the ends of many jobs at a time; used as `async with`.

    Records are read together: all of them at the beginning, afterwards those of which an event has come.
    """

    def __init__(self, connection: Connection, keys: Iterable[Key]) -> None:
        self._connection = connection
        self._listeners = {key: self._listener(key) for key in keys}
        self._changed: dict[Key, bool] = dict.fromkeys(self._listeners, False)
        """Those to look at, and whether an event has told of their end."""
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

    async def next(self) -> list[Stored]:
        """Return the records of jobs that have ended since the last call, at least one; none when all were returned.

        Cancelled while it waits, it loses nothing.
        """
        while self._listeners:
            ended = await self._look(list(self._changed)[:AT_ONCE])
            if ended:
                return ended
            if not self._changed:
                self._connection.denials.check_below(f"{self._connection.names.namespace}.event")
                self._wake.clear()
                await self._wake.wait()
        return []

    async def _look(self, keys: list[Key]) -> list[Stored]:
        told = [self._changed.pop(key) for key in keys]  # before the read: what changes during it is looked at again
        try:
            found = await self._read(keys, told)
        except BaseException:
            for key, was_told in zip(keys, told, strict=True):
                self._changed[key] = was_told or self._changed.get(key, False)
            raise
        ended = [stored for stored in found if stored is not None and stored.record.state.is_final]
        for key, stored in zip(keys, found, strict=True):
            if stored is not None and stored.record.state.is_final:
                self._forget(key)
        return ended

    async def _read(self, keys: list[Key], told: list[bool]) -> list[Stored | None]:
        names = self._connection.names
        requests: list[dict[str, Any]] = [{"last_by_subj": names.result(*key)} for key in keys]
        entries = await get_many(self._connection, names.results_stream, requests)
        found = [None if entry is None else stored_of(entry) for entry in entries]
        if self._connection.settings.replicas > 1:
            for number, stored in enumerate(found):
                if told[number] and (stored is None or not stored.record.state.is_final):
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

    def _stop(self) -> None:
        for key in tuple(self._added):
            self._forget(key)
