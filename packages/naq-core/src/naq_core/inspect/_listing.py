"""Walking records and messages together, newest first, so that each job comes once."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Self

from naq_core.envelope import Envelope
from naq_core.errors import InvalidOptionError
from naq_core.inspect._arguments import has_arguments
from naq_core.inspect._compose import envelope_of, is_of_this_run, view_of
from naq_core.inspect._match import matches, may_match, record_sieve
from naq_core.masks import Mask, masked
from naq_core.names import is_job_id
from naq_core.record import JobRecord, JobState
from naq_core.storage.connection import Connection
from naq_core.storage.consumers import ConsumerFacts, list_consumers
from naq_core.storage.records import stored_of
from naq_core.storage.subjects import LEVELS, STATE, state_of_subject
from naq_core.transport.direct import Entry, get_many
from naq_core.transport.newest_first import ReverseScan
from naq_core.transport.streams import stream_span
from naq_core.values import exact_text
from naq_core.views import JobFilter, JobView

PLACES: dict[JobState, frozenset[str]] = {
    JobState.QUEUED: frozenset(LEVELS),
    JobState.RUNNING: frozenset(LEVELS),
    JobState.RETRYING: frozenset({*LEVELS, "held"}),
    JobState.HELD: frozenset({"held"}),
    JobState.DEAD: frozenset({"dead"}),
}
"""Where in the jobs stream the messages of jobs in these states lie; jobs in other states have none."""
EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
CLOCKS = timedelta(minutes=5)
"""How much a producer's clock may be ahead of the server's for `since` to find all its jobs."""
CHUNK = 250
"""Entries that are looked at without a pause: others wait for the event loop meanwhile."""
RARE = frozenset({"held", "dead"})
"""Places that hold few of all messages."""
FEW = 20_000
"""Waiting jobs up to which a queue's messages are few."""
GRACE = 0.15
"""Seconds over its time that a list may take to find its first entry."""
MOST_SOURCES = 60
"""Subjects that are merged at most."""


class MergedSubject:
    """One of the subjects that a listing merges."""

    def __init__(self, scan: ReverseScan, position: int, *, is_records: bool) -> None:
        self.scan = scan
        self.position = position
        """What has been shown is from here on up."""
        self.is_records = is_records
        self.buffer: deque[Entry] = deque()

    @property
    def is_done(self) -> bool:
        """Whether nothing is left."""
        return not self.buffer and self.scan.is_done


