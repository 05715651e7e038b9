"""One call for many jobs of a task, each of which keeps its own outcome, retry and record: on the real server."""

from __future__ import annotations

import asyncio
import dataclasses
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any

import pytest

from naq_client import Queue, task
from naq_core import (
    AttemptTimeoutError,
    InvalidOptionError,
    Job,
    JobCancelledError,
    JobFailedError,
    JobState,
    NaqError,
    Retry,
    Settings,
    current_batch,
    current_job,
    manage,
)
from naq_core.inspect import get_job
from naq_core.middleware import Attempt
from naq_core.resources import resource
from naq_core.typed_json import hints_of
from naq_worker import Worker
from tests.conftest import RunWorker
from tests.support.eventually import eventually

calls: list[list[Any]] = []
events: list[str] = []
gate = asyncio.Event()
SOON = 0.05
LONG = 20.0


@pytest.fixture(autouse=True)
def _empty() -> None:
    global gate  # noqa: PLW0603 - of the loop of each test
    calls.clear()
    events.clear()
    gate = asyncio.Event()


@resource(scope="attempt")
async def book() -> AsyncIterator[str]:
    events.append("open")
    yield "book"
    events.append("close")


@dataclasses.dataclass
class Text:
    body: str


class Seen:
    def attempt(self, attempt: Attempt) -> Iterator[None]:
        events.append(f"before {attempt.args[0]}")
        yield
        events.append(f"after {attempt.result}")


@task(batch=4, window=LONG)
async def double(numbers: list[int]) -> list[int | Exception]:
    calls.append(list(numbers))
    return [number * 2 if number >= 0 else ValueError("it is negative") for number in numbers]


@task(batch=10, window=SOON, max_retries=1)
def by_id(words: list[str]) -> dict[str, str | Exception]:
    """A plain function, which runs in a thread; the second attempts succeed."""
    calls.append(list(words))
    assert threading.current_thread() is not threading.main_thread()
    jobs = dict(zip(words, current_batch().jobs, strict=True))
    results: dict[str, str | Exception] = {job.job_id: word.upper() for word, job in jobs.items() if word != "forgotten"}
    for word, job in jobs.items():
        if word == "again" and job.attempt == 1:
            results[job.job_id] = Retry(0.01, "not yet")
    return results


@task(batch=3, window=LONG, max_retries=1)
async def all_fail(numbers: list[int]) -> list[int]:
    calls.append(list(numbers))
    if current_batch().jobs[0].attempt == 1:
        raise OSError("the shop is closed")
    return numbers


async def wait(names: list[str]) -> None:
    calls.append(list(names))
    try:
        await gate.wait()
    except asyncio.CancelledError:
        events.append("cancelled")
        raise
    events.append(f"cancelled: {[job.is_cancelled for job in current_batch().jobs]}")


@task(batch=2, window=LONG)
async def wait_in_pairs(names: list[str]) -> None:
    await wait(names)


@task(batch=3, window=LONG)
async def wait_in_threes(names: list[str]) -> None:
    await wait(names)


@task(batch=2, window=LONG, middleware=[Seen])
async def with_book(pages: list[int], using: Annotated[str, book] = book) -> list[str]:
    with pytest.raises(NaqError, match="has current_batch"):
        current_job()
    return [f"{using} {page}" for page in pages]


@task(batch=5, window=SOON)
async def wrong(numbers: list[int]) -> list[int]:
    return numbers[:-1]


async def test_one_call_is_made_for_a_full_batch_and_results_are_matched_by_position(queue: Queue, run_worker: RunWorker) -> None:
    """One slot is enough for all of a batch."""
    async with run_worker(concurrency=1):
        jobs = [await queue.enqueue(double, number) for number in (1, 2, -3, 4)]
        assert [await jobs[at].result(30) for at in (0, 1, 3)] == [2, 4, 8]
        with pytest.raises(JobFailedError, match="ValueError: it is negative"):
            await jobs[2].result(30)
    assert [sorted(call) for call in calls] == [[-3, 1, 2, 4]]
    record = await jobs[2].record()
    assert record is not None
    assert (record.state, record.attempt) == (JobState.DEAD, 1)


async def test_results_by_id_and_a_retry_of_one_job_only(queue: Queue, run_worker: RunWorker) -> None:
    words = ("one", "again", "forgotten")
    jobs = {word: await queue.enqueue(by_id, word) for word in words}
    async with run_worker():
        assert await jobs["one"].result(30) == "ONE"
        assert await jobs["again"].result(30) == "AGAIN"
        with pytest.raises(JobFailedError, match=r"BatchResultError: .*no result for this job"):
            await jobs["forgotten"].result(30)
    assert {word: sum(word in call for call in calls) for word in words} == {"one": 1, "again": 2, "forgotten": 2}
    record = await jobs["again"].record()
    assert record is not None
    assert record.attempt == 2


async def test_an_error_of_the_call_fails_all_and_each_is_retried(queue: Queue, run_worker: RunWorker) -> None:
    async with run_worker():
        jobs = [await queue.enqueue(all_fail, number) for number in range(3)]
        assert [await job.result(30) for job in jobs] == [0, 1, 2]
    record = await jobs[0].record()
    assert record is not None
    assert [error.type for error in record.errors] == ["OSError"]


async def test_what_cannot_be_matched_fails_all(queue: Queue, run_worker: RunWorker) -> None:
    async with run_worker():
        jobs = [await queue.enqueue(wrong, number) for number in range(2)]
        for job in jobs:
            with pytest.raises(JobFailedError, match=r"returned \d results for \d jobs"):
                await job.result(30)


