"""Requests to one worker, answered by it: plain NATS request and reply, nothing is stored.

With a signing key, requests and answers are signed. A request is bound to its worker, its time and a random id, an answer to its
request. So what somebody has read of them can be used neither for another worker nor later.
"""

import asyncio
import logging
from collections.abc import Callable

import msgspec

from naq_core.decoding import Decoder, complain
from naq_core.errors import SignatureError, UnreadableError
from naq_core.names import new_id
from naq_core.signing import CONTROL, REPLY, Signer
from naq_core.storage.connection import Connection
from naq_core.transport.client import Msg
from naq_core.transport.errors import CLIENT_ERRORS

log = logging.getLogger(__name__)

PAUSE = 0.1
FRESH = 300.0
"""Seconds that a signed request is valid. In this time a worker carries it out only once."""


class ControlRequest(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is asked of a worker."""

    verb: str
    """cancel, quiet, resume, resize, stop or stop_now; stack at an address of its own."""
    queue: str = ""
    job_id: str = ""
    """Of the job to cancel."""
    slots: int = 0
    """How many jobs to run at a time; of `resize`."""
    at: float = 0.0
    """When it was signed, seconds since the epoch in the server's time."""
    nonce: str = ""
    """Random; the same when the request is repeated as no answer came."""
    signature: bytes = b""


class ControlReply(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the worker answers."""

    done: bool
    """False: it does not run that job (any more), or does not know the verb."""
    state: str = ""
    """Of the worker after the request: running, quiet or stopping."""
    refused: str = ""
    """Why the worker did not accept the request: it asks for a signature."""
    text: str = ""
    """What was asked for; of `stack`."""
    signature: bytes = b""


_encode = msgspec.json.Encoder().encode
_decode_request = Decoder("a request to a worker", ControlRequest).decode
_decode_reply = Decoder("the answer of a worker", ControlReply).decode


async def ask_worker(
    connection: Connection, worker_id: str, request: ControlRequest, *, patience: float = 2.0, is_beside: bool = False
) -> ControlReply | None:
    """Ask a worker, and again while it does not answer; every verb may be repeated.

    Args:
        patience: Seconds to go on trying; a worker may just be reconnecting.
        is_beside: Ask the worker's thread that also answers while its event loop is blocked.

    Returns:
        Its answer; None without one: it is gone, cut off, or its event loop is blocked.

    Raises:
        SignatureError: The worker asks for a signed request and refused this one, or this process has a signing key and only
            answers without a valid signature came.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + patience
    subject, request = _subject(connection, worker_id, is_beside=is_beside), _signed(connection, worker_id, request)
    body, forged = _encode(request), None
    while (left := deadline - loop.time()) > 0:
        try:
            answer = await connection.client.request(subject, body, timeout=left)
            reply = _verified_reply(connection.signer, worker_id, request, answer.data)
        except SignatureError as error:
            forged = error  # by somebody who was faster than the worker, or by a worker that has no key
            await asyncio.sleep(min(PAUSE, left))
        except UnreadableError as error:
            log.warning("worker %s: %s", worker_id, error)
            return None
        except CLIENT_ERRORS as error:
            log.debug("worker %s does not answer: %r", worker_id, error)
            await asyncio.sleep(min(PAUSE, left))
        else:
            if reply.refused:
                raise SignatureError(f"worker {worker_id} refused the request: {reply.refused}")
            return reply
    if forged is not None:
        raise forged
    return None


def _subject(connection: Connection, worker_id: str, *, is_beside: bool) -> str:
    """Return where a worker listens; both are of the form for which permissions are given."""
    return connection.names.control(f"{worker_id}=beside" if is_beside else worker_id)


def _signed(connection: Connection, worker_id: str, request: ControlRequest) -> ControlRequest:
    signer = connection.signer
    if not signer:
        return request
    request = msgspec.structs.replace(request, at=connection.clock.now(), nonce=new_id())
    return msgspec.structs.replace(request, signature=signer.sign(CONTROL, (worker_id,), _encode(request)))


def _verified_reply(signer: Signer, worker_id: str, request: ControlRequest, data: bytes) -> ControlReply:
    reply = _decode_reply(data)
    signer.verify(REPLY, (request.nonce, worker_id), _encode(msgspec.structs.replace(reply, signature=b"")), reply.signature)
    return reply


class RequestGuard:
    """Lets through what one worker is to do: with a signing key only signed requests, each once.

    Args:
        handle: Carries a request out.
    """

    def __init__(self, connection: Connection, worker_id: str, handle: Callable[[ControlRequest], ControlReply]) -> None:
        self._signer = connection.signer
        self._now = connection.clock.now
        self._worker_id = worker_id
        self._handle = handle
        self._answered: dict[str, tuple[float, ControlReply]] = {}
        """By nonce: when the request was signed, and what was answered."""

    def answer(self, data: bytes) -> bytes:
        """Carry out a request and return the answer to it."""
        nonce = ""
        try:
            request = _decode_request(data)
            nonce = request.nonce
            reply = self._once(request) if self._signer else self._handle(request)
        except SignatureError as error:
            log.warning("rejected a request to this worker: %s", error)
            reply = ControlReply(done=False, refused=str(error))
        except UnreadableError as error:
            complain(log, "a request to this worker", error, "a rejected one")
            reply = ControlReply(done=False)
        signature = self._signer.sign(REPLY, (nonce, self._worker_id), _encode(reply))
        return _encode(msgspec.structs.replace(reply, signature=signature))

    def _once(self, request: ControlRequest) -> ControlReply:
        bare = _encode(msgspec.structs.replace(request, signature=b""))
        self._signer.verify(CONTROL, (self._worker_id,), bare, request.signature)
        now = self._now()
        if not abs(now - request.at) <= FRESH:
            raise SignatureError(f"it was signed {now - request.at:+.0f} s ago: it may be a replay, or a clock is wrong")
        self._answered = {nonce: each for nonce, each in self._answered.items() if abs(now - each[0]) <= FRESH}
        if request.nonce not in self._answered:
            self._answered[request.nonce] = request.at, self._handle(request)
        return self._answered[request.nonce][1]


async def answer_requests(
    connection: Connection, worker_id: str, handle: Callable[[ControlRequest], ControlReply], *, is_beside: bool = False
) -> None:
    """Answer the requests to a worker from now on, until the connection is closed.

    Args:
        handle: Called for each from the event loop; must not block.
        is_beside: It is the thread that also answers while the worker's event loop is blocked.
    """
    guard = RequestGuard(connection, worker_id, handle)

    async def on_request(message: Msg) -> None:
        answer = guard.answer(message.data)
        if message.reply:
            try:
                await connection.client.publish(message.reply, answer)
            except CLIENT_ERRORS as error:
                log.info("a request was carried out, but its reply was not sent: %r", error)

    await connection.client.subscribe(_subject(connection, worker_id, is_beside=is_beside), cb=on_request)
