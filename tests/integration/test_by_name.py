"""Jobs that are enqueued by the name of their function: what its task declares holds for them too."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from naq_client import Queue, current_job, result_of, task
from naq_core import Job, JobExpiredError, JobFailedError, JobState, Settings
from naq_core.inspect import get_job
from naq_core.storage.deliveries import Delivery
from tests.conftest import RunWorker
from tests.integration import work
from tests.support.eventually import eventually

HERE = "tests.integration.test_by_name"

running: dict[str, int] = defaultdict(int)
most: dict[str, int] = defaultdict(int)
ran: list[int] = []


@task(wait_for=lambda invoice, size=0: f"invoice-{invoice}:approved")
def pay(invoice: int, size: Any = 0) -> list[Any]:
    return [invoice, size if isinstance(size, int) else len(size), current_job().signal.data]


@task(wait_for="go", max_retries=1, retry_delay=0)
def go(value: int = 0) -> list[int]:
    ran.append(value)
    if current_job().attempt == 1:
        raise OSError("not yet")
    return [value, current_job().attempt]


@task(wait_for="go", key=lambda customer: customer)
async def ordered(customer: str) -> str:
    return await alone(customer)


@task(key=lambda customer: customer)
async def alone(customer: str) -> str:
    running[customer] += 1
    most[customer] = max(most[customer], running[customer])
    await asyncio.sleep(0.02)
    running[customer] -= 1
    return customer


@task(key="the-one")
async def fixed(name: str) -> str:
    return await alone(name)


@task(expires=0.001)
def soon() -> None: ...


@task(unique="only", delay=3600)
def once() -> str:
    return "done"


async def is_held(job: Job[Any]) -> None:
    assert await job.status() == JobState.HELD


@pytest.mark.parametrize("serializer", ["pickle", "json"])
@pytest.mark.parametrize("signing_key", [(), ("k" * 32,)])
async def test_it_waits_for_the_signal(
    settings: Settings, run_worker: RunWorker, serializer: Any, signing_key: tuple[str, ...]
) -> None:
    settings = replace(settings, job_serializer=serializer, signing_key=signing_key)
    async with Queue(settings=settings) as queue, run_worker(settings=settings):
        job = await queue.enqueue(f"{HERE}:pay", 7)
        assert await (await queue.enqueue(alone, "free")).result(20) == "free"
        assert (await get_job(await queue.connection(), job.job_id)).signal == "invoice-7:approved"
        assert await job.status() == JobState.HELD
        await queue.signal("invoice-7:approved", True)
        assert await job.result(20) == [7, 0, True]


async def test_the_signal_may_have_come_first(queue: Queue, run_worker: RunWorker) -> None:
    await queue.signal("invoice-7:approved", True)
    async with run_worker():
        assert await (await queue.enqueue(f"{HERE}:pay", 7)).result(20) == [7, 0, True]


async def test_it_waits_for_the_signal_with_large_arguments(queue: Queue, run_worker: RunWorker) -> None:
    size = 2 * 1024 * 1024
    async with run_worker():
        job = await queue.enqueue(f"{HERE}:pay", 8, "x" * size)
        await eventually(partial(is_held, job))
        await queue.signal("invoice-8:approved", 1)
        assert await job.result(20) == [8, size, 1]


async def test_it_waits_for_its_parent_and_the_signal(queue: Queue, run_worker: RunWorker) -> None:
    async with run_worker():
        parent = await queue.enqueue(work.add, 20, 3)
        job = await queue.enqueue(f"{HERE}:go", result_of(parent))
        assert await parent.result(20) == 23

        async def waits() -> None:
            assert (await get_job(await queue.connection(), job.job_id)).signal == "go"

        await eventually(waits)
        assert 23 not in ran
        await queue.signal("go")
        assert await job.result(20) == [23, 2], "its retry does not wait again"


async def test_it_has_the_key(queue: Queue, run_worker: RunWorker) -> None:
    async with run_worker(concurrency=10), run_worker(concurrency=10):
        jobs: list[Any] = [await queue.enqueue(f"{HERE}:alone", "named") for _ in range(10)]
        jobs += [await queue.enqueue(alone, "named") for _ in range(5)]
        assert await asyncio.gather(*(job.result(20) for job in jobs)) == ["named"] * 15
        await asyncio.gather(*[(await queue.enqueue(f"{HERE}:fixed", "fixed")).result(20) for _ in range(5)])
        several = [await queue.enqueue(f"{HERE}:ordered", "both") for _ in range(5)]
        await queue.signal("go")
        await asyncio.gather(*(job.result(20) for job in several))
    assert set(most.values()) == {1}


async def test_it_expires(queue: Queue, run_worker: RunWorker) -> None:
    job = await queue.enqueue(f"{HERE}:soon")
    async with run_worker():
        with pytest.raises(JobExpiredError):
            await job.result(20)


async def test_what_was_given_holds(queue: Queue, run_worker: RunWorker) -> None:
    await queue.signal("mine", "given")
    async with run_worker():
        assert await (await queue.options(wait_for="mine").enqueue(f"{HERE}:pay", 1)).result(20) == [1, 0, "given"]
        assert await (await queue.options(wait_for=None).enqueue(f"{HERE}:go", 5)).result(20) == [5, 2]
        assert await (await queue.options(expires=None).enqueue(f"{HERE}:soon")).result(20) is None


async def test_one_whose_signal_cannot_be_told_fails_and_does_not_run(queue: Queue, run_worker: RunWorker) -> None:
    async with run_worker():
        for arguments, reason in (((), "missing 1 required positional argument"), (("a b",), "'invoice-a b:approved'")):
            with pytest.raises(JobFailedError, match=r"the wait_for that its task declares cannot be applied") as caught:
                await (await queue.enqueue(f"{HERE}:pay", *arguments)).result(20)
            assert reason in str(caught.value)


async def test_a_worker_that_dies_before_its_acknowledgement_leaves_one_job(
    queue: Queue, run_worker: RunWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def dies(delivery: Delivery) -> None:
        await delivery.nak()

    async with run_worker():
        with monkeypatch.context() as patch:
            patch.setattr(Delivery, "ack", dies)
            job = await queue.enqueue(f"{HERE}:go", 77)
            await eventually(partial(is_held, job))
        await queue.signal("go")
        assert await job.result(20) == [77, 2]
    assert ran.count(77) == 2


async def test_one_that_was_delivered_before_waits_all_the_same(
    queue: Queue, run_worker: RunWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that has not loaded the task yet claims the job first, then hands it back to itself."""
    monkeypatch.setattr(Delivery, "delivered", property(lambda _: 2, lambda *_: None))
    async with run_worker():
        job = await queue.enqueue(f"{HERE}:go", 99)
        await eventually(partial(is_held, job))
        await queue.signal("go")
        assert await job.result(20) == [99, 2]
    assert ran.count(99) == 2


async def test_what_comes_too_late_for_a_worker_is_told_once(
    queue: Queue, run_worker: RunWorker, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "naq_worker"):
        async with run_worker():
            for _ in range(2):
                assert await (await queue.enqueue(f"{HERE}:once")).result(20) == "done"
    told = [each.getMessage() for each in caplog.records if "declares" in each.getMessage()]
    assert len(told) == 1
    assert told[0].startswith(f"{HERE}:once declares delay, unique, which has no effect")
