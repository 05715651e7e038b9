"""Starting the next jobs of keys: one atomic batch lists them as having a place and makes them ready.

Every step may be repeated by anybody at any time, and nobody has to live for the next one (`docs/adr/0054-keys.md`).
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from naq_core.decoding import complain
from naq_core.errors import UnreadableError, WrongSequenceError
from naq_core.record import JobState
from naq_core.storage.asks import Writers
from naq_core.storage.bells import timed_bell
from naq_core.storage.connection import Connection
from naq_core.storage.edges import forget
from naq_core.storage.keys import KeyPlaces, decode_places, encode_places
from naq_core.storage.messages import if_newest, run_of
from naq_core.storage.next_jobs import NextJobs
from naq_core.storage.presence import read_presence
from naq_core.storage.records import find_job, read_record
from naq_core.storage.room import KeyRule, Room
from naq_core.storage.subjects import ALL, LIST, PLACE, TURN
from naq_core.storage.waiting_entries import Key, KeyLook, WaitingJob, WantedJobs, read_waiting
from naq_core.transport.batch import store_batch
from naq_core.transport.direct import get_many
from naq_core.transport.headers import EXPECTED_SEQUENCE, ROLLUP, SCHEDULE_NEXT, SCHEDULER, TTL, ttl_text
from naq_core.transport.repeat import BrokerMessage
from naq_core.transport.streams import read_next

log = logging.getLogger(__name__)

MOST_OF_KEY = 100
"""Jobs of a key that one batch starts; more follow in the next one."""
MOST_MESSAGES = 500
"""Messages of a batch, about: the server takes 1,000."""
APART = 8
"""Batches on their way at the same time."""
CONTENDED_FOR = 0.5
"""Seconds for which a key is read before it is written, and not written with others, after somebody else was faster."""
FEW_TRIES = 3
"""A key for which others were faster more often is written alone."""
MOST_AHEAD_IN_ALL = 20_000
"""Jobs of all keys that are read ahead, about."""
REMEMBERED = 5000
IDLE_FOR = 300
"""Seconds that the list of a key stays in which no job has a place. Its absence means the same."""


@dataclass(slots=True)
class Work:
    """What is to be done for a key."""

    key: Key
    rule: KeyRule
    """How many jobs may have a place, and start."""
    starting: dict[str, str] = field(default_factory=dict)
    """Ids and run tokens of jobs that are about to start, and take a token of the rate for it."""
    answers: dict[str, float] = field(default_factory=dict)
    """Of those: the seconds after which to ask again; 0: the token was taken."""
    at: float = 0.0
    """The latest stamp of the server among what asked for it: it is no earlier than that."""
    wake_at: float = 0.0
    """When to look again, if not 0: then the rate allows the next start."""
    ended: dict[str, str] = field(default_factory=dict)
    """Ids and run tokens of jobs that have ended, on record: their places are free."""
    listed_at: int = 0
    """The sequence of the newest list in which one of those is known to have got its place: what is known from before is old."""
    checks: bool = False
    """Look whether those that have a place are still there."""
    is_rung: bool = False
    """A bell asked for it. Its sender stores no other one while the list stays the same, so the list is written before the last
    look, unless the key is full."""
    has_levels: bool = False
    """The bell was of another priority than the normal one: the list is to say that there are such jobs."""
    is_seen: bool = False
    """Its list was read or written since this work came: what was known before may be old."""
    has_written: bool = False
    passed: int = 0
    """Entries that are first in the order and cannot be started."""
    has_more: bool = False
    """More may lie behind those."""
    tries: int = 0
    """How often somebody else was faster."""


class _Known:
    """What is known of a key from the last read or write."""

    __slots__ = ("bell", "contended_until", "jobs", "places", "revision")

    def __init__(self, places: KeyPlaces, revision: int, jobs: NextJobs) -> None:
        self.places = places
        self.revision = revision
        self.jobs = jobs
        """Those that are next, as far as they were read."""
        self.contended_until = 0.0
        self.bell = 0
        """The sequence of the bell that was stored for a time; 0: none was, or not by this worker."""


class _KeyPlan(NamedTuple):
    work: Work
    known: _Known
    places: KeyPlaces
    """The next version of the list."""
    following: list[WaitingJob]
    rings: bool
    """A bell for the time of the next start is stored with it."""
    is_open: bool
    """More may start."""
    answers: dict[str, float]


class Releasing:
    """Starts the next jobs of keys, and remembers what it has read and written: for the worker of `writers`.

    It writes before it looks for the last time: a job that was enqueued between the two is found here, and the client of a later
    one meets what was written. So a job never waits for a key that has room.
    """

    def __init__(self, connection: Connection, writers: Writers) -> None:
        self._connection = connection
        self._writers = writers
        self._known: dict[Key, _Known] = {}
        self._now = asyncio.get_running_loop().time
        self._turn = asyncio.Semaphore(APART)

    def waiting_at(self, key: Key, job_id: str) -> int:
        """Return the sequence of a key's list that is known to let no job more start; 0: none is, or the job is in it."""
        known = self._known.get(key)
        return known.revision if known is not None and known.places.is_full and job_id not in known.places.taken else 0

    async def round(self, works: Sequence[Work]) -> list[Work]:
        """Go one step for different keys, and return what is not done after it.

        Raises:
            BrokerError: It is unknown whether all of it was done: do it again.
        """
        try:
            return await self._step(works)
        except BaseException:
            for work in works:
                self._known.pop(work.key, None)
                work.is_seen = False
            raise

    async def _step(self, works: Sequence[Work]) -> list[Work]:
        await self._read_lists([work for work in works if self._has_to_read(work)])
        await asyncio.gather(*(self._check(work) for work in works if work.checks))
        await self._read_following(works)
        plans = [plan for plan in map(self._plan, works) if plan is not None]
        written = {plan.work.key for plan in plans}
        again = [work for work in works if work.key not in written and (work.has_more or not work.is_seen)]
        again += await self._write(plans)
        while len(self._known) > REMEMBERED:
            del self._known[next(iter(self._known))]
        return again

    def _has_to_read(self, work: Work) -> bool:
        """Whether the list of a key is to be read: what was written last is a good guess where a job has ended."""
        known = self._known.get(work.key)
        if work.is_seen and known is not None:
            return False
        if known is None or known.revision < work.listed_at:
            return True
        is_guess = bool(work.ended or work.starting)
        return not is_guess or work.checks or self._now() < known.contended_until

    async def _read_lists(self, works: Sequence[Work]) -> None:
        if not works:
            return
        connection, names = self._connection, self._connection.names
        subjects = [names.places(*work.key) for work in works]
        if connection.is_clustered:  # the leader knows
            lists = await asyncio.gather(*(read_next(connection, names.jobs_stream, subject) for subject in subjects))
            found = [None if each is None else (each.data, each.sequence) for each in lists]
        else:
            entries = await get_many(connection, names.jobs_stream, [{"last_by_subj": subject} for subject in subjects])
            found = [None if each is None else (each.data, each.sequence) for each in entries]
        for work, subject, each in zip(works, subjects, found, strict=True):
            data, revision = each or (b"", 0)
            known = self._known.get(work.key)
            if known is None or known.revision != revision:
                was = known
                known = self._known[work.key] = _Known(
                    _places_of(subject, data), revision, NextJobs() if was is None else was.jobs
                )
                known.jobs.drop()
                if was is not None:
                    known.contended_until, known.bell = was.contended_until, was.bell
            work.is_seen = True

    def _taken(self, work: Work) -> dict[str, str]:
        return {job: run for job, run in self._known[work.key].places.taken.items() if work.ended.get(job) != run}

    def _room(self, work: Work) -> Room:
        low, high = self._connection.clock.bounds()
        return Room(self._known[work.key].places, work.rule, self._taken(work), max(low, work.at), max(high, work.at))

    async def _check(self, work: Work) -> None:
        """Look whether the jobs that have a place are still there; those that are not count as ended."""
        taken = self._taken(work)
        if self._room(work).free == 0:
            are_there = await asyncio.gather(*(_needs_place(self._connection, work.key, *each) for each in taken.items()))
            work.ended |= {job: run for (job, run), is_there in zip(taken.items(), are_there, strict=True) if not is_there}
        work.checks = False

    async def _read_following(self, works: Sequence[Work]) -> None:
        """Read who is next, for keys that have room and of which that is not known."""
        reading: list[Work] = []
        wanted: list[WantedJobs] = []
        now = self._now()
        for work in works:
            known, taken = self._known[work.key], self._taken(work)
            room = min(self._room(work).free, MOST_OF_KEY)
            work.has_more = False
            # Each enqueue of another priority stores a bell, and the list says so when it is answered.
            has_levels = work.has_levels or work.checks or known.places.has_levels
            known.jobs.drop_old(now, has_levels=has_levels)
            if known.jobs.is_all and len(taken) < len(known.places.taken) and not work.has_written:  # it writes first
                known.jobs.look_from_start()
            elif room > 0 and not known.jobs.following:
                reading.append(work)
                most_ahead = MOST_AHEAD_IN_ALL // len(self._known)
                wanted.append(known.jobs.look(work.key, room, most_ahead, work.passed, has_levels=has_levels))
        if not wanted:
            return
        looks = await read_waiting(self._connection, wanted)
        for number, (work, found) in enumerate(zip(reading, looks, strict=True)):
            taken = self._taken(work)
            if not wanted[number].is_certain and any(each.job_id in taken for each in found.jobs):
                (looks[number],) = await read_waiting(self._connection, [wanted[number]._replace(is_certain=True)])
        await asyncio.gather(*(self._note(work, found, now) for work, found in zip(reading, looks, strict=True)))
        await forget(self._connection, [entry for found in looks for entry in found.stale])

    async def _note(self, work: Work, found: KeyLook, now: float) -> None:
        """Take note of who is next. An id that has a place waits for its end; or it came back without, by a way of its own."""
        known = self._known[work.key]
        taken = self._taken(work)
        for each in found.jobs:
            run = taken.get(each.job_id)
            if run is not None and not await _needs_place(self._connection, work.key, each.job_id, run):
                work.ended[each.job_id] = run
                del taken[each.job_id]
        work.has_more = known.jobs.note(found, taken, now)
        if work.has_more:
            work.passed += len(found.jobs) + len(found.stale)

    def _plan(self, work: Work) -> _KeyPlan | None:
        """Return what is to be written for a key; None where nothing is."""
        known, room = self._known[work.key], self._room(work)
        answers = {job_id: room.begin(job_id, run) for job_id, run in work.starting.items()}
        free = min(room.free, MOST_OF_KEY)
        following = known.jobs.take(free, room.taken) if free > 0 else []
        for each in following:
            room.admit(each.job_id, each.run)
        places = room.stored(has_levels=work.has_levels or known.places.has_levels)
        is_answer = work.is_rung and free > 0 and not work.has_written
        work.wake_at = room.wake_at
        if not (following or is_answer or room.is_changed(places, is_absent=known.revision == 0)):
            if work.is_seen:
                self._answer(work, answers)
            else:  # the list as it is remembered does not name what has ended: it may be another one by now
                del self._known[work.key]
            return None
        return _KeyPlan(work, known, places, following, room.has_to_ring, room.free > 0, answers)

    @staticmethod
    def _answer(work: Work, answers: dict[str, float]) -> None:
        work.answers |= answers
        for job_id in answers:
            del work.starting[job_id]

    async def _write(self, plans: Sequence[_KeyPlan]) -> list[Work]:
        """Write lists and jobs; return what is to be looked at again."""
        now = self._now()
        groups = [[plan] for plan in plans if plan.work.tries > FEW_TRIES]
        kept = [plan for plan in plans if plan.work.tries <= FEW_TRIES]
        for together in (
            [plan for plan in kept if now >= plan.known.contended_until],
            [plan for plan in kept if now < plan.known.contended_until],
        ):
            size = MOST_MESSAGES
            for plan in together:
                if size + 2 + len(plan.following) > MOST_MESSAGES:
                    groups.append([])
                    size = 0
                groups[-1].append(plan)
                size += 2 + len(plan.following)
        done = await asyncio.gather(*(self._write_group(group) for group in groups))
        return [work for some in done for work in some]

    async def _write_group(self, plans: Sequence[_KeyPlan]) -> list[Work]:
        # The lists come first: a repeat of the batch is recognised by them, as no other writer's is the same.
        batch = [self._list_of(plan) for plan in plans]
        rung = [plan for plan in plans if plan.rings]
        batch += [timed_bell(self._connection, *plan.work.key, plan.places.bell_at) for plan in rung]
        for number, plan in enumerate(plans):
            for each in plan.following:
                batch.append(self._moved(plan.work.key[1], each, len(batch) - number))
        try:
            async with self._turn:
                last, is_last = await store_batch(self._connection, batch)
        except WrongSequenceError:
            return await self._refused(plans)
        first = last - len(batch) + 1
        again: list[Work] = []
        done = [entry for plan in plans for entry in plan.known.jobs.note_started(plan.following)]
        for number, plan in enumerate(plans):
            work, known = plan.work, plan.known
            work.has_written = work.is_seen = True
            self._answer(work, plan.answers)
            if not plan.places.bell_at and known.bell:
                done.append(known.bell)  # it would ring for nothing
                known.bell = 0
            if is_last:
                known.places, known.revision = plan.places, first + number
            else:
                self._known.pop(work.key, None)
            if plan.is_open or not is_last:
                known.jobs.drop()
                again.append(work)
        for number, plan in enumerate(rung, first + len(plans)):
            plan.known.bell = number if is_last else 0
        await forget(self._connection, done)
        return again

    async def _refused(self, plans: Sequence[_KeyPlan]) -> list[Work]:
        """Somebody else was faster for one of these keys at least: find out which."""
        for plan in plans:
            plan.work.is_seen = False
            plan.work.tries += 1
            plan.known.jobs.drop()
        before = [plan.known.revision for plan in plans]
        await self._read_lists([plan.work for plan in plans])
        changed = [
            plan.work.key for plan, revision in zip(plans, before, strict=True) if self._known[plan.work.key].revision != revision
        ]
        for plan in plans:
            known = self._known[plan.work.key]
            known.jobs.is_doubted |= not changed or plan.work.tries > FEW_TRIES  # then it was for a job that waits no more
            if plan.work.key in changed or plan.work.tries > FEW_TRIES:
                known.contended_until = self._now() + CONTENDED_FOR
            if plan.work.key in changed:
                self._writers.note_refusal(plan.work.key[0], known.places.writer)
        return [plan.work for plan in plans]

    def _list_of(self, plan: _KeyPlan) -> BrokerMessage:
        """Return a list as stored, in the place of the version before; an empty one expires."""
        headers = {EXPECTED_SEQUENCE: str(plan.known.revision)}
        if plan.known.revision:
            headers[ROLLUP] = "sub"
        if not plan.places.taken:
            idle = max(0.0, plan.places.full_at - self._connection.clock.now()) + IDLE_FOR
            headers[TTL] = ttl_text(idle)
        data = encode_places(self._connection, plan.places, self._writers.worker_id)
        return self._connection.names.places(*plan.work.key), data, headers

    def _moved(self, token: str, job: WaitingJob, after_list: int) -> BrokerMessage:
        queue = job.ready.rsplit(".", 2)[1]
        headers = {
            **if_newest(self._connection, queue, job.job_id, job.sequence),
            SCHEDULER: self._connection.names.held(queue, job.job_id),
            SCHEDULE_NEXT: "purge",
        }
        if token != ALL:
            headers |= {PLACE: token, LIST: str(after_list)}
        else:
            headers |= {TURN: "1", **({PLACE: job.place} if job.place else {})}
        return job.ready, job.data, headers


def _places_of(subject: str, data: bytes) -> KeyPlaces:
    if not data:
        return KeyPlaces({})
    try:
        return decode_places(data)
    except UnreadableError as error:
        complain(log, subject, error, "no job has a place")
        return KeyPlaces({})


async def _needs_place(connection: Connection, key: Key, job_id: str, run: str) -> bool:
    """Whether a job's message says that it has its place: then its delivery gives it back, if nobody else does.

    A job whose message was purged or deleted while it ran still needs it, as long as its worker tells that it runs.
    """
    queue, token = key
    message = await find_job(connection, job_id, queue)
    if message is not None:
        return (TURN if token == ALL else PLACE) in message.headers and run_of(message) == run
    stored = await read_record(connection, queue, job_id)
    if stored is None or stored.record.state is not JobState.RUNNING or stored.record.run != run:
        return False
    presence = await read_presence(connection, stored.record.worker)
    return presence is not None and (job_id in presence["running"] or presence["at"] <= stored.record.started_at)
