"""Documents of every kind as they may be found on the server: real ones, and what is left of them after damage."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from typing import NamedTuple

from naq_core.storage.connection import Connection
from naq_core.transport.many import read_all


class Document(NamedTuple):
    """A message to be stored."""

    subject: bytes
    body: bytes
    headers: bytes = b""


DEEP = 10_000
FIXED = (
    b"",
    b"\x00\xff\x01",
    b"null",
    b"{}",
    b"[]",
    b"1",
    b'"text"',
    b"[" * DEEP,
    b'{"a":' * DEEP + b"1" + b"}" * DEEP,
    b"\x91" * DEEP + b"\xc0",
    b'{"state":"paused","job_id":"x","queue":"default"}',
    b'{"worker_id":"x","running":5,"at":"soon","queues":"default"}',
)
"""What every kind of document is replaced by."""
VALUES = (b"1e308", b"-1", b"9" * 400, b'"x\xb1"', b"null", b"[1,{}]", b"true")
"""What a number in a JSON document is replaced by."""
ODD_KEYS = (b"a", b"a.b.c.d.e", b"\xff\xfe", "ümlaut.x".encode(), b"*.>", b"default.%s")
MARKER = b"NATS/1.0\r\nKV-Operation: %s\r\n\r\n"


async def real_documents(connection: Connection) -> list[Document]:
    """Return what lies in all of NAQ's streams right now."""
    names = connection.names
    found: list[Document] = []
    for stream in (
        names.jobs_stream,
        names.results_stream,
        names.workers_stream,
        names.queues_stream,
        names.schedules_stream,
        names.leases_stream,
        names.workflows_stream,
        names.metrics_stream,
        names.audit_stream,
    ):
        found += [Document(each.subject.encode(), each.data) for each in await read_all(connection, stream, ">")]
    return found


def damaged(document: Document, rng: random.Random) -> Document:
    """Return a document with something wrong: bits, length, a value, all of it, or a marker of a deletion in its place."""
    body = bytearray(document.body)
    match rng.randrange(6):
        case 0 if body:
            for _ in range(rng.randrange(1, 4)):
                body[rng.randrange(len(body))] ^= 1 << rng.randrange(8)
        case 1 if body:
            del body[rng.randrange(len(body)) :]
        case 2 if body:
            body = bytearray(_replaced(bytes(body), rng))
        case 3:
            return document._replace(body=b"", headers=MARKER % rng.choice((b"DEL", b"PURGE")))
        case 4:
            body = bytearray(rng.randbytes(rng.randrange(200)))
        case _:
            body = bytearray(rng.choice(FIXED))
    return document._replace(body=bytes(body))


def _replaced(body: bytes, rng: random.Random) -> bytes:
    """Return a JSON document with another value in the place of one of its values."""
    places = [at for at, each in enumerate(body) if each == ord(":")]
    if not places:
        return body
    start = rng.choice(places) + 1
    end = next((at for at in range(start, len(body)) if body[at] in b",}]"), len(body))
    return body[:start] + rng.choice(VALUES) + body[end:]


def planned(documents: list[Document], prefixes: list[bytes], count: int, rng: random.Random) -> Iterator[Document]:
    """Yield damaged documents, some of them under keys of their own or odd ones, so that the real ones are met as well."""
    for number in range(count):
        document = damaged(rng.choice(documents), rng)
        if rng.random() < 0.3:
            head, _, _ = document.subject.rpartition(b".")
            document = document._replace(subject=head + b".fuzz%d" % number)
        elif rng.random() < 0.1:
            document = document._replace(subject=rng.choice(prefixes) + b"." + rng.choice(ODD_KEYS))
        yield document


async def plant(port: int, documents: list[Document]) -> None:
    """Publish documents as they are, also on subjects that client libraries would refuse."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        await reader.readline()
        writer.write(b'CONNECT {"verbose":false,"pedantic":false,"headers":true}\r\n')
        for subject, body, headers in documents:
            if headers:
                writer.write(b"HPUB %b %d %d\r\n%b%b\r\n" % (subject, len(headers), len(headers) + len(body), headers, body))
            else:
                writer.write(b"PUB %b %d\r\n%b\r\n" % (subject, len(body), body))
        writer.write(b"PING\r\n")
        await writer.drain()
        while not (await reader.readline()).startswith(b"PONG"):
            pass
    finally:
        writer.close()
        await writer.wait_closed()
