"""Edges: which jobs wait for which. One message for each parent and child, on `<ns>.edges.<parent>.<queue>.<child>`.

A signal is a parent that is no job; it is never a witness, as nobody looks at a signal again when its time is over.
"""

import asyncio
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec

from naq_core.decoding import Decoder, complain, reason_of
from naq_core.envelope import Parent
from naq_core.errors import UnreadableError
from naq_core.names import check_job_id, check_queue, check_signal_id, is_signal
from naq_core.storage.connection import Connection
from naq_core.storage.messages import schedule_headers
from naq_core.storage.subjects import WAITS, text_of
from naq_core.transport.direct import Entry
from naq_core.transport.errors import CLIENT_ERRORS
from naq_core.transport.many import read_many
from naq_core.transport.message import Message

log = logging.getLogger(__name__)

FIRST_LOOK = 60.0
"""Seconds after which a waiting job is checked in any case: its producer may have died before checking its parents."""
LONGEST_LOOK = 6 * 3600.0

Key = tuple[str, str]
"""Queue (`*` where unknown) and id of a job."""


class _Body(msgspec.Struct, frozen=True, array_like=True):
    queue: str
    """The parent's, or `*`."""
    lenient: bool
    witness: tuple[str, str] | None
    """Another parent of the same child, the last one: while it has not ended there is nothing to do yet."""


def _check(body: _Body) -> None:
    for queue in (body.queue, *(body.witness or ())[:1]):
        if queue != "*":
            check_queue(queue)
    if body.witness is not None:
        check_job_id(body.witness[1])


_encoder = msgspec.msgpack.Encoder()
_decoder = Decoder("the edge", _Body, "msgpack", _check)


@dataclass(frozen=True, slots=True)
class Edge:
    """A dependency as stored."""

    parent: Key
    child: Key
    lenient: bool
    witness: Key | None
    sequence: int


def edge_messages(connection: Connection, child: Key, after: Sequence[Parent]) -> list[tuple[str, bytes, dict[str, str]]]:
    """Return the messages that make a job known to its parents. They need no precondition: a second one changes nothing."""
    named: dict[str, Parent] = {}
    for parent in after:  # jobs of one id on two queues share an edge
        other = named.get(parent.id)
        if other is None:
            named[parent.id] = parent
        else:
            queue = parent.queue if parent.queue == other.queue else "*"
            named[parent.id] = Parent(parent.id, queue, parent.lenient and other.lenient)
    jobs = [(parent.queue, parent.id) for parent in after if not is_signal(parent.id)]
    last = jobs[-1] if jobs else None
    before = jobs[-2] if len(jobs) > 1 else None
    return [
        (
            connection.names.edge(parent.id, *child),
            _encoder.encode(_Body(parent.queue, parent.lenient, before if last is not None and parent.id == last[1] else last)),
            {},
        )
        for parent in named.values()
    ]


def waiting_headers(ready: str, now: float, expires: float = 0, looks: int = 0) -> dict[str, str]:
    """Return the headers of a held job that waits for others.

    Its timer is a safety net: after a while the server makes it ready, and a worker checks its parents and puts it back.
    So no crash, anywhere, can leave it waiting for a parent that has ended, and no other process is needed for that.

    Args:
        ready: Where it comes back to.
        now: The server's time.
        expires: When it is too late to run it (seconds since the epoch); 0 means never.
        looks: How often it was looked at; each time four times as long after the last one.
    """
    due = now + min(LONGEST_LOOK, FIRST_LOOK * 4**looks)
    if 0 < expires < due:
        due = max(expires, now) + 0.5  # then a worker finds it too late
    return {**schedule_headers(ready, due), WAITS: str(looks)}


async def edges_of(connection: Connection, parents: Iterable[str]) -> list[Edge]:
    """Return the edges of jobs that have ended, by their ids: one request for many jobs."""
    names = connection.names
    ids = set(parents)
    found = await read_many(connection, names.jobs_stream, [names.edge(each, "*", "*") for each in ids], f"{names.edges}.>")
    return [edge for edge in map(_edge, found) if edge is not None and edge.parent[1] in ids]


async def read_edges(connection: Connection, edges: Iterable[tuple[str, Key]]) -> dict[str, int]:
    """Return the stream sequences of edges that are there, by parent's id; `edges` are pairs of parent's id and child."""
    names = connection.names
    subjects = [names.edge(parent, *child) for parent, child in edges]
    found = await read_many(connection, names.jobs_stream, subjects, f"{names.edges}.>")
    wanted = set(subjects)
    return {each.subject: each.sequence for each in found if each.subject in wanted}


def _edge(found: Message) -> Edge | None:
    try:
        parent, queue, child = edge_key(found.subject)
        body = _decoder.decode(found.data)
    except UnreadableError as error:
        complain(log, found.subject, error, "none")
        return None
    return Edge((body.queue, parent), (queue, child), body.lenient, body.witness, found.sequence)


def edge_key(subject: str) -> tuple[str, str, str]:
    """Return the parent's id and the child's queue and id that an edge's subject names.

    Raises:
        UnreadableError: It is not the subject of an edge.
    """
    try:
        tokens = subject.partition(".edges.")[2]
        parent, queue, child = tokens.removesuffix(".signal").split(".")
        check = check_job_id if tokens.count(".") == 2 else check_signal_id
        return check(text_of(parent)), check_queue(queue), check_job_id(child)
    except ValueError as error:
        raise UnreadableError("the subject of an edge", reason_of(error)) from error


def check_edge(found: Message | Entry) -> None:
    """Refuse what is not an edge.

    Raises:
        UnreadableError: It is not one.
    """
    edge_key(found.subject)
    _decoder.decode(found.data)


async def forget(connection: Connection, sequences: Iterable[int]) -> None:
    """Delete edges that have served. Nothing depends on it being done: an old edge is looked at and found done with."""
    stream = connection.names.jobs_stream
    for count, sequence in enumerate(sequences):
        try:
            body = b'{"seq":%d,"no_erase":true}' % sequence
            await connection.client.publish(f"$JS.API.STREAM.MSG.DELETE.{stream}", body)
        except CLIENT_ERRORS as error:
            log.info("old edges were not removed: %r", error)
            return
        if count % 500 == 499:
            await asyncio.sleep(0)  # others want the loop too
