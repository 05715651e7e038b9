"""Waiting for the ends of many jobs at a time: what has ended is read together."""

import asyncio
from collections.abc import Mapping
from typing import Any, NamedTuple, Self, TypeGuard

from naq_core.storage.connection import Connection
from naq_core.storage.ends import Key, Listener
from naq_core.storage.records import Stored, read_record, stored_of
from naq_core.storage.subjects import ASIDE, state_of_subject
from naq_core.storage.waiting import FIRST_LOOK, LONGEST_LOOK, IsEnd, OnWait, is_running
from naq_core.transport.direct import AT_ONCE, Entry, get_many
from naq_core.transport.many import read_many
from naq_core.transport.message import Message


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
        self._ended: dict[Key, Stored] = {}
        """The records of those whose event came with it."""
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

    async def next(self) -> list[Stored | Gone]:
        """Return the records of jobs that have ended since the last call, at least one; none when all were returned.

        A job of which nothing is left is returned as `Gone`. Cancelled while it waits, it loses nothing.
        """
        while self._listeners:
            ended = self._take_ended() or await self._look(list(self._changed)[:AT_ONCE])
            if ended:
                return [*ended]
            if not self._changed and not self._ended:
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
        idle = [key for key, stored in before.items() if not is_running(stored) and not self._has_ended(stored, key)]
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

    def _take_ended(self) -> list[Stored]:
        ended = list(self._ended.values())
        for key in tuple(self._ended):
            self._forget(key)
        return ended

    def _listener(self, key: Key) -> Listener:
        def mark(entry: Entry | None) -> None:
            if entry is None:
                self._changed[key] = True
            else:
                stored = stored_of(entry)
                if not self._has_ended(stored, key):
                    return  # of another run of the id
                self._ended[key] = stored
            self._wake.set()

        return mark

    def _forget(self, key: Key) -> None:
        self._added.discard(key)
        self._changed.pop(key, None)
        self._ended.pop(key, None)
        self._connection.ends.remove(key, self._listeners.pop(key))

    def _has_ended(self, stored: Stored | None, key: Key) -> TypeGuard[Stored]:
        return stored is not None and self._is_end[key](stored.record)

    def _stop(self) -> None:
        for key in tuple(self._added):
            self._forget(key)


async def _comes(event: asyncio.Event, seconds: float) -> bool:
    """Wait for an event, no longer than so many seconds, and return whether it came."""
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        return False
    return True
