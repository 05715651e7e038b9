"""The audit trail: who did what with the dashboard and the command line, noted before it is done.

The trail has an append-only stream of its own (`docs/adr/0024-audit-trail.md`). An action whose note cannot be
stored is not carried out: the trail is on the server that the action needs too. Only what makes room in a full store (a purge, a
deletion) is carried out first and noted after it. Programs that call `naq_core.manage` themselves
leave no notes, unless they use `recorded`.
"""

import asyncio
import logging
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec

from naq_core.decoding import Decoder, Instant, parse_instant
from naq_core.errors import BrokerError, InvalidNameError, InvalidOptionError, NaqError, QueueFullError, UnreadableError
from naq_core.masks import Mask
from naq_core.names import new_id
from naq_core.storage.audit import append, append_once, descend, find_ends, newest_notes, target_token
from naq_core.storage.connection import Connection
from naq_core.transport.direct import Entry
from naq_core.values import exact_text, whole
from naq_core.views import AuditEntry, AuditFilter, AuditPage

__all__ = ["Actor", "Recording", "activity", "latest", "note_refusal", "read_trail", "recorded"]

log = logging.getLogger("naq.audit")

LONGEST = 200
MOST_DETAILS = 20
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
UNREADABLE = "unreadable"
"""Action and kind of an entry that cannot be read."""
FREEING = frozenset({"purge", "delete", "remove"})
"""Verbs of actions that make room, and so must not need any: where the store is full their note is stored after them."""
LOGINS = frozenset({"log-in", "log-out"})
PATIENCE = 2.0
"""Timeout in seconds for recording an action's outcome: the action is over, so the caller must not wait long."""


class Actor(NamedTuple):
    """Who acts, and how that is known."""

    name: str
    how: str


class Recording:
    """An action under way; what is put into `outcome` and `reason` becomes part of its entry."""

    def __init__(self, entry_id: str) -> None:
        self.entry_id = entry_id
        self.outcome = "done"
        self.reason = ""


class _Note(msgspec.Struct, omit_defaults=True, frozen=True):
    at: Instant
    action: str
    kind: str
    target: str
    by: str = ""
    how: str = ""
    details: dict[str, str] = {}
    reason: str = ""
    """Of a refused attempt."""


class _End(msgspec.Struct, omit_defaults=True, frozen=True):
    at: Instant
    outcome: str
    reason: str = ""


_note_decoder = Decoder("the note of the audit trail", _Note)
_end_decoder = Decoder("the end of an action in the audit trail", _End)


@asynccontextmanager
async def recorded(
    connection: Connection,
    actor: Actor,
    action: str,
    target: str = "",
    details: Mapping[str, object] | None = None,
    *,
    refusals: tuple[type[Exception], ...] = (NaqError,),
) -> AsyncIterator[Recording]:
    """Note an action, run the body, and add its outcome.

    Args:
        action: A verb and a kind, such as `cancel-job`: 1 to 64 letters, digits, `_` or `-`.
        target: The id or name of what it is done to.
        details: More details; nothing secret. Long values are truncated.
        refusals: Exceptions which say that nothing was done, apart from those of the broker.

    Raises:
        InvalidNameError: This can be no action.
        ConfigurationError, BrokerError: The note cannot be stored, so nothing may be done.
    """
    note, recording = _noted(connection.clock.now(), actor, action, target, details), Recording(new_id())
    log.info("%s %r %s by %r (%s)", action, note.target, note.details, note.by or "nobody", note.how)
    subject = connection.names.audit_note(note.kind, target_token(target), recording.entry_id)
    is_late = not await _note_first(connection, subject, note)
    try:
        yield recording
    except BaseException as error:
        recording.outcome, recording.reason = _outcome_of(error, refusals), _reason_of(error)
        raise
    finally:
        if is_late:
            await _note_late(connection, subject, note)
        await _add_end(connection, action, recording, recording.outcome, recording.reason)


async def _note_first(connection: Connection, subject: str, note: _Note) -> bool:
    """Store the note of an action before it is done; False where there is no room, and the action makes some.

    Raises:
        ConfigurationError, BrokerError: The note cannot be stored, so nothing may be done.
    """
    try:
        await append_once(connection, subject, msgspec.json.encode(note))
    except QueueFullError as error:
        if note.action.partition("-")[0] not in FREEING:
            raise
        log.warning("%s %r was carried out before it was stored in the audit trail: %s", note.action, note.target, error)
        return False
    return True


