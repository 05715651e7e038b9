"""F28: whatever lies on a job's subject, a worker survives it and puts it aside as dead."""

from __future__ import annotations

import json
import random
import socket
import time
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from naq_core import JobState
from naq_core.envelope import Envelope, encode_envelope
from naq_core.serialization import encode_call
from naq_core.server import EmbeddedServer
from tests.support import jobs
from tests.support.eventually import eventually
from tests.support.history import History
from tests.support.load import Load
from tests.support.observer import Observer
from tests.support.processes import Fleet

REAL = encode_call(jobs.work, (), {}, "pickle")
encode = msgspec.msgpack.encode


def envelope(job_id: str, **changes: Any) -> bytes:
    """Return a job that would run, but for the changes."""
    fields: dict[str, Any] = {
        "v": 1,
        "id": job_id,
        "fn": REAL.function,
        "ct": REAL.content_type,
        "body": REAL.body,
        "at": time.time(),
    }
    return encode(fields | changes)


def without(job_id: str, field: str) -> bytes:
    """Return a job that lacks a field."""
    fields = msgspec.msgpack.decode(envelope(job_id))
    del fields[field]
    return encode(fields)


CORPUS: dict[str, Callable[[str], bytes]] = {
    "empty": lambda _: b"",
    "one-byte": lambda _: b"\xff",
    "noise": lambda _: random.Random(4).randbytes(1000),
    "much-noise": lambda _: random.Random(5).randbytes(200_000),
    "as-large-as-possible": lambda _: random.Random(7).randbytes(1024 * 1024),
    "text": lambda _: b"hello, worker",
    "json": lambda _: json.dumps({"function": "os:system", "args": ["true"]}).encode(),
    "json-envelope": lambda i: json.dumps({"v": 1, "id": i, "fn": "x:y"}).encode(),
    "nil": lambda _: encode(None),
    "list": lambda _: encode([1, 2, 3]),
    "deep": lambda _: b"\x91" * 50_000 + b"\xc0",
    "deep-in-an-envelope": lambda i: envelope(i)[:-1] + b"\x91" * 50_000 + b"\xc0",
    "truncated": lambda i: envelope(i)[:-5],
    "trailing": lambda i: envelope(i) + b"more",
    "bad-utf8": lambda i: envelope(i).replace(i.encode()[:4], b"\xff\xfe\xfd\xfc"),
    "no-body": lambda i: without(i, "body"),
    "no-id": lambda i: without(i, "id"),
    "no-function": lambda i: without(i, "fn"),
    "version-as-text": lambda i: envelope(i, v="one"),
    "body-as-number": lambda i: envelope(i, body=5),
    "options-as-text": lambda i: envelope(i, opt="none"),
    "options-of-wrong-types": lambda i: envelope(i, opt={"timeout": "soon", "process": 3}),
    "negative-retries": lambda i: envelope(i, opt={"retry": {"max_retries": "many"}}),
    "id-of-another-job": lambda _: envelope("somebody-else"),
    "id-as-subject": lambda _: envelope("a.b.>"),
    "unknown-module": lambda i: envelope(i, fn="no_such_module_at_all:f"),
    "unknown-function": lambda i: envelope(i, fn="tests.support.jobs:no_such_function"),
    "not-a-function": lambda i: envelope(i, fn="tests.support.history:HISTORY_VARIABLE"),
    "empty-function": lambda i: envelope(i, fn=""),
    "function-of-dots": lambda i: envelope(i, fn="..:.."),
    "null-in-function": lambda i: envelope(i, fn="tests\0.support:jobs"),
    "unknown-content-type": lambda i: envelope(i, ct="yaml"),
    "no-pickle": lambda i: envelope(i, body=b"no pickle at all"),
    "pickle-of-something-else": lambda i: envelope(i, body=encode_call(len, (), {}, "pickle").body[:-1]),
    "arguments-do-not-fit": lambda i: envelope(i, body=encode_call(jobs.work, (1, 2, 3), {}, "pickle").body),
    "by-value-without-function": lambda i: envelope(i, by_value=True),
}


