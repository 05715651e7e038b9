"""Putting ended jobs back: ready, or waiting again for those parents that have not succeeded yet.

A stored message is moved here, so `message_of` has no part in it. Body and signature stay as they were: what was forged before is
not signed now. The dead message must be the newest of its job, whereas a new job expects no message at all. And since the job has
a record, it is not marked as one that has never been begun (`FIRST`).
"""

import logging
from collections.abc import Mapping, Sequence

from naq_core.dependents import Dependents
from naq_core.enqueue.message import tell_enqueued, waiting_messages
from naq_core.envelope import Envelope, Parent, decode_envelope, encode_envelope
from naq_core.errors import SignatureError, WrongSequenceError
from naq_core.storage.connection import Connection
from naq_core.storage.edges import Key
from naq_core.storage.messages import released
from naq_core.storage.parents import ParentState, ParentStatus, parent_statuses
from naq_core.storage.subjects import state_of_subject
from naq_core.transport.batch import batches, publish_batch
from naq_core.transport.message import Message
from naq_core.transport.repeat import BrokerMessage

log = logging.getLogger(__name__)


async def put_back(connection: Connection, messages: Mapping[Key, Message]) -> None:
    """Move dead jobs back, whose records are reset: those that wait for others first, those that can start last.

    Raises:
        BrokerError: Not all may have been moved; do it again.
    """
    envelopes = {key: decode_envelope(message.data) for key, message in messages.items()}
    parents = {(parent.queue, parent.id) for envelope in envelopes.values() for parent in envelope.after}
    known = await parent_statuses(connection, parents)
    waiting: list[list[BrokerMessage]] = []
    ready: list[list[BrokerMessage]] = []
    children: list[tuple[Key, Sequence[Parent]]] = []
    for key, message in messages.items():
        envelope = envelopes[key]
        awaited = [parent for parent in envelope.after if _is_awaited(parent, known)]
        if awaited:
            # For a parent without an edge its success is remembered.
            waiting.append(waiting_messages(connection, key, released(connection, message), awaited, envelope.expires))
            children.append((key, envelope.after))
        else:
            ready.append([released(connection, message)])
    await _store(connection, [*reversed(waiting), *ready])
    await Dependents(connection).look(children)
    await tell_enqueued({queue for queue, _ in messages})


def with_envelope(connection: Connection, message: Message, envelope: Envelope, *, is_changed: bool) -> Message:
    """Return a message that holds this envelope; one that was changed is signed again.

    Raises:
        SignatureError: It was changed, but the job is signed and this process has no key, or another one.
        PayloadTooLargeError: It is larger than the server takes.
    """
    if not is_changed:
        return message
    _, queue, job_id = state_of_subject(message.subject)
    if connection.signer.open(message.data, queue, job_id) != message.data and not connection.signer:
        raise SignatureError(f"the job {job_id} is signed: this process needs NAQ_SIGNING_KEY to change it")
    body = connection.signer.seal(encode_envelope(envelope), queue, job_id)
    connection.check_size(f"the call of {envelope.fn}", len(body))
    return message._replace(data=body)


async def failed_parent(connection: Connection, after: Sequence[Parent]) -> str:
    """Return why a job would wait in vain; empty if it would not."""
    known = await parent_statuses(connection, [(parent.queue, parent.id) for parent in after])
    for parent in after:
        status = known[parent.queue, parent.id]
        if status.kind is ParentState.FAILED and not parent.lenient:
            return status.why
    return ""


def _is_awaited(parent: Parent, known: Mapping[Key, ParentStatus]) -> bool:
    """Return whether a parent is still to be waited for; one of which nothing is left is taken for done."""
    kind = known[parent.queue, parent.id].kind
    return kind is ParentState.ALIVE or (kind is ParentState.FAILED and not parent.lenient)


async def _store(connection: Connection, groups: Sequence[Sequence[BrokerMessage]]) -> None:
    """Store in atomic batches; one by one where somebody else has moved a part of it already."""
    for batch in batches(groups):
        try:
            await publish_batch(connection, batch)
        except WrongSequenceError:
            for message in batch:
                await _store_one(connection, message)


async def _store_one(connection: Connection, message: BrokerMessage) -> None:
    try:
        await connection.publish(*message)
    except WrongSequenceError:
        log.debug("%s was moved by another process", message[0])
