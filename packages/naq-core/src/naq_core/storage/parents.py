"""How parents stand: read from their records and, where they have none, from where their messages lie."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum, auto

from naq_core.envelope import decode_envelope
from naq_core.errors import DecodeError
from naq_core.names import SIGNAL, is_signal
from naq_core.record import JobRecord, JobState
from naq_core.storage.connection import Connection
from naq_core.storage.edges import Key
from naq_core.storage.records import stored_of
from naq_core.storage.subjects import ASIDE, state_of_subject
from naq_core.transport.many import read_many


class ParentState(Enum):
    """The state of a parent, for its dependents."""

    ALIVE = auto()
    """It has not ended; its end will be acted upon."""
    DONE = auto()
    FAILED = auto()
    GONE = auto()
    """Neither job nor record is there."""


@dataclass(frozen=True, slots=True)
class ParentStatus:
    """The state of a parent, and why it counts as failed."""

    kind: ParentState
    why: str = ""
    record: JobRecord | None = None
    signal: bytes = b""
    """Of a signal that has come: what is stored of it."""


def status_of(record: JobRecord) -> ParentStatus:
    """Return the state of a parent with that record."""
    if record.state is JobState.SUCCEEDED:
        return ParentStatus(ParentState.DONE, record=record)
    if not record.state.is_final:
        return ParentStatus(ParentState.ALIVE, record=record)
    verb = {JobState.DEAD: "failed", JobState.CANCELLED: "was cancelled", JobState.EXPIRED: "expired"}[record.state]
    detail = record.reason
    if record.state is JobState.DEAD and record.errors:
        last = record.errors[-1]
        detail = f"{last.type}: {last.message}"
    return ParentStatus(ParentState.FAILED, f"parent {record.job_id} {verb}" + (f" ({detail[:200]})" if detail else ""), record)


async def parent_statuses(connection: Connection, parents: Iterable[Key], *, recheck: bool = False) -> dict[Key, ParentStatus]:
    """Return how jobs stand.

    Args:
        recheck: Do not trust a record alone that says a job is waiting or retrying: its message may have been purged.
    """
    known = await _of_signals(connection, [key for key in dict.fromkeys(parents) if is_signal(key[1])])
    keys = [key for key in dict.fromkeys(parents) if key not in known]
    if not keys:
        return known
    return known | await _of_jobs(connection, keys, recheck=recheck)


async def _of_signals(connection: Connection, keys: list[Key]) -> dict[Key, ParentStatus]:
    """Return whether signals have come; one that is not stored, or not any more, counts as one that may come."""
    if not keys:
        return {}
    names = connection.names
    subjects = {names.signal(key[1].removeprefix(SIGNAL)): key for key in keys}
    known = {key: ParentStatus(ParentState.ALIVE) for key in keys}
    for found in await read_many(connection, names.jobs_stream, list(subjects), f"{names.edges}.>"):
        if found.subject in subjects:
            known[subjects[found.subject]] = ParentStatus(ParentState.DONE, signal=found.data)
    return known


async def _of_jobs(connection: Connection, keys: list[Key], *, recheck: bool) -> dict[Key, ParentStatus]:
    known = await _from_records(connection, keys)
    unsure = [key for key in keys if key not in known or (recheck and _may_be_purged(known[key]))]
    if not unsure:
        return known
    lying = await _from_messages(connection, unsure)
    missing = [key for key in unsure if key not in lying]
    known = lying | known
    if missing:
        # Between the two reads it may have begun and ended: only a record that is still not there, or the same, tells.
        again = await _from_records(connection, missing)
        for key in missing:
            now = again.get(key)
            if now is None or (now.kind is ParentState.ALIVE and recheck and now == known.get(key)):
                now = ParentStatus(
                    ParentState.GONE, f"parent {key[1]} is unknown: it never existed, was deleted, or its record has expired"
                )
            known[key] = now
    return known


def _may_be_purged(status: ParentStatus) -> bool:
    return status.kind is ParentState.ALIVE and status.record is not None and status.record.state is not JobState.RUNNING


async def _from_records(connection: Connection, keys: list[Key]) -> dict[Key, ParentStatus]:
    names = connection.names
    subjects = [names.result(*key) for key in keys]
    known: dict[Key, ParentStatus] = {}
    for found in await read_many(connection, names.results_stream, subjects, f"{names.results}.>"):
        queue, job_id = found.subject.split(".")[-2:]
        stored = stored_of(found)
        if stored is not None:
            known[queue, job_id] = known["*", job_id] = status_of(stored.record)
    return {key: known[key] for key in keys if key in known}


async def _from_messages(connection: Connection, keys: list[Key]) -> dict[Key, ParentStatus]:
    names = connection.names
    subjects = [names.any_state(*key) for key in keys]
    known: dict[Key, ParentStatus] = {}
    for found in await read_many(connection, names.jobs_stream, subjects, f"{names.jobs}.>"):
        state, queue, job_id = state_of_subject(found.subject)
        why = f"parent {job_id} {'failed' if state == 'dead' else 'was cancelled'}"
        status = ParentStatus(ParentState.FAILED, why) if state in ASIDE else _alive(found.data, job_id)
        known[queue, job_id] = known["*", job_id] = status
    return {key: known[key] for key in keys if key in known}


def _alive(body: bytes, job_id: str) -> ParentStatus:
    try:
        envelope = decode_envelope(body)
    except DecodeError:
        return ParentStatus(ParentState.ALIVE)  # its worker will end it, on record
    if envelope.opt.fast:
        return ParentStatus(ParentState.FAILED, f"parent {job_id} was enqueued with fast=True and has no record")
    return ParentStatus(ParentState.ALIVE)
