"""A namespace full of jobs, as producers and workers would have left them, written in bulk and within minutes."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import msgspec

from naq_core import Job
from naq_core.envelope import Envelope, decode_envelope, encode_envelope
from naq_core.metrics import LEVELS, Figures
from naq_core.metrics.figures import Stretch
from naq_core.names import new_id
from naq_core.record import AttemptError, JobRecord, JobState, encode_record
from naq_core.storage.connection import Connection
from naq_core.storage.events import record_headers
from naq_core.storage.figures import ensure_metrics, store_figures
from naq_core.storage.messages import schedule_headers
from naq_core.storage.topology import ensure_queue
from naq_core.transport.headers import EXPECTED_SEQUENCE, EXPECTED_SUBJECT, TTL, ttl_text
from naq_core.transport.streams import stream_span

FUNCTIONS = (
    ("mail", "shop.mail:send_receipt", 34),
    ("mail", "shop.mail:newsletter", 20),
    ("images", "shop.images:thumbnail", 16),
    ("billing", "shop.billing:charge", 10),
    ("billing", "shop.billing:dunning", 5),
    ("reports", "shop.reports:monthly", 5),
    ("etl", "shop.etl:extract", 4),
    ("etl", "shop.etl:load", 3),
    ("search", "shop.search:index", 2),
    ("webhooks", "shop.hooks:deliver", 1),
)
"""Queue, function, and how many of a hundred jobs are of it."""
ENDS = ((JobState.SUCCEEDED, 89), (JobState.DEAD, 8), (JobState.CANCELLED, 2), (JobState.EXPIRED, 1))
ERRORS = (
    ("builtins.ConnectionError", "smtp.example.org refused order {n}: 421 too many connections"),
    ("builtins.ValueError", "user {n} has no valid address: 'nobody@'"),
    ("shop.billing.CardDeclined", "card ending in {n} was declined"),
    ("builtins.TimeoutError", "no answer from 10.0.0.{m} within 30 s"),
    ("builtins.KeyError", "'customer_{n}'"),
)
TRACEBACK = "".join(
    f'  File "/srv/shop/module_{number}.py", line {100 + number}, in step_{number}\n    await step_{number + 1}(order)\n'
    for number in range(9)
)
TAGGED = 50_000
"""One of so many jobs has the tag `vip`."""
CUSTOMERS = 100_000
AT_ONCE = 100
"""Jobs in hand of the imagined worker: so many claims lie between a claim and its end."""
WINDOW = 4000
PURGE = 100_000
HELD_SHARE = 0.02
DAYS = 3 * 86_400.0
SOURCES = 4
"""Workers that have stored figures for three days."""


@dataclass
class Crowd:
    """What was stored, as far as a visitor needs it to ask."""

    queues: list[str]
    jobs: dict[str, list[str]] = field(default_factory=dict)
    """Some ids, by what became of them."""
    middle: tuple[int, int] = (0, 0)
    """The sequences of the newest record and of the newest message when half of those that have ended had come."""
    waiting: int = 0
    """The sequence of the newest message when half of those that wait had come."""

    def note(self, kind: str, job_id: str) -> None:
        known = self.jobs.setdefault(kind, [])
        if len(known) < 1000:
            known.append(job_id)
        elif random.random() < 0.01:
            known[random.randrange(1000)] = job_id


class _Sender:
    """Publishes in windows, so that neither side holds more than a few thousand answers."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._sent: list[asyncio.Future[int]] = []

    async def send(self, subject: str, body: bytes, headers: dict[str, str]) -> None:
        self._sent.append(await self._connection.publisher.send(subject, body, headers))
        if len(self._sent) >= WINDOW:
            await self.wait()

    async def wait(self) -> None:
        await asyncio.gather(*self._sent)
        self._sent.clear()


async def fill(connection: Connection, ended: int, waiting: int) -> Crowd:
    """Store jobs that have ended, with their records; jobs that wait; held ones; three days of figures."""
    queues = sorted({queue for queue, _, _ in FUNCTIONS})
    for queue in queues:
        await ensure_queue(connection, queue)
    crowd = Crowd(queues)
    await _ended(connection, crowd, ended)
    await _waiting(connection, crowd, waiting)
    await _figures(connection)
    for queue in queues:
        await _take_some(connection, queue, 50)
    return crowd


def _envelopes(count: int, first_at: float, last_at: float) -> Iterator[tuple[str, Envelope]]:
    """Yield queues and calls; templates spare the pickling of each."""
    chance = random.Random(7)
    templates = [
        (queue, decode_envelope(Job(function, (1, "anna@example.org"), {"retries": 3}, queue=queue).serialize()))
        for queue, function, _ in FUNCTIONS
    ]
    chosen = chance.choices(templates, [share for *_, share in FUNCTIONS], k=count)
    for number, (queue, template) in enumerate(chosen):
        name = chance.choice(("anna", "bert", "cora", "dirk", "eva"))
        tags = () if number % TAGGED else ("vip",)
        yield (
            queue,
            msgspec.structs.replace(
                template,
                id=new_id(),
                at=first_at + (last_at - first_at) * number / count,
                args=f"{number}, '{name}{number % 5000}@example.org', retries=3, customer={number % CUSTOMERS}",
                opt=msgspec.structs.replace(template.opt, tags=tags),
            ),
        )


