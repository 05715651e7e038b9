"""One worker writes the lists of a queue for all that share them (`docs/adr/0067-one-writer-of-a-list.md`)."""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import pytest

from naq_client import Queue, QueuePolicy
from naq_core.errors import WrongSequenceError
from naq_core.storage.asks import Answers, Ask, ask_writer
from naq_core.storage.keys import decode_places, encode_places
from naq_core.storage.subjects import ALL
from naq_core.transport.headers import EXPECTED_SEQUENCE, ROLLUP
from naq_core.transport.streams import read_next
from naq_worker import _keys
from tests.conftest import RunWorker
from tests.integration.test_keys import begun, is_empty, key, most, numbered
from tests.support.eventually import eventually

__all__ = ["key"]
RIVAL = "!rival"
"""Its name comes before that of each worker."""
Asked = list[tuple[str, Sequence[Ask], Answers | None]]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Asked:
    """Collect what the workers of this process ask each other."""
    found: Asked = []

    async def noted(connection: Any, queue: str, worker_id: str, asks: Sequence[Ask]) -> Answers | None:
        answers = await ask_writer(connection, queue, worker_id, asks)
        found.append((worker_id, asks, answers))
        return answers

    monkeypatch.setattr(_keys, "ask_writer", noted)
    return found


async def test_workers_that_share_lists_leave_them_to_one(queue: Queue, run_worker: RunWorker, key: str, asked: Asked) -> None:
    await queue.set_policy(QueuePolicy(key_limit=4))
    jobs: list[Any] = []
    keys = [f"{key}-{number}" for number in range(3)]
    async with run_worker(concurrency=8) as one, run_worker(concurrency=8) as two, run_worker(concurrency=8) as three:

        async def are_answered() -> None:
            for own in keys:
                jobs.extend(await queue.enqueue_many(queue.options(key=own).call(numbered, own, n, 0.001) for n in range(60)))
            await asyncio.gather(*(job.result(30) for job in jobs))
            assert sum(answers is not None for _, _, answers in asked) > 5

        await eventually(are_answered, 60)
        first = min(one.worker_id, two.worker_id, three.worker_id)
        assert first in {worker_id for worker_id, _, _ in asked}
        assert max(one.worker_id, two.worker_id, three.worker_id) not in {worker_id for worker_id, _, _ in asked}
    assert max(most[own] for own in keys) <= 4
    assert [len(begun[own]) for own in keys] == [len(jobs) / 3] * 3
    await eventually(lambda: is_empty(queue), 10)


async def test_workers_that_share_a_rate_leave_its_tokens_to_one(
    queue: Queue, run_worker: RunWorker, key: str, asked: Asked
) -> None:
    await queue.set_policy(QueuePolicy(rate="60/s", burst=6))
    jobs: list[Any] = []
    before = time.monotonic()
    async with run_worker(concurrency=8), run_worker(concurrency=8), run_worker(concurrency=8):

        async def are_answered() -> None:
            jobs.extend(await queue.enqueue_many(queue.call(numbered, key, number) for number in range(60)))
            await asyncio.gather(*(job.result(30) for job in jobs))
            assert any(ask.starting for _, asks, answers in asked if answers for ask in asks)

        await eventually(are_answered, 60)
    assert len(begun[key]) == len(jobs)
    assert time.monotonic() - before >= (len(jobs) - 6) / 60
    await eventually(lambda: is_empty(queue), 10)


@pytest.mark.parametrize("rival", ["dead", "frozen", "broken"])
@pytest.mark.parametrize("of_queue", [True, False], ids=["rate", "keys"])
async def test_a_worker_goes_on_by_itself_if_the_writer_does_not_answer(
    queue: Queue, run_worker: RunWorker, key: str, asked: Asked, rival: str, of_queue: bool
) -> None:
    await queue.set_policy(QueuePolicy(rate="200/s") if of_queue else QueuePolicy(key_limit=3))
    connection = await queue.connection()
    if rival != "dead":

        def on_ask(subject: bytes, reply: bytes, data: bytes, headers: bytes) -> None:
            if rival == "broken":
                connection.client.post(reply.decode(), b"\x90")

        await connection.client.listen(connection.names.asks("default", RIVAL), on_ask)
    async with run_worker(concurrency=8), run_worker(concurrency=8):
        token = ALL if of_queue else key
        competing = asyncio.create_task(compete(connection, token, asked))
        options = queue.options() if of_queue else queue.options(key=key)
        jobs = await queue.enqueue_many(options.call(numbered, key, number, 0.001) for number in range(100))
        await asyncio.wait_for(competing, 60)
        assert await asyncio.gather(*(job.result(30) for job in jobs)) == list(range(100))
    assert (RIVAL, None) in {(worker_id, answers and 1) for worker_id, _, answers in asked}
    assert of_queue or most[key] <= 3
    assert len(begun[key]) == 100
    await eventually(lambda: is_empty(queue), 10)


async def compete(connection: Any, token: str, asked: Asked) -> None:
    """Write a list again and again in the name of a worker, until that one was asked in vain."""
    subject = connection.names.places("default", token)
    while not any(worker_id == RIVAL for worker_id, _, _ in asked):
        found = await read_next(connection, connection.names.jobs_stream, subject)
        if found is None:
            continue
        headers = {EXPECTED_SEQUENCE: str(found.sequence), ROLLUP: "sub"}
        with suppress(WrongSequenceError):
            await connection.publish(subject, encode_places(connection, decode_places(found.data), RIVAL), headers)


async def test_a_worker_does_what_others_ask_for_unless_they_wait_no_more(
    queue: Queue, run_worker: RunWorker, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await queue.set_policy(QueuePolicy(key_rate="1/h", key_burst=2, key_limit=5))
    connection = await queue.connection()
    async with run_worker() as worker:
        assert await (await queue.options(key=key).enqueue(numbered, key, 1)).result(10) == 1

        def start(job_id: str) -> Ask:
            return Ask(key, {}, {job_id: "run"}, 0, 0.0, checks=False, is_rung=False, has_levels=False)

        connection.client.post(connection.names.asks("default", worker.worker_id), b"rubbish", "nowhere")
        assert await ask_writer(connection, "default", worker.worker_id, [start("one")]) == [{"one": 0.0}]
        answers = await ask_writer(connection, "default", worker.worker_id, [start("two")])
        assert answers is not None
        assert answers[0]["two"] > 1000
        with monkeypatch.context() as later:
            late = connection.clock.now() - 1
            later.setattr(connection.clock, "now", lambda: late)
            assert await ask_writer(connection, "default", worker.worker_id, [start("three")]) is None