async def _note_late(connection: Connection, subject: str, note: _Note) -> None:
    """Store the note of an action that has made room for it, as far as that works."""
    deadline = asyncio.get_running_loop().time() + PATIENCE
    try:
        await append_once(connection, subject, msgspec.json.encode(note), deadline=deadline)
    except NaqError as error:
        log.warning("not stored in the audit trail: %s %r by %r: %s", note.action, note.target, note.by or "nobody", error)


async def note_refusal(
    connection: Connection, actor: Actor, action: str, target: str, reason: str, details: Mapping[str, object] | None = None
) -> None:
    """Note an attempt that was refused before anything began, as its maker may not do it, or is not who they say.

    Only the newest 10,000 of these attempts are kept, so that a flood of them pushes out nothing else.

    Raises:
        ConfigurationError, BrokerError: It is not known to be stored.
    """
    note = msgspec.structs.replace(_noted(connection.clock.now(), actor, action, target, details), reason=_cut(reason))
    await append(connection, connection.names.audit_refused(), msgspec.json.encode(note))


async def read_trail(
    connection: Connection,
    wanted: AuditFilter | None = None,
    limit: int = 50,
    cursor: str | None = None,
    max_scan: int = 5_000,
    mask: Mask | None = None,
) -> AuditPage:
    """Return a page of the trail, what was begun last first.

    Args:
        limit: The most entries on the page, 1 to 500.
        cursor: What the page before this one returned.
        max_scan: The most messages to look at; an action has two.
        mask: Returns a text without what is to be hidden: applied to targets, details and reasons, before the filter looks
            at them.

    Raises:
        InvalidOptionError: The limit is out of range, or the cursor is of another list.
        BrokerError: The server did not answer in time.
    """
    limit, max_scan = whole(limit, "limit", 1, 500), whole(max_scan, "max_scan", 1)
    if cursor is not None and not re.fullmatch(r"[0-9]{1,18}", exact_text(cursor) or ""):
        raise InvalidOptionError("cursor", f"{cursor!r} is not a cursor of the audit trail")
    wanted, page = wanted or AuditFilter(), AuditPage(entries=[])
    descent = await descend(connection, below=None if cursor is None else int(cursor))
    while len(page.entries) < limit and page.scanned < max_scan:
        batch = await descent.more(min(2 * limit, max_scan - page.scanned))
        if not batch:
            page.cursor = None
            break
        entries = await _entries(connection, batch, wanted, mask)
        for message in batch:
            if len(page.entries) == limit:
                break
            page.scanned += 1
            page.cursor = str(message.sequence)
            if message.sequence in entries:
                page.entries.append(entries[message.sequence])
    return page


async def activity(connection: Connection, kind: str, target: str, limit: int = 10, mask: Mask | None = None) -> list[AuditEntry]:
    """Return what was done last to one job, queue, schedule, worker or workflow, the newest first.

    What was done to all jobs that a filter matches is not among what was done to each of them.

    Args:
        mask: As of `read_trail`.

    Raises:
        InvalidNameError: This can be no kind.
        BrokerError: The server did not answer in time.
    """
    _check_name("kind", kind)
    notes = await newest_notes(connection, kind, target_token(target), limit)
    return list((await _entries(connection, notes, AuditFilter(), mask)).values())


async def latest(connection: Connection, kind: str, limit: int = 10, mask: Mask | None = None) -> list[AuditEntry]:
    """Return what was done last to anything of a kind, as `activity`."""
    _check_name("kind", kind)
    notes = await newest_notes(connection, kind, "*", limit)
    return list((await _entries(connection, notes, AuditFilter(), mask)).values())


