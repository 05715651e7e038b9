"""Jobs: lists of them, newest first, counts, and one with all that is known of it."""

import asyncio
from collections.abc import Callable
from typing import Any, TypeAlias

import msgspec

from naq_core.errors import AmbiguousJobError, DecodeError
from naq_core.filters import check_filter
from naq_core.inspect._arguments import call_of_preview
from naq_core.inspect._compose import envelope_of, view_of
from naq_core.inspect._known import known_count
from naq_core.inspect._listing import GRACE, Listing
from naq_core.inspect._match import matches
from naq_core.masks import Mask, masked, masked_value
from naq_core.names import check_place, is_job_id
from naq_core.record import JobState
from naq_core.serialization import JSON, decode_json
from naq_core.storage import records
from naq_core.storage.connection import Connection
from naq_core.transport.direct import Entry, get_many
from naq_core.transport.streams import count_by_subject
from naq_core.values import seconds, whole
from naq_core.views import JobCount, JobFilter, JobPage, JobView
from naq_core.written_calls import WrittenCall

MAX_SCAN = 20_000
MOST_CHILDREN = 1000
EVERYTHING = JobFilter()
Place: TypeAlias = tuple[str, str]
"""Queue and id of a job."""


async def list_jobs(
    connection: Connection,
    filter: JobFilter = EVERYTHING,  # noqa: A002 - the word for it
    limit: int = 50,
    cursor: str | None = None,
    max_scan: int = MAX_SCAN,
    max_seconds: float | None = None,
    mask: Mask | None = None,
) -> JobPage:
    """Return a page of jobs, the one that changed last first, each job once.

    Pages follow stream sequences, never times, so none is left out or shown twice because of equal times. A job that changes
    while one pages moves to the front, to the pages already seen.

    States that are places in the jobs stream (queued, held, retrying, running, dead) and queues are found by subject; for
    the rest the entries are read one after the other, at most `max_scan` of them in one call.

    Args:
        limit: The most jobs on the page, 1 to 1,000.
        cursor: What the page before this one returned.
        max_scan: How many entries may be looked at; then the page ends early, and its cursor continues.
        max_seconds: How long it may look, with the same end, and half a second more at worst; None: as long as it takes.
        mask: Returns a text without what is to be hidden. It is applied to every text of the jobs before the filter's words are
            looked for in them, so that what is hidden cannot be found either.

    Raises:
        InvalidOptionError: A limit is out of range, or the cursor is of another list.
    """
    limit, max_scan = whole(limit, "limit", 1, 1000), whole(max_scan, "max_scan", 1)
    filter = check_filter(filter)  # noqa: A001 - as above
    until = _until(max_seconds)
    first: list[JobView] = []
    skip: Place = ("", "")
    if filter.text and not filter.arguments and is_job_id(filter.text):  # an id pasted into a search box is found at once
        try:
            view = await _by_id(connection, filter.text, filter.place)
        except AmbiguousJobError:
            view = None  # the search below finds them all
        if view is not None and matches(filter, view, mask):
            skip = (view.queue, view.job_id)
            first = [masked(view, mask)] if cursor is None else []
    listing = await Listing.open(connection, filter, cursor, lambda *place: place == skip, mask)
    jobs, scanned = await listing.page(limit - len(first), max_scan, until)
    return JobPage(jobs=first + jobs, cursor=listing.cursor(), scanned=scanned)


async def list_running_but(
    connection: Connection, known: Callable[[str, str], bool], limit: int, max_seconds: float
) -> list[JobView]:
    """Return the running jobs of which somebody else knows nothing; only their records are read.

    Args:
        known: Says it of the queue and the id of a job.
        limit: As of `list_jobs`.
        max_seconds: As of `list_jobs`.
    """
    wanted = check_filter(JobFilter(states=frozenset({JobState.RUNNING})))
    listing = await Listing.open(connection, wanted, None, known)
    return (await listing.page(limit, MAX_SCAN, _until(max_seconds)))[0]


async def count_jobs(
    connection: Connection,
    filter: JobFilter = EVERYTHING,  # noqa: A002 - the word for it
    max_scan: int = MAX_SCAN,
    max_seconds: float | None = None,
    mask: Mask | None = None,
) -> JobCount:
    """Count the jobs that a filter matches, looking at no more than `max_scan` entries, for no longer than `max_seconds`.

    Args:
        mask: As of `list_jobs`.

    Returns:
        The count; where it is not exact, there are at least so many.
    """
    filter, max_scan = check_filter(filter), whole(max_scan, "max_scan", 1)  # noqa: A001 - as above
    until = _until(max_seconds)
    known = await known_count(connection, filter)
    if known.is_exact or known.count >= max_scan:  # more than could be counted here
        return known
    listing = await Listing.open(connection, filter, None, mask=mask)
    count = scanned = 0
    while scanned < max_scan:
        jobs, looked_at = await listing.page(1000, max_scan - scanned, until, grace=0.0 if known.count else GRACE)
        count += len(jobs)
        scanned += looked_at
        if listing.cursor() is None:
            return JobCount(count=count, is_exact=True, scanned=scanned)
        if not looked_at or (until is not None and asyncio.get_running_loop().time() >= until):
            break
    return JobCount(count=max(count, known.count), is_exact=False, scanned=scanned)