async def _ended(connection: Connection, crowd: Crowd, count: int) -> None:
    """Do what producers, a worker and the server do for jobs that come, run and end: also the gaps they leave."""
    names, sender, chance = connection.names, _Sender(connection), random.Random(3)
    states = [state for state, _ in ENDS]
    shares = [share for _, share in ENDS]
    now = time.time()
    hand: list[tuple[JobRecord, bytes, int]] = []
    written = sequence = 0
    for number, (queue, envelope) in enumerate(_envelopes(count, now - DAYS, now - 60), 1):
        body = encode_envelope(envelope)
        sequence += 1
        await sender.send(names.ready(queue, envelope.id), body, {EXPECTED_SEQUENCE: "0"})
        record = JobRecord(
            state=JobState.RUNNING,
            job_id=envelope.id,
            queue=queue,
            function=envelope.fn,
            worker=f"shop-{number % SOURCES}-4711-abcdef",
            enqueued_at=envelope.at,
            started_at=envelope.at + 1,
            arguments=envelope.args,
            tags=envelope.opt.tags,
            sequence=sequence,
        )
        await sender.send(names.result(queue, envelope.id), encode_record(record), record_headers(record, 0))
        written += 1
        hand.append((record, body, written))
        if len(hand) < AT_ONCE and number < count:
            continue
        for record, body, revision in hand:
            state = chance.choices(states, shares)[0]
            crowd.note(state, record.job_id)
            _end(record, state, chance.randrange(100_000))
            ttl = {TTL: ttl_text(30 * 86_400)}
            await sender.send(
                names.result(record.queue, record.job_id), encode_record(record), record_headers(record, revision) | ttl
            )
            written += 1
            if state in {JobState.DEAD, JobState.CANCELLED}:
                headers = {
                    EXPECTED_SEQUENCE: str(record.sequence),
                    EXPECTED_SUBJECT: names.any_state(record.queue, record.job_id),
                    **schedule_headers(names.ready(record.queue, record.job_id), None),
                    **ttl,
                }
                await sender.send(names.archive(record.queue, record.job_id, state), body, headers)
                sequence += 1
        hand.clear()
        if number <= count // 2:
            crowd.middle = (written, sequence)
        if number % PURGE < AT_ONCE or number == count:
            await sender.wait()
            await connection.api(f"STREAM.PURGE.{names.jobs_stream}", {"filter": f"{names.jobs}.normal.>"})


def _end(record: JobRecord, state: JobState, number: int) -> None:
    record.state, record.ended_at = state, record.started_at + number / 50_000
    if state is JobState.SUCCEEDED:
        record.result_type, record.result, record.result_text = "pickle", b"\x80\x05K\x01.", f"sent {number}"
    elif state is JobState.DEAD:
        kind, message = ERRORS[number % len(ERRORS)]
        text = message.format(n=number, m=number % 250)
        record.attempt = 3
        record.errors = [
            AttemptError(kind, text, TRACEBACK, attempt=attempt, at=record.ended_at, worker=record.worker)
            for attempt in (1, 2, 3)
        ]
    else:
        record.reason = f"{state} by hand"


async def _waiting(connection: Connection, crowd: Crowd, count: int) -> None:
    """Enqueue, every fiftieth job for later."""
    names, sender, now = connection.names, _Sender(connection), time.time()
    every = round(1 / HELD_SHARE)
    for number, (queue, envelope) in enumerate(_envelopes(count + round(count * HELD_SHARE), now - 3600, now)):
        subject, headers = names.ready(queue, envelope.id), {EXPECTED_SEQUENCE: "0"}
        if number % (every + 1) == every:
            headers |= schedule_headers(subject, now + 86_400 + number / 10)
            subject = names.held(queue, envelope.id)
            crowd.note("held", envelope.id)
        else:
            crowd.note("queued", envelope.id)
        await sender.send(subject, encode_envelope(envelope), headers)
        if number == count // 2:
            await sender.wait()
            crowd.waiting = (await stream_span(connection, names.jobs_stream)).last
    await sender.wait()


async def _take_some(connection: Connection, queue: str, count: int) -> None:
    """Let each consumer have delivered something, as one that is worked on has; half of it stays unsettled."""
    replies: list[str] = []
    done = asyncio.get_running_loop().create_future()

    def on_message(_subject: bytes, reply: bytes, _data: bytes, _headers: bytes) -> None:
        if reply:
            replies.append(reply.decode())
        if (len(replies) == count or not reply) and not done.done():
            done.set_result(None)

    client, names = connection.client, connection.names
    inbox = client.new_inbox()
    subscription = await client.listen(inbox, on_message)
    request: dict[str, Any] = {"batch": count, "expires": int(2e9)}
    subject = f"$JS.API.CONSUMER.MSG.NEXT.{names.jobs_stream}.{names.consumer(queue)}"
    await client.publish(subject, msgspec.json.encode(request), inbox)
    await done
    client.unlisten(subscription)
    for reply in replies[::2]:
        await client.publish(reply, b"+ACK")


async def _figures(connection: Connection) -> None:
    """Store what four workers would have in three days."""
    await ensure_metrics(connection)
    now = time.time()
    for level in LEVELS:
        starts = range(int((now - level.keep) // level.step + 2) * level.step, int(now), level.step)
        for begin in starts:
            rows = _rows(level.step)
            body = msgspec.json.encode(Stretch(rows=rows, depth={queue: begin % 5000 for queue, _, _ in FUNCTIONS}))
            ttl = int(begin + level.keep - now) + 2
            await asyncio.gather(
                *(store_figures(connection, level.step, begin, f"shop-{source}", body, ttl) for source in range(SOURCES))
            )


def _rows(step: int) -> list[Figures]:
    return [
        Figures(
            queue,
            function,
            succeeded=share * step // 4,
            failed=step // 10,
            retried=step // 10,
            wait={place: 3 + place for place in range(8, 22)},
            run={place: 3 + place for place in range(5, 18)},
            wait_sum=10.0,
            run_sum=20.0,
        )
        for queue, function, share in FUNCTIONS
    ]
