"""Signals as they are stored, and the jobs that wait for them, by their edges (`docs/adr/0058-signals.md`)."""

from collections.abc import Sequence
from typing import NamedTuple

from naq_core.decoding import complain
from naq_core.errors import UnreadableError, WrongSequenceError
from naq_core.names import SIGNAL
from naq_core.sent_signal import SentSignal, decode_signal, encode_signal
from naq_core.storage.connection import Connection
from naq_core.storage.edges import Key, edge_key, forget, log
from naq_core.storage.subjects import ASIDE, WAITS, state_of_subject
from naq_core.transport.direct import Entry
from naq_core.transport.headers import EXPECTED_SEQUENCE, TTL, ttl_text
from naq_core.transport.many import read_many, read_some
from naq_core.transport.message import Message
from naq_core.transport.streams import read_last

PAGE = 250
"""Edges that are read together."""
MOST_PAGES = 20
"""Of edges that have served, which the scheduler's sweep has not come to yet."""


class Waiter(NamedTuple):
    """A job that waits for a signal, or has done so."""

    signal: str
    job: Key
    edge: int
    """The stream sequence of the edge."""


async def store_signal(connection: Connection, name: str, signal: SentSignal, ttl: float) -> bool:
    """Store a signal, unless one of this name is kept; return whether it is new.

    Raises:
        PayloadTooLargeError: It is larger than the server takes; nothing was sent.
        BrokerError: It is unknown whether it was stored; do it again.
    """
    subject, body = connection.names.signal(name), encode_signal(signal)
    connection.check_size(f"the data of signal {name}", len(body))
    try:
        await connection.publish(subject, body, {EXPECTED_SEQUENCE: "0", TTL: ttl_text(ttl)})
    except WrongSequenceError:
        # Perhaps by an earlier try of this call, whose answer was lost.
        stored = await read_last(connection, connection.names.jobs_stream, subject)
        return stored is not None and stored.data == body
    return True


async def first_waiters(connection: Connection, most: int) -> tuple[list[Message], bool]:
    """Return the messages of jobs that wait for signals, the one that waits longest first; and whether there are more."""
    names = connection.names
    found: list[Message] = []
    start = 1
    for _ in range(MOST_PAGES):
        batch = await read_some(connection, names.jobs_stream, f"{names.edges}.*.*.*.signal", PAGE, start)
        waiters = [waiter for message in batch.messages if (waiter := waiter_of(message)) is not None]
        waiting = await _waiting(connection, waiters)
        found += [waiting[waiter.job] for waiter in waiters if waiter.job in waiting]
        if not batch.left or not batch.messages or len(found) > most:
            return found[:most], len(found) > most
        start = batch.messages[-1].sequence + 1
    return found[:most], True


async def drop_served(connection: Connection, waiters: Sequence[Waiter]) -> int:
    """Delete edges that have served: the signal was sent, or the job was cancelled, has expired or was deleted. Return how many.

    That the edge is gone tells of a job which still waits for others that the signal was sent, also when it is not kept any more.
    """
    waiting = await _waiting(connection, waiters)
    served = [waiter.edge for waiter in waiters if waiter.job not in waiting]
    await forget(connection, served)
    return len(served)


async def _waiting(connection: Connection, waiters: Sequence[Waiter]) -> dict[Key, Message]:
    """Return the messages of those jobs that wait for others, by job, and whose signal was not sent.

    A job also waits while it is ready for a worker to look whether it still has to.
    """
    names = connection.names
    signals = {names.signal(waiter.signal) for waiter in waiters}
    sent = {each.subject for each in await read_many(connection, names.jobs_stream, list(signals), f"{names.edges}.>")}
    wanted = {waiter.job for waiter in waiters if names.signal(waiter.signal) not in sent}
    waiting: dict[Key, Message] = {}
    for message in await read_many(connection, names.jobs_stream, [names.any_state(*key) for key in wanted], f"{names.jobs}.>"):
        state, queue, job_id = state_of_subject(message.subject)
        if (queue, job_id) in wanted and WAITS in message.headers and state not in ASIDE:
            waiting[queue, job_id] = message
    return waiting


def waiter_of(edge: Message | Entry) -> Waiter | None:
    """Return the job that an edge tells of, None where it waits for no signal or the edge is not one."""
    if not edge.subject.endswith(".signal"):
        return None
    try:
        parent, queue, job_id = edge_key(edge.subject)
    except UnreadableError as error:
        complain(log, edge.subject, error, "none")
        return None
    return Waiter(parent.removeprefix(SIGNAL), (queue, job_id), edge.sequence)


def check_signal_message(subject: str, data: bytes, edges: str) -> bool:
    """Return whether a subject is that of a signal.

    Raises:
        UnreadableError: It is, and the signal cannot be read.
    """
    if not subject.startswith(f"{edges}.{SIGNAL}") or subject.endswith(".signal"):
        return False
    decode_signal(data)
    return True