class Listing:
    """A list of jobs being paged through."""

    def __init__(
        self,
        connection: Connection,
        wanted: JobFilter,
        sources: Sequence[MergedSubject],
        began: int,
        skip: Callable[[str, str], bool],
        mask: Mask | None,
    ) -> None:
        self._connection = connection
        self._began = began
        """The newest record when the list began: later ones have not been and will not be listed."""
        self._filter = wanted
        self._mask = mask
        self._may_hold = record_sieve(wanted, mask)
        self._sources = sources
        self._skip = skip
        self._has_records = any(source.is_records for source in sources)
        self._floor = "" if wanted.since is None else _sortable((max(wanted.since, EARLIEST) - CLOCKS).isoformat())

    @classmethod
    async def open(
        cls,
        connection: Connection,
        wanted: JobFilter,
        cursor: str | None,
        skip: Callable[[str, str], bool] = lambda *_: False,
        mask: Mask | None = None,
    ) -> Self:
        """Find out where to look.

        Args:
            wanted: Made by `check_filter`.
            skip: Says of the queue and the id of a job whether it is not to be listed, as it has been shown.
            mask: As of `list_jobs`.

        Raises:
            InvalidOptionError: The cursor is of another list.
        """
        names = connection.names
        queue = wanted.place
        records, jobs, consumers = await asyncio.gather(
            stream_span(connection, names.results_stream),
            stream_span(connection, names.jobs_stream),
            _consumers(connection, wanted),
        )
        spans: list[tuple[str, str | None, int, int, int]] = []
        """Stream, subject, where to begin, the lowest sequence, how far apart the matches lie (0: unknown)."""
        if not wanted.states <= PLACES.keys() or not wanted.states:
            subject = None if queue == "*" else names.result(queue, "*")
            spans.append((names.results_stream, subject, records.last + 1, records.first, 0))
        if not wanted.states:
            if not (wanted.worker or wanted.error):  # what no worker has had has neither
                spans.append((names.jobs_stream, names.any_state(queue, "*"), jobs.last + 1, jobs.first, 0))
        else:
            places = frozenset().union(*(PLACES.get(state, ()) for state in wanted.states))
            if not places.isdisjoint(LEVELS):
                spans += [(names.jobs_stream, *each) for each in _ready_spans(connection, wanted, queue, jobs.last, consumers)]
            for place in sorted(places.difference(LEVELS)):
                spans.append((names.jobs_stream, f"{names.jobs}.{place}.{queue}.*", jobs.last + 1, jobs.first, 0))
        rare = _rare_subjects(connection, queue, [subject for _, subject, *_ in spans if subject], consumers)
        begin = [records.last, *(top for _, _, top, _, _ in spans)]
        began, *positions = begin if cursor is None else _read_cursor(cursor, len(begin))
        sources = [
            MergedSubject(
                ReverseScan(connection, stream, subject, below=position, first=max(1, first), is_rare=subject in rare, step=step),
                position,
                is_records=stream == names.results_stream,
            )
            for (stream, subject, _, first, step), position in zip(spans, positions, strict=True)
        ]
        return cls(connection, wanted, sources, began, skip, mask)

    def cursor(self) -> str | None:
        """Return what continues the list after what `page` has returned; None at its end."""
        if all(source.is_done for source in self._sources):
            return None
        return "-".join(map(str, [self._began, *(source.position for source in self._sources)]))

    async def page(
        self, limit: int, max_scan: int, until: float | None = None, *, grace: float = GRACE
    ) -> tuple[list[JobView], int]:
        """Return the next jobs, at most `limit`, and how many entries were looked at for them, at most `max_scan`.

        Args:
            until: When to end, with what was found, by the event loop's clock; None: when it is complete.
            grace: Seconds that it may look on after that, as long as it has found no entry: an empty page is of no use.
        """
        loop = asyncio.get_running_loop()
        jobs: list[JobView] = []
        scanned = 0
        chunk = min(CHUNK, limit)
        while len(jobs) < limit and scanned < max_scan and (until is None or not scanned or loop.time() < until):
            batch = await self._take(min(chunk, max_scan - scanned), until, 0.0 if scanned else grace)
            if not batch:
                self._note_leaps()
                break
            views = await self._views(batch)
            before = len(jobs)
            used = 0
            for view in views:
                if len(jobs) == limit:
                    break
                used += 1
                if view is not None:
                    jobs.append(view)
            self._consume(batch, used)
            scanned += used
            if len(jobs) - before < used // 4:
                chunk = min(CHUNK, chunk * 2)
        return jobs, scanned

    def _consume(self, batch: list[tuple[MergedSubject, Entry]], used: int) -> None:
        for source, entry in batch[:used]:
            source.position = entry.sequence
        for source, entry in reversed(batch[used:]):
            source.buffer.appendleft(entry)
        self._note_leaps()

    def _note_leaps(self) -> None:
        """Let the next page begin below what is known to be empty, or it would have to find that out again."""
        for source in self._sources:
            if not source.buffer:
                source.position = min(source.position, source.scan.top)

    async def _take(self, count: int, until: float | None, grace: float) -> list[tuple[MergedSubject, Entry]]:
        """Return the next entries of all sources, by the time they were stored; each source stays in its own order."""
        loop = asyncio.get_running_loop()
        batch: list[tuple[MergedSubject, Entry]] = []
        while len(batch) < count:
            for source in self._sources:
                if not source.is_done and not source.buffer:
                    if batch and until is not None and loop.time() >= until:
                        return batch
                    source.buffer.extend(await source.scan.more(count, None if until is None else until + grace))
                    if not source.buffer and not source.is_done:
                        return batch  # time is up, and its next entry may be newer than the others'
                if self._floor and source.buffer and _sortable(source.buffer[0].stored_at) < self._floor:
                    source.buffer.clear()
                    source.scan.end()
            waiting = [source for source in self._sources if source.buffer]
            if not waiting:
                break
            newest = max(waiting, key=_newest) if len(waiting) > 1 else waiting[0]
            batch.append((newest, newest.buffer.popleft()))
        return batch

    async def _views(self, batch: Sequence[tuple[MergedSubject, Entry]]) -> list[JobView | None]:
        """Return what is to be shown of each entry, None for nothing: no match, or it is shown in another place."""
        names = self._connection.names
        views: list[JobView | None] = [None] * len(batch)
        records: dict[int, JobRecord] = {}
        messages: dict[int, Entry] = {}
        requests: list[dict[str, Any]] = []
        for number, (source, entry) in enumerate(batch):
            _, queue, job_id = state_of_subject(entry.subject)
            if not is_job_id(job_id) or self._skip(queue, job_id):
                continue  # the former is a bell, which is no job
            if not source.is_records:
                if self._may_come_to_match(entry):
                    messages[number] = entry
                    requests.append({"last_by_subj": names.result(queue, job_id)})
                continue
            record = self._read_if_wanted(entry)
            if record is not None and self._may_be_wanted(record):
                records[number] = record
        for number, found in zip(messages, await get_many(self._connection, names.results_stream, requests), strict=True):
            views[number] = self._of_message(messages[number], found)
        live = [{"last_by_subj": names.any_state(each.queue, each.job_id)} for each in records.values()]
        for number, found in zip(records, await get_many(self._connection, names.jobs_stream, live), strict=True):
            record = records[number]
            envelope = None if found is None else envelope_of(found)
            if found is None or is_of_this_run(record, found, envelope):  # else: its new life is shown elsewhere
                view = view_of(record, found, sequence=batch[number][1].sequence)
                views[number] = masked(view, self._mask) if self._has_arguments(view, envelope) else None
        return views

    def _may_come_to_match(self, message: Entry) -> bool:
        """Return whether a message's job may match, whatever its record says: most records need not be asked for."""
        view = view_of(None, message)
        if not may_match(self._filter, view, self._mask):
            return False
        return not self._filter.arguments or has_arguments(self._filter, view, envelope_of(message), self._mask) is True

    def _read_if_wanted(self, entry: Entry) -> JobRecord | None:
        """Return a record, None of one that cannot match: most of what a search passes is decided without reading it."""
        states = self._filter.states
        if states and entry.headers.get(STATE, "") not in states and STATE in entry.headers:
            return None
        return _read(entry) if self._may_hold(entry.data) else None

    def _may_be_wanted(self, record: JobRecord) -> bool:
        view = view_of(record, None)
        if not matches(self._filter, view, self._mask):
            return False
        return not self._filter.arguments or has_arguments(self._filter, view, None, self._mask) is not False

    def _of_message(self, message: Entry, found: Entry | None) -> JobView | None:
        record = None if found is None else _read(found)
        is_listed = self._has_records and found is not None and found.sequence <= self._began
        if is_listed and record is not None and is_of_this_run(record, message, envelope_of(message)):
            return None  # it is, or was, listed at its record's place
        view = view_of(record, message, sequence=message.sequence)
        if not matches(self._filter, view, self._mask) or not self._has_arguments(view, envelope_of(message)):
            return None
        return masked(view, self._mask)

    def _has_arguments(self, view: JobView, envelope: Envelope | None) -> bool:
        return not self._filter.arguments or has_arguments(self._filter, view, envelope, self._mask) is True


