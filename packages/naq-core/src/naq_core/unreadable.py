"""Stored documents that cannot be read: finding and removing them, for `naq doctor`."""

import logging
from collections.abc import AsyncIterator, Iterable

import msgspec

from naq_core.envelope import decode_envelope
from naq_core.errors import DecodeError, JetStreamError, UnknownWireVersionError, UnreadableError
from naq_core.record import decode_record
from naq_core.schedules.document import decode_document
from naq_core.storage.connection import Connection
from naq_core.storage.edges import check_edge
from naq_core.storage.lease import decode_lease
from naq_core.storage.messages import NO_SUCH_SEQUENCE
from naq_core.storage.presence import decode_presence
from naq_core.storage.queues import check_queue_document
from naq_core.storage.signals import check_signal_message
from naq_core.storage.subjects import ASIDE, is_place
from naq_core.storage.windows import check_window
from naq_core.storage.workflows import check_part
from naq_core.transport.direct import Entry, get_many
from naq_core.transport.streams import stream_span

log = logging.getLogger(__name__)

MOST = 20_000
"""Sequences of each stream that are looked at, from the newest down."""
STEP = 1000


class Unreadable(msgspec.Struct, kw_only=True):
    """A message that is not what its subject says."""

    kind: str
    """job, record, presence, queue, schedule, lease or workflow."""
    key: str
    """Its subject."""
    reason: str
    stream: str
    sequence: int


async def find_unreadable(connection: Connection) -> list[Unreadable]:
    """Return what cannot be read among the newest 20,000 messages of each stream, the newest first.

    Dead jobs are left out: a job that cannot be read ends dead, with the reason, and is listed with the others.

    Raises:
        BrokerError: The server did not answer in time.
    """
    names = connection.names
    streams = {
        "job": names.jobs_stream,
        "record": names.results_stream,
        "presence": names.workers_stream,
        "queue": names.queues_stream,
        "schedule": names.schedules_stream,
        "lease": names.leases_stream,
        "workflow": names.workflows_stream,
    }
    found: list[Unreadable] = []
    for kind, stream in streams.items():
        async for entry in _newest(connection, stream):
            reason = _fault(connection, kind, entry)
            if reason:
                found.append(Unreadable(kind=kind, key=entry.subject, reason=reason, stream=stream, sequence=entry.sequence))
    return found


async def _newest(connection: Connection, stream: str) -> AsyncIterator[Entry]:
    span = await stream_span(connection, stream)
    lowest = max(1, span.first, span.last - MOST + 1)
    for top in range(span.last, lowest - 1, -STEP):
        requests = [{"seq": sequence} for sequence in range(top, max(lowest, top - STEP + 1) - 1, -1)]
        for entry in await get_many(connection, stream, requests):
            if entry is not None:
                yield entry


def _fault(connection: Connection, kind: str, entry: Entry) -> str:
    """Return why a message cannot be read; empty where it can."""
    if not entry.data and kind != "job":
        return ""  # the marker of a deletion
    try:
        _check(connection, kind, entry)
    except UnknownWireVersionError:
        return ""  # of a newer NAQ
    except DecodeError as error:
        return error.reason if isinstance(error, UnreadableError) else str(error)
    return ""


def _check(connection: Connection, kind: str, entry: Entry) -> None:
    match kind:
        case "job":
            _check_job(connection, entry)
        case "record":
            decode_record(entry.data, entry.subject)
        case "presence":
            decode_presence(entry.data, entry.subject)
        case "queue":
            check_queue_document(connection.names, entry)
        case "schedule":
            decode_document(entry.data, entry.subject.removeprefix(f"{connection.names.schedules}."))
        case "lease":
            decode_lease(entry.data)
        case _:
            check_part(entry)


def _check_job(connection: Connection, entry: Entry) -> None:
    names = connection.names
    if entry.subject.startswith(f"{names.edges}."):
        if not check_signal_message(entry.subject, entry.data, names.edges):
            check_edge(entry)
        return
    if check_window(names, entry.subject, entry.data):
        return
    if not is_place(entry.subject, names.jobs):
        raise UnreadableError("the job", "this subject cannot hold a job: no worker will ever take it")
    if entry.subject.split(".")[-3] not in ASIDE:
        decode_envelope(entry.data)


async def remove_unreadable(connection: Connection, found: Iterable[Unreadable]) -> int:
    """Delete what `find_unreadable` returned, and return how many documents that were.

    What has been written in its place since stays. A job whose record is removed counts as one that was never run. A key of a
    bucket that is no plain text, or holds wildcards, cannot be named to the server and stays: it goes with its bucket.

    Raises:
        BrokerError: Not all may have been removed; do it again.
    """
    removed = 0
    for each in found:
        if await _remove(connection, each):
            removed += 1
            log.info("%s was removed: %s", each.key, each.reason)
    return removed


async def _remove(connection: Connection, each: Unreadable) -> bool:
    if each.stream != connection.names.jobs_stream:  # a bucket refuses to delete by sequence
        if set(each.key) & set("*>\N{REPLACEMENT CHARACTER}"):
            return False
        request = {"filter": each.key, "seq": each.sequence + 1}
        return bool((await connection.api(f"STREAM.PURGE.{each.stream}", request))["purged"])
    try:
        await connection.api(f"STREAM.MSG.DELETE.{each.stream}", {"seq": each.sequence, "no_erase": True})
    except JetStreamError as error:
        if error.err_code not in NO_SUCH_SEQUENCE or "found" not in error.description:
            raise
        return False
    return True
