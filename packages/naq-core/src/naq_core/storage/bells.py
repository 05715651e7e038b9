"""Bells: messages that make a worker start the next jobs of a key (`docs/adr/0054-keys.md`)."""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec

from naq_core.decoding import Decoder
from naq_core.errors import UnreadableError
from naq_core.storage.connection import Connection
from naq_core.storage.subjects import BELL, BELL_ID, NORMAL
from naq_core.transport.headers import SCHEDULE, SCHEDULE_TARGET
from naq_core.transport.repeat import BrokerMessage
from naq_core.transport.streams import count_by_subject

_TOKEN = re.compile(r"=?[A-Za-z0-9_-]{1,80}")
_CHECKED, _LEFT, _MANY = "check:", "left:", "many:"
_encoder = msgspec.msgpack.Encoder()
_ended = Decoder("a bell", dict[str, str], "msgpack")
_tokens = Decoder("a bell", list[str], "msgpack")


def is_token(text: str) -> bool:
    """Whether a text can be the token of a key."""
    return _TOKEN.fullmatch(text) is not None


class Bell(NamedTuple):
    """What a bell asks for."""

    token: str
    """Of the key whose next jobs are to be started."""
    checks: bool
    """A job may have gone without a word: compare the list of places with the jobs."""
    ended: Mapping[str, str]
    """Ids and run tokens of jobs that have ended, or were replaced, without a worker."""


def bell(connection: Connection, queue: str, token: str, level: str, *, checks: bool = False) -> BrokerMessage:
    """Return the message that makes a worker start the next jobs of a key.

    Args:
        level: The priority with which it is delivered.
        checks: A job that had a place may have gone without a word.
    """
    rung = f"{_CHECKED}{token}" if checks else token
    return connection.names.ready(queue, f"{BELL_ID}{rung}", level), b"", {BELL: rung}


def timed_bell(connection: Connection, queue: str, token: str, due: float) -> BrokerMessage:
    """Return the bell that the server delivers at a time; it takes the place of the one before."""
    subject, body, headers = bell(connection, queue, token, NORMAL)
    at = datetime.fromtimestamp(due, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return connection.names.timed_bell(queue, token), body, {**headers, SCHEDULE: f"@at {at}", SCHEDULE_TARGET: subject}


def bell_of_many(connection: Connection, queue: str, tokens: Sequence[str], level: str) -> BrokerMessage:
    """Return one bell for many keys of a queue, for jobs that were enqueued together."""
    if len(tokens) == 1:
        return bell(connection, queue, tokens[0], level)
    return connection.names.ready(queue, f"{BELL_ID}{_MANY}", level), _encoder.encode(tokens), {BELL: _MANY}


def leaving_bell(connection: Connection, queue: str, token: str, level: str, job_id: str, run: str) -> BrokerMessage:
    """Return the bell that says that a job needs its place no more."""
    subject = connection.names.ready(queue, f"{BELL_ID}{token}:{job_id}", level)
    return subject, _encoder.encode({job_id: run}), {BELL: f"{_LEFT}{token}"}


def read_bell(text: str, data: bytes) -> list[Bell]:
    """Return what a bell asks for, of each key that it names, from its header and its body.

    Raises:
        UnreadableError: It is not NAQ's.
    """
    tokens = _tokens.decode(data) if text == _MANY else [text.removeprefix(_CHECKED).removeprefix(_LEFT)]
    for token in tokens:
        if not is_token(token):
            raise UnreadableError("a bell", f"{token[:200]!r} names no key")
    ended = _ended.decode(data) if text.startswith(_LEFT) else {}
    return [Bell(token, text.startswith(_CHECKED), ended) for token in tokens]


async def ring_all(connection: Connection, queue: str, level: str = NORMAL) -> int:
    """Have all keys of a queue looked at that have a list of places; return how many those are."""
    names = connection.names
    found = await count_by_subject(connection, names.jobs_stream, names.places(queue, "*"))
    tokens = [subject.rsplit(".", 2)[1] for subject in found]
    await ring(connection, [bell(connection, queue, token, level, checks=True) for token in tokens])
    return len(tokens)


async def ring(connection: Connection, bells: Iterable[BrokerMessage]) -> None:
    """Store bells."""
    for each in bells:
        await connection.publish(*each)
