"""Large arguments and results in an object store bucket: chunks and a description, each with a time to live.

The layout is JetStream's own (`nats object` reads it). The bucket is created by us without rollup, so that no single publish
can wipe it, and objects are written once under a new name each time, so that nothing is ever replaced.
"""

import asyncio
import contextlib
import hashlib
import logging
import secrets
from base64 import urlsafe_b64encode

import msgspec

from naq_core.envelope import Large
from naq_core.errors import BrokerError, BrokerTimeoutError, LargePayloadError, PayloadTooLargeError
from naq_core.storage.connection import Connection
from naq_core.storage.subjects import ASIDE, state_of_subject
from naq_core.storage.topology import ensure_objects
from naq_core.transport.errors import CLIENT_ERRORS, DisconnectedError, NobodyThereError, NotReadyError
from naq_core.transport.headers import TTL, parse_headers, ttl_text
from naq_core.transport.jetstream import HEADER_ROOM
from naq_core.transport.streams import count_by_subject, each_message

log = logging.getLogger(__name__)

CHUNK = 128 * 1024
AT_ONCE = 64
"""Chunks of one read request."""
SILENCE = 5.0
LONG_HASH = 1024 * 1024
"""Bytes above which hashing leaves the event loop."""
ARGUMENTS = "args"
RESULT = "result"


async def put(connection: Connection, queue: str, job_id: str, kind: str, body: bytes, ttl: float) -> Large:
    """Store bytes that belong to a job.

    What fails on the way is left to its time to live, and everything is written again under another name.

    Args:
        kind: `args` or `result`.
        ttl: Seconds after which the server removes them.

    Raises:
        BrokerError: Not stored.
    """
    await ensure_objects(connection)
    deadline = connection.budget()
    digest = await _digest(body)
    while True:
        await connection.wait_connected(deadline)
        large = Large(f"{queue}.{job_id}.{kind}.{secrets.token_hex(6)}", len(body), digest)
        try:
            await _write(connection, large, body, {TTL: ttl_text(ttl)})
        except (NotReadyError, BrokerTimeoutError, DisconnectedError, PayloadTooLargeError) as error:  # the last: a lowered limit
            if isinstance(error, NobodyThereError) and await connection.keeper.restore(connection.names.objects_stream):
                continue
            if connection.is_past(deadline):
                raise BrokerTimeoutError(f"storing {large.name} ({error})", SILENCE) from error
            await asyncio.sleep(0.1)
        else:
            return large