async def test_a_cancelled_job_leaves_the_others_to_the_call(queue: Queue, run_worker: RunWorker) -> None:
    connection = await queue.connection()
    async with run_worker():
        jobs = [await queue.enqueue(wait_in_threes, name) for name in "abc"]
        await eventually(lambda: _has_called(3))
        await manage.cancel_job(connection, jobs[1].job_id)
        with pytest.raises(JobCancelledError):
            await jobs[1].result(30)
        gate.set()
        assert [await jobs[at].result(30) for at in (0, 2)] == [None, None]
    place = calls[0].index("b")
    assert events == [f"cancelled: {[at == place for at in range(3)]}"]


async def _has_called(count: int) -> None:
    assert [len(call) for call in calls] == [count]


async def test_a_time_out_counts_from_the_call_and_cancels_it_when_nobody_is_left(queue: Queue, run_worker: RunWorker) -> None:
    async with run_worker():
        jobs = [await queue.options(timeout=0.2).enqueue(wait_in_pairs, name) for name in "ab"]
        for job in jobs:
            with pytest.raises(JobFailedError, match=AttemptTimeoutError.__name__):
                await job.result(30)
    assert events == ["cancelled"]


async def test_a_stop_makes_the_call_at_once_and_hands_back_what_does_not_end(queue: Queue, settings: Settings) -> None:
    gathered = [await queue.enqueue(double, number) for number in (1, 2)]  # two more are awaited for 20 s
    held = [await queue.enqueue(wait_in_pairs, name) for name in "ab"]
    worker = Worker("default", settings=settings, shutdown_grace=0.5)
    running = asyncio.create_task(worker.run())
    await eventually(_are_waiting)
    worker.stop()
    await running
    assert [await job.result(30) for job in gathered] == [2, 4]
    assert events == ["cancelled"]
    assert [(await get_job(await queue.connection(), job.job_id)).state for job in held] == [JobState.QUEUED] * 2


async def _are_waiting() -> None:
    assert calls
    assert calls[0][0] in "ab"


async def test_middleware_is_around_each_job_and_resources_around_the_call(queue: Queue, run_worker: RunWorker) -> None:
    async with run_worker():
        jobs = [await queue.enqueue(with_book, page) for page in (1, 2)]
        assert [await job.result(30) for job in jobs] == ["book 1", "book 2"]
    assert sorted(events[:2]) == ["before 1", "before 2"]
    assert events[2:4] == ["open", "close"]
    assert sorted(events[4:]) == ["after book 1", "after book 2"]


async def test_other_jobs_are_run_while_a_batch_is_gathered(queue: Queue, run_worker: RunWorker) -> None:
    async with run_worker(concurrency=1):
        first = await queue.enqueue(double, 1)
        assert await (await queue.enqueue(pow, 2, 5)).result(30) == 32
        assert not calls
        rest = [await queue.enqueue(double, number) for number in (2, 3, 4)]
        assert [await job.result(30) for job in (first, *rest)] == [2, 4, 6, 8]


async def test_a_call_has_no_more_jobs_of_a_key_than_its_limit(queue: Queue, run_worker: RunWorker) -> None:
    async with run_worker():
        jobs = [await queue.options(key=key).enqueue(by_id, f"{key}{number}") for number in (1, 2) for key in "ab"]
        assert [await job.result(30) for job in jobs] == ["A1", "B1", "A2", "B2"]
    assert all(len({word[0] for word in call}) == len(call) for call in calls)


async def test_a_job_is_run_alone_in_a_child_process_and_here(queue: Queue, run_worker: RunWorker) -> None:
    assert await Job(double, (4,)).execute() == 8
    with pytest.raises(ValueError, match="negative"):
        await Job(double, (-4,)).execute()
    async with run_worker():
        assert await (await queue.options(process=True).enqueue(double, 5)).result(60) == 10


@task(batch=2, window=SOON)
async def count_lines(texts: list[Text]) -> dict[str, int | Exception]:
    jobs = current_batch().jobs
    return {job.job_id: text.body.count("\n") for job, text in zip(jobs, texts, strict=True)}


async def test_json_is_converted_to_the_types_of_the_items(settings: Settings) -> None:
    json = dataclasses.replace(settings, job_serializer="json")
    async with Queue("default", settings=json) as queue:
        jobs = [await queue.enqueue(count_lines, Text(body)) for body in ("a\n", "b\nc\n")]
        await Worker("default", settings=json, burst=True).run()
        assert [await job.result(30) for job in jobs] == [1, 2]
    hints = hints_of(double.__naq_function__)
    assert (hints.of_argument(0), hints.of_result) == (("numbers", int), int)


def test_what_is_no_batch_is_refused() -> None:
    def two(a: list[int], b: int) -> None: ...
    def one(a: list[int]) -> None: ...

    for options, function, said in (
        ({"batch": 2}, two, "must take one argument"),
        ({"batch": 0}, one, "batch"),
        ({"batch": 2, "window": -1}, one, "window"),
        ({"batch": 2, "process": True}, one, "a child process runs one job"),
        ({"window": 1}, one, "window"),
    ):
        with pytest.raises(InvalidOptionError, match=said):
            task(**options)(function)  # type: ignore[call-overload]
    with pytest.raises(NaqError, match="outside the function"):
        current_batch()