async def test_garbage_ends_dead_with_a_reason_and_the_worker_goes_on(
    fleet: Fleet, load: Load, observer: Observer, history: History
) -> None:
    first = await load.enqueue(jobs.work)  # makes the queue
    for name, make in CORPUS.items():
        await observer.plant("default", f"bad-{name}", make(f"bad-{name}"))
    worker = fleet.start()

    async def all_dead() -> None:
        records = await observer.records("default", [f"bad-{name}" for name in CORPUS])
        states = {job_id: record.state for job_id, record in records.items()}
        wrong = {name: states.get(f"bad-{name}") for name in CORPUS if states.get(f"bad-{name}") is not JobState.DEAD}
        assert not wrong, wrong
        silent = [r.job_id for r in records.values() if not (r.errors or r.reason)]
        assert not silent, f"without a reason: {silent}"

    try:
        await eventually(all_dead, 15, interval=0.1)
    except AssertionError as error:
        error.add_note(worker.output()[-6000:])
        raise

    async def all_kept() -> None:  # each after its record
        # The one that fills a whole message has no room for the headers under which it would be kept.
        assert (await observer.live("default"))["dead"] >= len(CORPUS) - 1

    await eventually(all_kept)
    await load.enqueue(jobs.work)
    await load.finish(10)
    assert worker.is_alive, worker.output()
    ran = {event.job for event in history.events("start")}
    assert ran == set(load.accepted)
    assert first in ran
    assert await observer.record("default", "somebody-else") is None


@pytest.mark.parametrize("version", [2, 10**6])
async def test_a_job_of_a_newer_version_is_not_run_and_does_not_stop_the_others(
    version: int, fleet: Fleet, load: Load, observer: Observer, history: History
) -> None:
    await load.enqueue(jobs.work)
    await observer.plant("default", "newer", envelope("newer", v=version, more={"of": "that"}))
    worker = fleet.start()
    await eventually(lambda: _has_ended(history, load.accepted), 15)
    await load.enqueue(jobs.work)
    await eventually(lambda: _has_ended(history, load.accepted), 15)

    async def only_the_newer_one_is_left() -> None:
        live = await observer.live("default")
        assert live.total() == 1, f"it is neither kept for a newer worker nor dead: {live}"

    await eventually(only_the_newer_one_is_left, 15)  # the others are acknowledged after their end
    assert not history.events("start", "newer")
    assert worker.is_alive, worker.output()


def _has_ended(history: History, job_ids: list[str]) -> None:
    ended = {event.job for event in history.events("end")}
    assert ended.issuperset(job_ids)


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_flipped_bits_never_stop_a_worker(fleet: Fleet, load: Load, observer: Observer) -> None:
    rng = random.Random(6)
    await load.enqueue(jobs.work)
    count = 3000
    for number in range(count):
        body = bytearray(encode_envelope(msgspec.msgpack.decode(envelope(f"flip-{number}"), type=Envelope)))
        for _ in range(rng.randrange(1, 4)):
            body[rng.randrange(len(body))] ^= 1 << rng.randrange(8)
        await observer.plant("default", f"flip-{number}", bytes(body))
    worker = fleet.start()

    async def nothing_waits() -> None:
        live = await observer.live("default")
        live.pop("dead", None)
        assert not live.total(), live

    await eventually(nothing_waits, 200, interval=0.5)
    assert worker.is_alive, worker.output()


ODD_IDS = [b"*", "ümlaut".encode(), b"x" * 200, b"not\xff\xfeutf8", b"nul\0", b"%s", b"$JS"]


@pytest.mark.parametrize("odd", ODD_IDS, ids=repr)
async def test_a_job_on_an_odd_subject_is_put_aside_and_harms_nobody(
    odd: bytes, nats_server: EmbeddedServer, fleet: Fleet, load: Load, observer: Observer, history: History
) -> None:
    """No client makes such ids, yet whoever may publish can, and the server stores them."""
    await load.enqueue(jobs.work)
    plant_raw(nats_server.port, observer.names.ready("default", "").encode() + odd, envelope("whatever"))
    worker = fleet.start()
    try:
        await load.finish(12)
        await load.enqueue(jobs.work)
        await load.finish(5)
    except AssertionError as error:
        error.add_note(worker.output()[-3000:])
        raise
    assert {event.job for event in history.events("start")} == set(load.accepted)
    assert worker.is_alive, worker.output()


def plant_raw(port: int, subject: bytes, body: bytes) -> None:
    """Publish on a subject that client libraries would refuse."""
    with socket.create_connection(("127.0.0.1", port)) as raw:
        raw.recv(4096)
        raw.sendall(b'CONNECT {"verbose":false,"pedantic":false}\r\nSUB reply 1\r\n')
        raw.sendall(b"PUB " + subject + b" reply %d\r\n" % len(body) + body + b"\r\n")
        assert b"stream" in raw.recv(4096)