async def _write(connection: Connection, large: Large, body: bytes, headers: dict[str, str]) -> None:
    names = connection.names
    size = min(CHUNK, connection.max_payload - HEADER_ROOM)
    chunks = [body[at : at + size] for at in range(0, len(body), size)]
    send = connection.publisher.send
    futures = [await send(names.object_chunks(large.name), chunk, headers) for chunk in chunks]
    outcomes = await asyncio.gather(*futures, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
    description = {
        "name": large.name,
        "bucket": names.objects,
        "nuid": large.name,
        "size": large.size,
        "chunks": len(chunks),
        "digest": f"SHA-256={urlsafe_b64encode(large.digest).decode()}",
        "mtime": "0001-01-01T00:00:00Z",  # as other clients write it: the message's own time counts
        "options": {"max_chunk_size": size},
    }
    await connection.publish(names.object_info(large.name), msgspec.json.encode(description), headers)


async def get(connection: Connection, large: Large) -> bytes:
    """Read an object, whole and checked against its digest.

    Raises:
        LargePayloadError: It is not there (any more), or was changed.
        BrokerError: The server could not be asked.
    """
    body = await _read_direct(connection, large)
    if len(body) != large.size:  # a replica may be behind, or away: the leader decides
        names = connection.names
        chunks = each_message(connection, names.objects_stream, names.object_chunks(large.name))
        body = b"".join([chunk.data async for chunk in chunks])
    if not body and large.size:
        raise LargePayloadError(large.name, "is missing: it was deleted or has expired")
    if len(body) != large.size or await _digest(body) != large.digest:
        raise LargePayloadError(large.name, f"was changed: its {large.size:,} bytes do not match the digest")
    return body


async def _read_direct(connection: Connection, large: Large) -> bytes:
    """Read the chunks from any replica, many with one request (ADR-31)."""
    names = connection.names
    deadline = connection.budget()
    request = {"seq": 1, "batch": AT_ONCE, "next_by_subj": names.object_chunks(large.name)}
    parts: list[bytes] = []
    missing = large.size
    while missing > 0:
        await connection.wait_connected(deadline)
        try:
            batch, last = await _batch(connection, f"$JS.API.DIRECT.GET.{names.objects_stream}", request)
        except NotReadyError:
            break  # no replica to ask, or no bucket: the leader knows
        except (TimeoutError, *CLIENT_ERRORS) as error:
            if connection.is_past(deadline):
                raise BrokerTimeoutError(f"reading {large.name} ({error})", SILENCE) from error
            await asyncio.sleep(0.1)
            continue
        if not batch:
            break
        parts += batch
        missing -= sum(map(len, batch))
        request["seq"] = last + 1
    return b"".join(parts)


async def _batch(connection: Connection, subject: str, request: dict[str, object]) -> tuple[list[bytes], int]:
    """Return the chunks of one request, and the sequence of the last."""
    chunks: list[bytes] = []
    last = 0
    done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def on_answer(_subject: bytes, _reply: bytes, data: bytes, block: bytes) -> None:
        nonlocal last
        headers = parse_headers(block)
        status = headers.get("Status")
        if done.done():
            return
        if status is None and "Nats-Sequence" in headers:
            chunks.append(data)
            last = int(headers["Nats-Sequence"])
        elif status in {"204", "404"}:  # the end of the batch, or nothing there
            done.set_result(None)
        elif status == "503":
            done.set_exception(NotReadyError(f"no responders for {subject}"))
        else:
            done.set_exception(BrokerError(f"{subject}: {status} {headers.get('Description', '')}"))

    client = connection.client
    inbox = client.new_inbox()
    subscription = await client.listen(inbox, on_answer)
    try:
        await client.publish(subject, msgspec.json.encode(request), reply=inbox)
        while not done.done():
            before = len(chunks)
            await asyncio.wait([done], timeout=SILENCE)
            if not done.done() and len(chunks) == before:
                raise TimeoutError(f"{subject}: no data for {SILENCE:g} s")
        done.result()
    finally:
        await subscription.unsubscribe()
    return chunks, last


async def remove(connection: Connection, large: Large) -> None:
    """Delete an object; where that fails its time to live will do it."""
    names = connection.names
    deadline = asyncio.get_running_loop().time() + SILENCE
    try:
        for subject in (names.object_info(large.name), names.object_chunks(large.name)):
            await connection.api(f"STREAM.PURGE.{names.objects_stream}", {"filter": subject}, deadline=deadline)
    except BrokerError as error:
        log.info("%s will be removed when it expires: %s", large.name, error)


async def arguments_of_waiting(connection: Connection, queue: str) -> list[Large]:
    """Return the large arguments of a queue's jobs that are ready or held."""
    names = connection.names
    chunks = await count_by_subject(connection, names.objects_stream, names.object_chunks(f"{queue}.*.{ARGUMENTS}.*"))
    if not chunks:
        return []
    places = map(state_of_subject, await count_by_subject(connection, names.jobs_stream, names.any_state(queue, "*")))
    waiting = {job_id for state, _, job_id in places if state not in ASIDE}
    stored = [subject.removeprefix(names.object_chunks("")) for subject in chunks]
    return [Large(name, 0, b"") for name in stored if name.split(".")[1] in waiting]


async def _digest(body: bytes) -> bytes:
    if len(body) > LONG_HASH:
        with contextlib.suppress(RuntimeError):  # no thread can be started
            return (await asyncio.to_thread(hashlib.sha256, body)).digest()
    return hashlib.sha256(body).digest()
