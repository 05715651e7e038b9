"""What workers ask of the one that writes a list of places: plain NATS request and reply, nothing is stored.

Who gets no answer writes by itself (`docs/adr/0067-one-writer-of-a-list.md`). Requests are not signed, as lists are not: who may
send one may write these, too.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeAlias

import msgspec

from naq_core.decoding import Count, Decoder, Instant, complain
from naq_core.errors import BrokerError, UnreadableError
from naq_core.storage.bells import is_token
from naq_core.storage.connection import Connection
from naq_core.transport.errors import CLIENT_ERRORS

log = logging.getLogger(__name__)

PATIENCE = 0.5
"""Seconds after which a worker that was not answered writes by itself."""
LEFT_FOR = 5.0
"""Seconds for which the lists of a queue are left to another worker that was faster."""


class Writers:
    """The workers to which this one leaves the lists of queues, as they got into each other's way."""

    def __init__(self, connection: Connection, worker_id: str) -> None:
        self.worker_id = worker_id
        self._connection = connection
        self._now = asyncio.get_running_loop().time
        self._of: dict[str, tuple[str, float]] = {}
        """By queue, and until when."""

    def of(self, queue: str) -> str:
        """Return the worker to ask; empty if this one writes itself, or the server does not let it ask."""
        writer, until = self._of.get(queue, ("", 0.0))
        is_refused = writer and self._connection.denials.is_refused(self._connection.names.asks(queue, writer))
        return "" if self._now() >= until or is_refused else writer

    def note_refusal(self, queue: str, writer: str) -> None:
        """Another worker was faster: of those that compete the one with the first name goes on, so there is one for a queue."""
        if "" < writer < self.worker_id:
            self._of[queue] = writer, self._now() + LEFT_FOR

    def forget(self, queue: str) -> None:
        """It does not answer: write beside it."""
        self._of.pop(queue, None)


class Ask(msgspec.Struct, frozen=True, array_like=True):
    """What is to be put into the next version of one list; the fields are those of `releasing.Work`."""

    token: str
    ended: dict[str, str]
    starting: dict[str, str]
    listed_at: Count
    at: Instant
    checks: bool
    is_rung: bool
    has_levels: bool


class Asks(msgspec.Struct, frozen=True, array_like=True):
    """Of several lists of a queue."""

    asked_at: Instant
    """By the server's clock."""
    of: list[Ask]


Answers: TypeAlias = list[dict[str, float]]
"""Of each list, for the jobs that are about to start: the seconds after which to ask again; 0: the token was taken."""


def _check(asks: Asks) -> None:
    if not all(is_token(each.token) for each in asks.of):
        raise ValueError("a token names no key")


_encoder = msgspec.msgpack.Encoder()
_asks = Decoder("what a worker asks of another", Asks, "msgpack", _check)
_answers = Decoder("what a worker answers another", Answers, "msgpack")


async def ask_writer(connection: Connection, queue: str, worker_id: str, asks: Sequence[Ask]) -> Answers | None:
    """Have another worker put something into lists; None: it may be gone, and it is unknown whether it has done so."""
    subject = connection.names.asks(queue, worker_id)
    body = _encoder.encode(Asks(connection.clock.now(), list(asks)))
    try:
        answers = _answers.decode((await connection.client.request(subject, body, timeout=PATIENCE)).data)
    except (UnreadableError, *CLIENT_ERRORS) as error:
        log.debug("worker %s does not answer: %r", worker_id, error)
        return None
    return answers if [told.keys() for told in answers] == [each.starting.keys() for each in asks] else None


async def answer_asks(
    connection: Connection, queue: str, worker_id: str, answer: Callable[[Sequence[Ask]], Awaitable[Answers]]
) -> None:
    """Answer what other workers ask about the lists of a queue, from now on.

    Args:
        answer: Returns when all is stored.
    """

    async def reply_to(asks: Sequence[Ask], reply: str) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                body = _encoder.encode(await answer(asks))
            connection.client.post(reply, body)
        except (TimeoutError, BrokerError, *CLIENT_ERRORS) as error:
            log.debug("a worker was not answered: %r", error)

    def on_ask(subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
        del headers
        try:
            asks = _asks.decode(data)
        except UnreadableError as error:
            complain(log, subject.decode(), error, "none")
            return
        is_waiting = connection.clock.now() - asks.asked_at < PATIENCE  # else its sender does it by itself
        if is_waiting and reply:
            _ = connection.background.start(reply_to(asks.of, reply.decode()), "naq-answer")

    with contextlib.suppress(*CLIENT_ERRORS):  # the connection is closed for good
        await connection.client.listen(connection.names.asks(queue, worker_id), on_ask)