async def _consumers(connection: Connection, wanted: JobFilter) -> list[ConsumerFacts]:
    """Return the consumers that tell where the jobs can be; none where the places of these do not depend on them."""
    is_ready = any(not frozenset(LEVELS).isdisjoint(PLACES.get(state, ())) for state in wanted.states)
    return await list_consumers(connection, wanted.place) if is_ready or not (wanted.states or wanted.place == "*") else []


def _rare_subjects(connection: Connection, queue: str, subjects: Sequence[str], consumers: Sequence[ConsumerFacts]) -> set[str]:
    """Return those of which few messages lie in the jobs stream: of these the server finds the ends quickly."""
    names = connection.names
    rare = {each for each in subjects if each.removeprefix(f"{names.jobs}.").partition(".")[0] in RARE}
    whole = names.any_state(queue, "*")
    if queue != "*" and whole in subjects and sum(each.pending for each in consumers) < FEW:
        rare.add(whole)
    return rare


def _ready_spans(
    connection: Connection, wanted: JobFilter, queue: str, last: int, consumers: Sequence[ConsumerFacts]
) -> list[tuple[str, int, int, int]]:
    """Return where jobs on ready subjects can be: subject, where to begin, the lowest sequence, how far apart they lie.

    The consumers know it. Jobs that run, or wait for a short back-off, lie between what their consumer has delivered and what it
    knows to be settled; each queue has its own, as one may be far behind another.
    """
    jobs = connection.names.jobs
    consumers = sorted(consumers, key=lambda each: (each.level, each.queue))
    if JobState.QUEUED not in wanted.states and len(consumers) <= MOST_SOURCES:
        return [
            (
                f"{jobs}.{each.level}.{each.queue}.*",
                (each.delivered if each.unsettled else each.floor) + 1,
                each.floor + 1,
                max(1, (each.delivered - each.floor) // max(1, 2 * each.unsettled)),
            )
            for each in consumers
        ]
    spans = []
    for level in sorted(LEVELS):
        live = [each for each in consumers if each.level == level and (each.pending or each.unsettled)]
        top = last if JobState.QUEUED in wanted.states else max((each.delivered for each in live), default=0)
        spans.append((f"{jobs}.{level}.{queue}.*", top + 1, min((each.floor for each in live), default=top) + 1, 0))
    return spans


def _read_cursor(cursor: str, count: int) -> list[int]:
    parts = (exact_text(cursor) or "").split("-")
    if len(parts) != count or not all(part.isascii() and part.isdigit() and len(part) <= 20 for part in parts):
        raise InvalidOptionError("cursor", f"{cursor!r} is not a cursor of this list: start without one")
    return [int(part) for part in parts]


def _read(entry: Entry) -> JobRecord | None:
    stored = stored_of(entry)
    return None if stored is None else stored.record


def _newest(source: MergedSubject) -> str:
    return _sortable(source.buffer[0].stored_at)


def _sortable(stored_at: str) -> str:
    """Return an RFC 3339 time (UTC) so that text order is time order: fractions have no fixed length."""
    seconds, _, fraction = stored_at.replace("+00:00", "").rstrip("Z").partition(".")
    return f"{seconds}.{fraction:<09}"