def _until(max_seconds: float | None) -> float | None:
    return None if max_seconds is None else asyncio.get_running_loop().time() + seconds(max_seconds, "max_seconds")


async def get_job(connection: Connection, job_id: str, queue: str = "*", mask: Mask | None = None) -> JobView:
    """Return all that is known of a job.

    Args:
        job_id: The id, or `id@queue`.
        queue: Its queue; by default it is looked for in all.
        mask: As of `list_jobs`.

    Raises:
        InvalidNameError: This can be no id.
        JobNotFoundError: There is neither a job nor a record of this id.
        AmbiguousJobError: No queue was given, and several have a job of this id.
    """
    job_id, queue = check_place(job_id, queue)
    view, children = await asyncio.gather(_by_id(connection, job_id, queue), _children(connection, job_id))
    if view is None:
        raise await records.not_found(connection, job_id, queue)
    view.children = children
    return masked(view, mask)


async def get_arguments(connection: Connection, job_id: str, queue: str = "*", mask: Mask | None = None) -> str:
    """Return all arguments of a job as JSON, over several lines; empty where they are not JSON or not stored any more.

    A preview (`JobView.arguments`) ends after 200 characters.

    Args:
        job_id: The id, or `id@queue`.
        queue: Its queue; by default it is looked for in all.
        mask: As of `list_jobs`.
    """
    call = await _stored_call(connection, *check_place(job_id, queue), mask)
    return "" if call is None else msgspec.json.format(msgspec.json.encode({"args": call[0], "kwargs": call[1]})).decode()


async def get_call(connection: Connection, job_id: str, queue: str = "*", mask: Mask | None = None) -> WrittenCall | None:
    """Return the arguments of a job as values of JSON, as far as they may be seen; None where they are not known in full.

    They are known of jobs of the JSON serializer that are still stored; of others where the preview spells them out, in which
    tuples and sets are lists.

    Args:
        job_id: As of `get_arguments`.
        queue: As of `get_arguments`.
        mask: As of `get_arguments`.

    Raises:
        JobNotFoundError: There is neither a job nor a record of this id.
    """
    job_id, queue = check_place(job_id, queue)
    call = await _stored_call(connection, job_id, queue, mask)
    return call_of_preview((await get_job(connection, job_id, queue, mask)).arguments) if call is None else call


async def _stored_call(connection: Connection, job_id: str, queue: str, mask: Mask | None) -> WrittenCall | None:
    """Return the arguments of a job of the JSON serializer that is still stored, as they may be seen."""
    _, message = await records.look_up(connection, job_id, queue)
    envelope = None if message is None else envelope_of(Entry(message.subject, message.sequence, "", {}, message.data))
    if envelope is None or envelope.ct != JSON or not envelope.body:
        return None
    try:
        call: Any = decode_json(envelope.body, "arguments")
        shown = {"args": call[0], "kwargs": call[1]}
        seen = shown if mask is None else masked_value(shown, mask)
        msgspec.json.encode(seen)
    except (DecodeError, LookupError, TypeError, ValueError, RecursionError, msgspec.MsgspecError):
        return None
    return seen["args"], seen["kwargs"]


async def _by_id(connection: Connection, job_id: str, queue: str = "*") -> JobView | None:
    names = connection.names
    stored, message = await records.look_up(connection, job_id, queue)
    if stored is None and message is None:
        return None
    entry: Entry | None = None
    if message is not None:
        found = await get_many(connection, names.jobs_stream, [{"seq": message.sequence}])
        entry = found[0] or Entry(message.subject, message.sequence, "", {}, message.data)
    sequence = stored.revision if stored is not None else entry.sequence if entry is not None else 0
    return view_of(None if stored is None else stored.record, entry, sequence=sequence)


async def _children(connection: Connection, job_id: str) -> list[str]:
    names = connection.names
    edges = await count_by_subject(connection, names.jobs_stream, f"{names.edges}.{job_id}.>")
    return sorted(subject.rsplit(".", 1)[1] for subject in edges)[:MOST_CHILDREN]
