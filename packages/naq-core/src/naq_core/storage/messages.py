"""Moving a job between its subjects: one atomic compare-and-move of the server, safe to repeat.

A message on a held or dead subject is a schedule of the server's. Publishing it again as that schedule's message
(`Nats-Scheduler`, `Nats-Schedule-Next: purge`) stores the new message and removes the old one in one step, if the old one is
still the job's newest: so of a release, a requeue, a cancellation and the schedule itself exactly one wins. A message on a
ready subject is no schedule: it cannot be moved, it ends by its record and the acknowledgement, or `remove`.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from enum import StrEnum

from naq_core.envelope import decode_envelope
from naq_core.errors import DecodeError, JetStreamError, WrongSequenceError
from naq_core.storage import objects
from naq_core.storage.bells import leaving_bell
from naq_core.storage.connection import Connection
from naq_core.storage.records import find_job
from naq_core.storage.subjects import (
    ALL,
    ASIDE,
    BELL,
    FAR_FUTURE,
    LEVELS,
    NORMAL,
    PLACE,
    SCHEDULED,
    TURN,
    WAITS,
    state_of_subject,
)
from naq_core.transport.headers import (
    EXPECTED_SEQUENCE,
    EXPECTED_SUBJECT,
    SCHEDULE,
    SCHEDULE_NEXT,
    SCHEDULE_TARGET,
    SCHEDULER,
    TTL,
    ttl_text,
)
from naq_core.transport.message import Message

NO_SUCH_SEQUENCE = frozenset({10043, 10057})
"""Past the last sequence, or a gap; the second code also wraps failures of the store, with another description."""


class Moved(StrEnum):
    """What became of a move."""

    MOVED = "moved"
    """By this call; also when its answer was lost and it was found done."""
    ALREADY = "already"
    """The job is on the target subject already: another one, or its own schedule, has moved it."""
    CHANGED = "changed"
    """The job was moved or rewritten meanwhile: read it again and decide again."""
    GONE = "gone"
    """No message of the job is left: it has ended, or was deleted."""


def due_of(message: Message) -> float | None:
    """Return when a held job is due (seconds since the epoch); None where it waits on something else, or is not held."""
    if WAITS in message.headers:
        return None  # its time is that of the next look at the jobs it waits for
    schedule = message.headers.get(SCHEDULE, "")
    if not schedule.startswith("@at ") or schedule == f"@at {FAR_FUTURE}":
        return None
    try:
        return datetime.fromisoformat(schedule[4:]).timestamp()
    except (ValueError, OverflowError):
        return None


def run_of(message: Message) -> str:
    """Return the run token of a message."""
    try:
        return decode_envelope(message.data).run
    except DecodeError:
        return ""


def target_of(message: Message) -> str | None:
    """Return the ready subject a held or dead job comes back to, None of a job that is ready.

    A target that is not a ready subject of the same job is another program's, and not followed.
    """
    jobs, state, queue, job_id = message.subject.rsplit(".", 3)
    if state not in SCHEDULED:
        return None
    target = message.headers.get(SCHEDULE_TARGET, "")
    known = {f"{jobs}.{level}.{queue}.{job_id}" for level in LEVELS}
    return target if target in known else f"{jobs}.{NORMAL}.{queue}.{job_id}"


def schedule_headers(ready: str, due: float | None) -> dict[str, str]:
    """Return the headers that keep a message until it is due.

    Args:
        ready: The subject on which the server then publishes it.
        due: Seconds since the epoch; None for never, as for a job that waits on others and for a dead one.
    """
    at = FAR_FUTURE if due is None else datetime.fromtimestamp(due, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return {SCHEDULE: f"@at {at}", SCHEDULE_TARGET: ready}


def if_newest(connection: Connection, queue: str, job_id: str, sequence: int) -> dict[str, str]:
    """Return the headers that let a publish succeed only while the message of that sequence is the newest of its job."""
    return {EXPECTED_SEQUENCE: str(sequence), EXPECTED_SUBJECT: connection.names.any_state(queue, job_id)}


def moving_headers(connection: Connection, source: Message) -> dict[str, str]:
    """Return the headers by which a message on another subject of the job takes the place of a held or dead one."""
    _, queue, job_id = state_of_subject(source.subject)
    return {
        **if_newest(connection, queue, job_id, source.sequence),
        SCHEDULER: source.subject,
        SCHEDULE_NEXT: "purge",
    }


def kept_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Return those headers of a job that stay with it wherever it goes while it lives: what it has a place in."""
    return {name: value for name, value in headers.items() if name in {PLACE, TURN}}


