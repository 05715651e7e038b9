"""Keys made of chosen arguments, and windows of time in which a key takes no second job: on the real server."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from naq_client import Queue, task
from naq_core import DuplicateJobError, InvalidCallError, InvalidOptionError, Job, Settings, manage
from naq_core.delivery_options import unique_id
from naq_core.storage.windows import read_window
from naq_core.transport.headers import BATCH_ID
from naq_core.unreadable import find_unreadable
from naq_worker import Worker
from tests.conftest import RunWorker
from tests.integration import work
from tests.support.eventually import eventually

HOUR = timedelta(hours=1)


def charge(order: int, amount: float = 1.0, *, currency: str = "EUR", **rest: Any) -> float:
    del order, currency, rest
    return amount


def refund(order: int) -> None: ...


def first_of(a: int, b: int) -> int:
    del b
    return a


def id_of(function: Any, *args: Any, by: Any, **kwargs: Any) -> str:
    return Job(function, args, kwargs, unique_by=by).job_id


def test_a_key_is_made_of_the_function_and_the_chosen_arguments() -> None:
    first = id_of(charge, 7, 5.0, by=["order"])
    assert first == id_of(charge, 7, 6.0, by="order") == id_of(charge, order=7, currency="USD", by=("order",))
    assert first == unique_id(f"{__name__}:charge(order=7)") == id_of(f"{__name__}:charge", order=7, by=["order"])
    others = [id_of(charge, 8, by=["order"]), id_of(charge, "7", by=["order"]), id_of(refund, 7, by=["order"])]
    assert len({first, *others}) == 4
    assert id_of(charge, 7, by=["order", "currency"]) == id_of(charge, 7, 2.0, currency="EUR", by=["order", "currency"])
    assert id_of(charge, 7, tenant="a", by=["tenant"]) != id_of(charge, 7, tenant="b", by=["tenant"])
    assert id_of(charge, 7, by=lambda order, *_: order % 5) == id_of(charge, 12, by=lambda order, *_: order % 5)
    assert id_of(work.returned, {"b": 1, "a": [datetime(2030, 1, 1, tzinfo=UTC)]}, by="value") == id_of(
        work.returned, {"a": [datetime(2030, 1, 1, tzinfo=UTC)], "b": 1}, by="value"
    )


def test_what_cannot_make_a_key_is_refused_where_the_job_is_made() -> None:
    for function, args, by, said in (
        (charge, (7,), ["customer"], "the call has no argument 'customer'"),
        (f"{__name__}:charge", (7,), ["order"], "'order'; give it by its name"),
        (work.returned, (object(),), ["value"], "argument 'value' is a object and cannot be part of a key"),
        (charge, (7,), lambda *_: {1: object()}, "returned is a dict"),
    ):
        with pytest.raises(InvalidOptionError, match=said):
            id_of(function, *args, by=by)
    with pytest.raises(InvalidCallError, match="missing a required argument: 'order'"):
        id_of(charge, by=["order"])
    for wrong, said in (
        ({"unique": "a", "unique_by": ["order"]}, "which is the whole key"),
        ({"unique_for": HOUR}, "requires a key"),
        ({"unique": "a", "unique_for": HOUR, "debounce": 1}, "keep the first job"),
        ({"unique": "a", "unique_for": HOUR, "throttle": HOUR}, "the same with on_clash='return'"),
        ({"job_id": "a", "throttle": HOUR}, "the key determines the id"),
    ):
        with pytest.raises(InvalidOptionError, match=said):
            Job(charge, (7,), **wrong)


async def test_a_window_outlasts_the_job_and_ends_on_the_server(queue: Queue, run_worker: RunWorker) -> None:
    once = queue.options(unique="k", unique_for=1)
    async with run_worker():
        first = await once.enqueue(work.add, 1)
        assert await first.result(30) == 1
        with pytest.raises(DuplicateJobError, match=r"which is in use until \d{4}-.*Z \(unique_for, throttle\)") as caught:
            await once.enqueue(work.add, 2)
        assert caught.value.until is not None
        again = await queue.options(unique="k", unique_for=1, on_clash="return").enqueue(work.add, 2)
        assert (again.is_new, again.run, await again.result(30)) == (False, first.run, 1)
        with pytest.raises(DuplicateJobError):  # nothing waits that could be replaced
            await queue.options(unique="k", unique_for=1, on_clash="replace").enqueue(work.add, 2)
        plain = await queue.options(unique="k").enqueue(work.add, 3)  # a window binds those that ask for one
        assert await plain.result(30) == 3

        async def is_free() -> None:
            assert (await read_window(await queue.connection(), "default", "unique=k")).sequence == 0

        await eventually(is_free)
        assert await (await once.enqueue(work.add, 4)).result(30) == 4


async def test_of_fifty_at_once_one_runs_though_it_ends_meanwhile(queue: Queue, run_worker: RunWorker) -> None:
    work.runs.clear()
    async with run_worker():
        throttled = queue.options(throttle=HOUR)
        jobs = await asyncio.gather(*(throttled.enqueue(work.count_run) for _ in range(50)))
        for job in jobs:
            await job.result(30)
        assert sum(job.is_new for job in jobs) == 1
        assert not (await throttled.enqueue(work.count_run)).is_new
    assert work.runs == {jobs[0].job_id: 1}


async def test_a_task_is_throttled_as_a_whole_or_by_its_arguments(queue: Queue, settings: Settings) -> None:
    sync = task(throttle=HOUR)(work.add)
    each = task(throttle=60, unique_by=["a"])(first_of)
    async with asyncio.timeout(60):
        jobs = [await queue.enqueue(sync, number) for number in (1, 2)]
        assert [job.is_new for job in jobs] == [True, False]
        by_argument = [await queue.enqueue(each, number, 0) for number in (1, 2, 1)]
        assert [job.is_new for job in by_argument] == [True, True, False]
        assert (await queue.options(unique=None).enqueue(sync, 3)).is_new
        with pytest.raises(DuplicateJobError):
            await queue.options(on_clash="refuse").enqueue(sync, 4)
        await Worker("default", settings=settings, burst=True).run()
        assert [await job.result(30) for job in jobs] == [1, 1]


async def test_a_waiting_job_is_replaced_and_its_window_begins_again(queue: Queue, settings: Settings) -> None:
    replacing = queue.options(unique="k", unique_for=HOUR, on_clash="replace", delay=0)
    await queue.options(unique="k", unique_for=HOUR, delay=3600).enqueue(work.add, 1)
    connection = await queue.connection()
    window = await read_window(connection, "default", "unique=k")
    new = await replacing.enqueue(work.add, 2)
    renewed = await read_window(connection, "default", "unique=k")
    assert (renewed.window.run, renewed.sequence) == (new.run, new.sequence + 1)
    assert renewed.window.until >= window.window.until
    await Worker("default", settings=settings, burst=True).run()
    assert await new.result(30) == 2


async def test_a_key_is_free_again_when_its_job_is_deleted_or_its_queue_purged(queue: Queue, settings: Settings) -> None:
    connection = await queue.connection()
    once = queue.options(unique="k", unique_for=HOUR)
    await once.enqueue(work.add, 1)
    assert await manage.purge_queue(connection, "default") == 1
    await once.enqueue(work.add, 2)
    await Worker("default", settings=settings, burst=True).run()
    await manage.delete_job(connection, "unique=k")
    assert (await once.enqueue(work.add, 3)).is_new


async def test_a_lost_answer_is_no_clash_with_oneself(queue: Queue, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The job is stored, and has even ended, when its enqueue is repeated."""
    connection = await queue.connection()
    await queue.options(unique="warm-up", unique_for=HOUR).enqueue(work.add, 0)
    publish_once = connection.publish_once
    lost: list[int] = []

    async def losing(subject: str, body: bytes, headers: dict[str, str]) -> int:
        sequence = await publish_once(subject, body, headers)
        if BATCH_ID in headers and not lost:
            lost.append(sequence)
            await Worker("default", settings=settings, burst=True).run()
            raise TimeoutError
        return sequence

    monkeypatch.setattr(connection, "publish_once", losing)
    job = await queue.options(unique="k", unique_for=HOUR).enqueue(work.add, 3)
    assert (job.is_new, len(lost), await job.result(30)) == (True, 1, 3)


async def test_what_a_window_does_not_support_is_refused(queue: Queue) -> None:
    once = queue.options(unique="k", unique_for=HOUR)
    with pytest.raises(InvalidOptionError, match="enqueue it alone"):
        await queue.enqueue_many([once.call(work.add, 1)])
    parent = await queue.enqueue(work.add, 1)
    with pytest.raises(InvalidOptionError, match="cannot be combined with depends_on"):
        await queue.options(unique="k", unique_for=HOUR, depends_on=parent).enqueue(work.add, 1)


async def test_an_unreadable_window_holds_its_key_and_is_listed(queue: Queue) -> None:
    connection = await queue.connection()
    await queue.enqueue(work.add, 1)
    await connection.publish(connection.names.window("default", "unique=k"), b"{", {})
    with pytest.raises(DuplicateJobError):
        await queue.options(unique="k", unique_for=HOUR).enqueue(work.add, 2)
    await queue.options(unique="ok", unique_for=HOUR).enqueue(work.add, 2)
    assert [each.key.split(".")[-2] for each in await find_unreadable(connection)] == ["unique=k"]
