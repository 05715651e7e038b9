"""Requests to one worker, answered by it: plain NATS request and reply, nothing is stored."""

import asyncio
import logging
from collections.abc import Callable

import msgspec
import nats.errors
from nats.aio.msg import Msg

from naq_core._nats.connection import Connection
from naq_core._nats.errors import CLIENT_ERRORS

log = logging.getLogger(__name__)

PAUSE = 0.1


class Request(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is asked of a worker."""

    verb: str
    """cancel, quiet, resume, stop or stop_now."""
    queue: str = ""
    job_id: str = ""
    """Of the job to cancel."""


class Reply(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the worker answers."""

    done: bool
    """False: it does not run that job (any more), or does not know the verb."""
    state: str = ""
    """Of the worker after the request: running, quiet or stopping."""


_encode = msgspec.json.Encoder().encode
_decode_request = msgspec.json.Decoder(Request).decode
_decode_reply = msgspec.json.Decoder(Reply).decode


async def ask_worker(connection: Connection, worker_id: str, request: Request, *, patience: float = 2.0) -> Reply | None:
    """Ask a worker, and again while it does not answer; every verb may be repeated.

    Args:
        patience: Seconds to go on trying; a worker may just be reconnecting.

    Returns:
        Its answer; None when nobody answered: it is gone, cut off, or its event loop stands still.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + patience
    subject, body = connection.names.control(worker_id), _encode(request)
    while (left := deadline - loop.time()) > 0:
        try:
            answer = await connection.client.request(subject, body, timeout=left)
            return _decode_reply(answer.data)
        except nats.errors.NoRespondersError:
            await asyncio.sleep(min(PAUSE, left))
        except msgspec.DecodeError as error:
            log.warning("worker %s gave an unreadable answer: %s", worker_id, error)
            return None
        except CLIENT_ERRORS as error:
            log.debug("worker %s does not answer: %r", worker_id, error)
            await asyncio.sleep(min(PAUSE, left))
    return None


async def answer_requests(connection: Connection, worker_id: str, handle: Callable[[Request], Reply]) -> None:
    """Answer the requests to a worker from now on, until the connection is closed.

    Args:
        handle: Called for each from the event loop; must not block.
    """

    async def on_request(message: Msg) -> None:
        try:
            reply = handle(_decode_request(message.data))
        except msgspec.DecodeError as error:
            log.warning("an unreadable request was refused: %s", error)
            reply = Reply(done=False)
        if message.reply:
            try:
                await connection.client.publish(message.reply, _encode(reply))
            except CLIENT_ERRORS as error:
                log.info("a request was done, but its answer not sent: %r", error)

    await connection.client.subscribe(connection.names.control(worker_id), cb=on_request)
