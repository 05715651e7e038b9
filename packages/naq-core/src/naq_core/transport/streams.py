"""Reading a stream by the JetStream API: its last messages, how many there are, and what it holds."""

from base64 import b64decode
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import msgspec

from naq_core.errors import BrokerError, JetStreamError
from naq_core.transport.direct import ABSENT, direct_get_of, get_many
from naq_core.transport.errors import NO_MESSAGE, api_error
from naq_core.transport.jetstream import JetStream
from naq_core.transport.keeper import STREAM_NOT_FOUND
from naq_core.transport.message import Message, header_block, stored_message


async def read_last(connection: JetStream, stream: str, subject: str, *, deadline: float | None = None) -> Message | None:
    """Read the last message of a subject, which may hold wildcards, from the stream's leader."""
    try:
        answer: dict[str, Any] = await connection.api(f"STREAM.MSG.GET.{stream}", {"last_by_subj": subject}, deadline=deadline)
    except JetStreamError as error:
        if error.err_code in {NO_MESSAGE, STREAM_NOT_FOUND}:
            return None
        raise
    return stored_message(answer["message"])


async def read_direct(connection: JetStream, stream: str, subject: str) -> Message | None:
    """Read the last message of one subject from any replica: cheap, and possibly a moment old."""
    message = await connection.request(direct_get_of(stream, subject))
    headers = message.headers or {}
    status = headers.get("Status")
    if status == ABSENT:
        return None
    if status is not None or "Nats-Sequence" not in headers:
        raise _unexpected(message.data, f"direct get of {subject}: status {status}")
    return Message(headers["Nats-Subject"], int(headers["Nats-Sequence"]), message.data)


def _unexpected(data: bytes, what: str) -> BrokerError:
    try:
        return api_error(what, msgspec.json.decode(data)["error"])
    except (msgspec.DecodeError, KeyError, TypeError):
        return BrokerError(what)


async def read_next(connection: JetStream, stream: str, subject: str, start: int = 0) -> Message | None:
    """Read the first message of a subject from a sequence on, or with 0 the last one, for decisions.

    The subject may hold wildcards. In a cluster the leader answers; elsewhere there is no other, and a direct get costs less than
    a request to the API.
    """
    request: dict[str, Any] = {"seq": start, "next_by_subj": subject} if start else {"last_by_subj": subject}
    if connection.is_clustered:
        try:
            answer: dict[str, Any] = await connection.api(f"STREAM.MSG.GET.{stream}", request)
        except JetStreamError as error:
            if error.err_code in {NO_MESSAGE, STREAM_NOT_FOUND}:
                return None
            raise
        return stored_message(answer["message"])
    (found,) = await get_many(connection, stream, [request])
    return None if found is None else Message(found.subject, found.sequence, found.data, header_block(found.headers))


async def count_by_subject(connection: JetStream, stream: str, subject: str) -> dict[str, int]:
    """Return how many messages lie on each subject that matches, over all pages of the server's answer."""
    counts: dict[str, int] = {}
    while True:
        request = {"subjects_filter": subject, "offset": len(counts)}
        try:
            answer = await connection.api(f"STREAM.INFO.{stream}", request)
        except JetStreamError as error:
            if error.err_code == STREAM_NOT_FOUND:
                return {}
            raise
        page = answer["state"].get("subjects") or {}
        counts |= page
        if not page or len(counts) >= int(answer.get("total", 0)):
            return counts


async def each_message(connection: JetStream, stream: str, subject: str) -> AsyncIterator[Message]:
    """Read every message of a subject, which may hold wildcards, one after the other, in the order of the stream."""
    sequence = 1
    while True:
        try:
            answer = await connection.api(f"STREAM.MSG.GET.{stream}", {"seq": sequence, "next_by_subj": subject})
        except JetStreamError as error:
            if error.err_code in {NO_MESSAGE, STREAM_NOT_FOUND}:
                return
            raise
        message = answer["message"]
        sequence = message["seq"] + 1
        yield Message(message["subject"], message["seq"], b64decode(message.get("data", "")))


class StreamSpan(NamedTuple):
    """The sequences a stream holds; `last` is 0 where it is missing or empty."""

    first: int
    last: int
    messages: int = 0
    created: str = ""
    """When it was created: another time means another stream, whose sequences begin again."""


async def stream_span(connection: JetStream, stream: str) -> StreamSpan:
    """Return from where to where a stream goes."""
    try:
        answer = await connection.api(f"STREAM.INFO.{stream}")
    except JetStreamError as error:
        if error.err_code == STREAM_NOT_FOUND:
            return StreamSpan(0, 0)
        raise
    state = answer["state"]
    return StreamSpan(state["first_seq"], state["last_seq"], state["messages"], answer["created"])
