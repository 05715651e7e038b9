"""What a worker says of what it is doing: stacks of coroutines, threads and child processes, and no values."""

from __future__ import annotations

import asyncio
import re
import time
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from naq_client import Queue
from naq_core import SignatureError, WorkerNotFoundError
from naq_core.connection import Connection
from naq_core.manage import worker_stacks
from naq_worker import Worker, _stacks
from tests.conftest import RunWorker
from tests.support.eventually import eventually

SECRET = "the-secret-value"


def is_open(gate: str) -> bool:
    return Path(gate).exists()


def open_gate(gate: str) -> None:
    Path(gate).touch()


async def outer(gate: str, password: str) -> None:
    await inner(gate, password)


async def inner(gate: str, password: str) -> None:
    assert password
    helper = asyncio.create_task(waiting(gate), name="helper-of-outer")
    await helper


async def waiting(gate: str) -> None:
    while not is_open(gate):  # noqa: ASYNC110 - another process opens it
        await asyncio.sleep(0.02)


async def blocking(gate: str, password: str) -> None:
    in_a_thread(gate, password)


def in_a_thread(gate: str, password: str) -> None:
    assert password
    while not is_open(gate):
        time.sleep(0.02)


async def in_a_child(gate: str, password: str) -> None:
    in_a_thread(gate, password)


async def shows(queue: Queue, worker: Worker, *wanted: str) -> str:
    """Ask until the stacks show all that."""

    async def asked() -> str:
        try:
            text = await worker_stacks(await queue.connection(), worker.worker_id)
        except WorkerNotFoundError as error:
            raise AssertionError from error
        missing = [each for each in wanted if not re.search(each, text)]
        assert not missing, text
        return text

    return await eventually(asked)


async def test_coroutines_threads_and_child_processes_are_shown(queue: Queue, run_worker: RunWorker, tmp_path: Path) -> None:
    gate = str(tmp_path / "gate")
    async with run_worker() as worker:
        first = await queue.enqueue(outer, gate, SECRET)
        second = await queue.enqueue(in_a_thread, gate, SECRET)
        third = await queue.options(process=True).enqueue(in_a_child, gate, SECRET)
        text = await shows(
            queue,
            worker,
            rf"job {first.job_id} of default: tests\.integration\.test_stacks:outer, [\d.]+",
            r'test_stacks.py", line \d+, in outer\n    await inner\(gate, password\)\n',
            r"in inner\n    await helper\n",
            r"task helper-of-outer\n.*in waiting\n",
            rf"thread naq-job-\d+, of job {second.job_id} \(tests\.integration\.test_stacks:in_a_thread\)\n.*in in_a_thread\n",
            rf"child process of job {third.job_id} \(tests\.integration\.test_stacks:in_a_child\)\n(.*\n)*?.*in in_a_thread\n",
            r"thread MainThread, of the event loop\n",
        )
        assert SECRET not in text
        assert "naq_worker/_attempt.py" not in text.split("\n\n", 1)[0], "the frames of the worker are left out"
        await shows(queue, worker, "\nchild process of job"), "it can be asked again"
        open_gate(gate)
        for each in (first, second, third):
            await each.result(20)

        async def is_over() -> None:
            text = await worker_stacks(await queue.connection(), worker.worker_id)
            assert not re.search("^child process of", text, re.MULTILINE)  # this line is among the stacks of this process

        await eventually(is_over)


async def test_a_worker_whose_event_loop_is_blocked_says_where(queue: Queue, run_worker: RunWorker, tmp_path: Path) -> None:
    """In a thread of its own: this loop is not to be blocked."""
    gate = str(tmp_path / "gate")
    begun: asyncio.Queue[Worker] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    async def elsewhere() -> None:
        worker = Worker("default", settings=queue.settings, burst=True)
        loop.call_soon_threadsafe(begun.put_nowait, worker)
        await worker.run()

    await queue.enqueue(blocking, gate, SECRET)
    running = asyncio.create_task(asyncio.to_thread(asyncio.run, elsewhere()))
    worker = await begun.get()
    text = await shows(queue, worker, r"of the event loop\n(.*\n)*.*in blocking\n.*\n.*in in_a_thread\n    time.sleep\(0.02\)")
    assert SECRET not in text
    open_gate(gate)
    await running


async def test_the_text_is_bounded(queue: Queue, run_worker: RunWorker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = str(tmp_path / "gate")
    async with run_worker(concurrency=30) as worker:
        for _ in range(30):
            await queue.enqueue(waiting, gate)
        await eventually(lambda: worker.in_hand == 30)
        await shows(queue, worker, r"(?s)(in waiting\n.*?){4}MainThread")
        monkeypatch.setattr(_stacks, "MOST_STACKS", 3)
        some = await shows(queue, worker, "more stacks omitted\n$")
        assert some.count("\njob ") + some.startswith("job ") == 3
        monkeypatch.setattr(_stacks, "MOST_BYTES", 100)
        assert len((await shows(queue, worker, "… truncated\n$")).encode()) < 200
        open_gate(gate)


@pytest.mark.naq(signing_key=("k" * 32,))
async def test_only_a_holder_of_the_key_is_told(queue: Queue, run_worker: RunWorker) -> None:
    async with run_worker() as worker, Connection(replace(queue.settings, signing_key=())) as stranger:
        await shows(queue, worker, "MainThread")
        with pytest.raises(SignatureError):
            await worker_stacks(stranger, worker.worker_id)
        address = stranger.names.control(f"{worker.worker_id}=beside")
        answer = await stranger.client.request(address, b'{"verb":"stack"}', timeout=10)
        assert "text" not in msgspec.json.decode(answer.data)


async def test_no_other_request_is_answered_there(queue: Queue, run_worker: RunWorker) -> None:
    connection = await queue.connection()
    async with run_worker() as worker:
        await shows(queue, worker, "MainThread")
        address = connection.names.control(f"{worker.worker_id}=beside")
        answer = await connection.client.request(address, b'{"verb":"stop"}', timeout=10)
        assert msgspec.json.decode(answer.data)["done"] is False
        assert worker.state == "running"


async def test_a_worker_that_is_gone_is_not_found(queue: Queue) -> None:
    with pytest.raises(WorkerNotFoundError):
        await worker_stacks(await queue.connection(), "gone-1-2")