async def move(
    connection: Connection,
    source: Message,
    target: str,
    *,
    body: bytes | None = None,
    due: float | None = None,
    ttl: float | None = None,
) -> Moved:
    """Move a held or dead job to another of its subjects, or change its time on the same subject.

    Args:
        source: The message, as `find_job` returned it; it is moved only if it is still the newest of its job.
        target: A subject of the same job: ready, held (with `due`), dead, or the source's own, to reschedule it.
        body: An envelope to put in place of the old one, such as one with a fresh run token.
        due: For a held target: when (seconds since the epoch); None means not by itself.
        ttl: Seconds after which the server deletes it; for dead ones.

    Raises:
        ValueError: The source is ready, or of another job: programming errors.
        BrokerError: The server could not be asked; the outcome is unknown, and repeating is safe.
    """
    state, queue, job_id = state_of_subject(source.subject)
    ready = target_of(source)
    if ready is None or state not in SCHEDULED or state_of_subject(target)[1:] != (queue, job_id):
        raise ValueError(f"a message on {source.subject} cannot be moved to {target}")
    headers = moving_headers(connection, source)
    if state_of_subject(target)[0] in SCHEDULED:
        headers.update(schedule_headers(ready, due))
    if state_of_subject(target)[0] in ASIDE:
        await free_place(connection, source)
    else:
        headers |= kept_headers(source.headers)
    if target == source.subject:
        del headers[SCHEDULER], headers[SCHEDULE_NEXT]
    if ttl is not None:
        headers[TTL] = ttl_text(ttl)
    data = source.data if body is None else body
    try:
        await connection.publish(target, data, headers)
    except WrongSequenceError:
        return await _what_happened(connection, queue, job_id, target)
    return Moved.MOVED


async def _what_happened(connection: Connection, queue: str, job_id: str, target: str) -> Moved:
    found = await find_job(connection, job_id, queue)
    if found is None:
        return Moved.GONE
    if found.subject != target or state_of_subject(target)[0] in SCHEDULED:
        return Moved.CHANGED
    return Moved.ALREADY


async def release(connection: Connection, source: Message, *, body: bytes | None = None) -> Moved:
    """Make a held or dead job ready now, on the level it belongs to; as `move`."""
    ready = target_of(source)
    if ready is None:
        raise ValueError(f"{source.subject} is not waiting for anything")
    return await move(connection, source, ready, body=body)


def released(connection: Connection, source: Message) -> tuple[str, bytes, dict[str, str]]:
    """Return the message that makes a held or dead job ready now, for an atomic batch."""
    ready = target_of(source)
    if ready is None:
        raise ValueError(f"{source.subject} is not waiting for anything")
    return ready, source.data, moving_headers(connection, source)


async def reschedule(connection: Connection, source: Message, due: float | None, *, body: bytes | None = None) -> Moved:
    """Give a held job another time; one that has passed makes it ready at once. As `move`."""
    if due is not None and due <= connection.clock.now():
        return await release(connection, source, body=body)
    return await move(connection, source, source.subject, body=body, due=due)


async def deliver_again(connection: Connection, message: Message) -> bool:
    """Replace a ready message by a copy, which is delivered at once; return False if it is not the newest of its job.

    Between the two steps there are two messages of the job; its claim lets one of them run.
    """
    _, queue, job_id = state_of_subject(message.subject)
    headers = if_newest(connection, queue, job_id, message.sequence)
    headers |= {name: value for name, value in message.headers.items() if name in {PLACE, TURN, WAITS, BELL}}
    try:
        await connection.publish(message.subject, message.data, headers)
    except WrongSequenceError:
        return False
    await remove(connection, message, arguments=False, place=False)
    return True


async def remove(connection: Connection, message: Message, *, arguments: bool = True, place: bool = True) -> bool:
    """Delete one message, with its schedule; return whether it was there. Its end must be on record before.

    A worker that has a ready message in its hands already is not stopped by this, but by the job's record.

    Args:
        arguments: Delete large arguments too; not where another message of the job stays.
        place: Give the place back that it has of its key; not where the job goes on.
    """
    if place:
        await free_place(connection, message)
    request = {"seq": message.sequence, "no_erase": True}
    try:
        await connection.api(f"STREAM.MSG.DELETE.{connection.names.jobs_stream}", request)
    except JetStreamError as error:
        if error.err_code not in NO_SUCH_SEQUENCE or "found" not in error.description:
            raise
        return False
    if arguments:
        await remove_arguments(connection, message)
    return True


async def free_place(connection: Connection, message: Message) -> None:
    """Before the message of a job goes that has a place, and has ended or was replaced without a worker: give the place back."""
    for token in places_of(message.headers):
        state, queue, job_id = state_of_subject(target_of(message) or message.subject)
        await connection.publish(*leaving_bell(connection, queue, token, state, job_id, run_of(message)))


def places_of(headers: Mapping[str, str]) -> list[str]:
    """Return the tokens of the lists that a job's headers say it is in."""
    return [token for token in (headers.get(PLACE, ""), ALL if TURN in headers else "") if token]


async def remove_arguments(connection: Connection, message: Message) -> None:
    """Delete large arguments with the job that had them; where that fails, their time to live will do it."""
    try:
        large = decode_envelope(message.data).large
    except DecodeError:
        return
    if large is not None:
        await objects.remove(connection, large)