async def _entries(connection: Connection, batch: list[Entry], wanted: AuditFilter, mask: Mask | None) -> dict[int, AuditEntry]:
    """Return the entries among messages, with their outcomes, by sequence."""
    names = connection.names
    found: dict[int, AuditEntry] = {}
    open_notes: list[AuditEntry] = []
    for message in batch:
        is_refused = message.subject == names.audit_refused()
        if not is_refused and message.subject.startswith(names.audit_end("")):
            continue
        note = _note_of(message)
        entry = _entry_of(note, message)
        if mask is not None:
            entry.target = mask(entry.target)
            entry.details = {name: mask(value) for name, value in entry.details.items()}
        if not _may_match(wanted, entry):
            continue
        if is_refused:
            entry.entry_id, entry.outcome, entry.reason, entry.ended_at = "", "refused", note.reason, entry.at
        else:
            open_notes.append(entry)
        found[message.sequence] = entry
    ends = await find_ends(connection, [(each.entry_id, each.sequence) for each in open_notes])
    for entry, end in zip(open_notes, ends, strict=True):
        _close(entry, end)
    if mask is not None:
        for entry in found.values():
            entry.reason = mask(entry.reason)
    return {sequence: entry for sequence, entry in found.items() if wanted.outcome in {"", entry.outcome}}


def _note_of(message: Entry) -> _Note:
    """Return a note; of one that cannot be read, its time and the reason."""
    try:
        return _note_decoder.decode(message.data)
    except UnreadableError as error:
        at = parse_instant(message.stored_at)
        return _Note(0.0 if at is None else at.timestamp(), UNREADABLE, UNREADABLE, message.subject, reason=str(error))


def _entry_of(note: _Note, message: Entry) -> AuditEntry:
    return AuditEntry(
        entry_id=message.subject.rpartition(".")[2],
        at=_instant(note.at),
        action=note.action,
        kind=note.kind,
        target=note.target,
        by=note.by,
        how=note.how,
        details=note.details,
        reason=note.reason if note.action == UNREADABLE else "",
        sequence=message.sequence,
    )


def _close(entry: AuditEntry, end: Entry | None) -> None:
    if end is None:
        return
    try:
        found = _end_decoder.decode(end.data)
    except UnreadableError as error:
        entry.outcome, entry.reason = "unknown", str(error)
        return
    entry.outcome, entry.reason, entry.ended_at = found.outcome, found.reason, _instant(found.at)


def _may_match(wanted: AuditFilter, entry: AuditEntry) -> bool:
    return (
        wanted.by in {"", entry.by}
        and wanted.action in {"", entry.action}
        and wanted.kind in {"", entry.kind}
        and wanted.target in entry.target
    )


def _noted(at: float, actor: Actor, action: str, target: str, details: Mapping[str, object] | None) -> _Note:
    kept = [(name, value) for name, value in (details or {}).items() if value not in (None, "")]
    _check_name("action", action)
    return _Note(
        at=at,
        action=action,
        kind="login" if action in LOGINS else action.rpartition("-")[2],
        target=_cut(target),
        by=_cut(actor.name),
        how=actor.how,
        details={_cut(name): _cut(str(value)) for name, value in kept[:MOST_DETAILS]},
    )


async def _add_end(connection: Connection, action: str, recording: Recording, outcome: str, reason: str) -> None:
    log.info("%s %s: %r", action, outcome, _cut(reason))
    end = _End(connection.clock.now(), outcome, _cut(reason))
    deadline = asyncio.get_running_loop().time() + PATIENCE
    try:
        await append_once(connection, connection.names.audit_end(recording.entry_id), msgspec.json.encode(end), deadline=deadline)
    except NaqError as error:  # it is done, or not: to fail now would only hide that
        log.warning("the audit trail has %s, but not its outcome (%s): %s", action, outcome, error)


def _outcome_of(error: BaseException, refusals: tuple[type[Exception], ...]) -> str:
    match error:
        case BrokerError():
            return "failed"
        case _ if isinstance(error, refusals):
            return "refused"
        case Exception():
            return "failed"
        case _:
            return "stopped"


def _reason_of(error: BaseException) -> str:
    """Return what an error says; those of HTTP say it in `detail`, without their number."""
    return str(getattr(error, "detail", "") or error) or type(error).__name__


def _check_name(what: str, name: str) -> None:
    """Refuse what would change the subject of the note."""
    if not _NAME.fullmatch(name):
        raise InvalidNameError(what, name, "use 1 to 64 letters, digits, '_' or '-'")


def _cut(text: str) -> str:
    """Return the beginning of a text, as JSON can hold it."""
    return text[:LONGEST].encode(errors="replace").decode()


def _instant(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
