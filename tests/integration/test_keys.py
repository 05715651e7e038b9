"""Jobs with a key: so many of one key at once, in order, and no key waits for another."""

import asyncio
from collections import defaultdict
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from naq_client import Queue, QueuePolicy, task
from naq_core import ConfigurationError, DuplicateJobError, InvalidOptionError, JobState, current_job
from naq_core.errors import JobStateError
from naq_core.inspect import get_job, get_queue, list_jobs
from naq_core.manage import get_queue_policy, retry_job, run_now
from naq_core.manage.declared import apply_policies, file_policies
from naq_core.storage.acks import Acks
from naq_core.storage.deliveries import Delivery
from naq_core.storage.room import KeyRule
from naq_core.storage.subjects import Names
from naq_core.transport.direct import count_many
from naq_core.transport.many import read_all
from naq_core.views import JobFilter
from naq_worker._keys import Keys
from tests.conftest import RunWorker
from tests.support.eventually import eventually

begun: dict[str, list[int]] = defaultdict(list)
running: dict[str, int] = defaultdict(int)
most: dict[str, int] = defaultdict(int)
gates: dict[str, asyncio.Event] = {}
names = (f"test-{number}" for number in count())


@pytest.fixture
def key() -> str:
    """Make up a key that no other test of this process uses."""
    return next(names)


async def numbered(key: str, number: int, seconds: float = 0.0) -> int:
    begun[key].append(number)
    running[key] += 1
    most[key] = max(most[key], running[key])
    try:
        await asyncio.sleep(seconds)
    finally:
        running[key] -= 1
    return number


async def sized(key: str, number: int, load: bytes) -> int:
    begun[key].append(number)
    return number


async def fails_once(key: str, number: int) -> int:
    begun[key].append(number)
    if number == 0 and current_job().attempt == 1:
        raise OSError("not yet")
    return number


async def gated(key: str, number: int) -> int:
    begun[key].append(number)
    await gates[key].wait()
    return number


async def left(queue: Queue) -> dict[str, int]:
    """Return what lies in the jobs stream of live jobs and their order; a list of places may stay for a while."""
    connection = await queue.connection()
    jobs = Names(connection.settings.namespace).jobs
    subjects = [*(f"{jobs}.{state}.default.*" for state in ("high", "normal", "low", "held")), f"{jobs}.key.>"]
    return dict(zip(subjects, await count_many(connection, f"{connection.settings.namespace}_jobs", subjects), strict=True))


async def is_empty(queue: Queue) -> bool:
    return not any((await left(queue)).values())


async def test_jobs_of_a_key_run_one_after_the_other_in_order(queue: Queue, run_worker: RunWorker, key: str) -> None:
    many = [queue.options(key=key).call(numbered, key, number) for number in range(30)]
    jobs: list[Any] = list(await queue.enqueue_many(many))
    jobs += [await queue.options(key=key).enqueue(numbered, key, number) for number in range(30, 60)]
    async with run_worker(concurrency=8), run_worker(concurrency=8):
        assert await asyncio.gather(*(job.result(30) for job in jobs)) == list(range(60))
    assert begun[key] == list(range(60))
    assert most[key] == 1
    await eventually(lambda: is_empty(queue), 10)


async def test_the_limit_of_a_key_holds_over_workers_and_changes_at_once(queue: Queue, run_worker: RunWorker, key: str) -> None:
    await queue.set_policy(QueuePolicy(key_limit=3))
    jobs = [await queue.options(key=key).enqueue(numbered, key, number, 0.02) for number in range(30)]
    async with run_worker(concurrency=8), run_worker(concurrency=8):
        await asyncio.gather(*(job.result(30) for job in jobs))
        assert most[key] <= 3
        gates[key] = asyncio.Event()
        held = [await queue.options(key=key).enqueue(gated, key, number) for number in range(6)]
        await eventually(lambda: len(begun[key]) == 33, 10)
        await queue.set_policy(QueuePolicy(key_limit=5))
        await eventually(lambda: len(begun[key]) == 35, 10)
        gates[key].set()
        await asyncio.gather(*(job.result(30) for job in held))
    await eventually(lambda: is_empty(queue), 10)


async def test_a_key_does_not_wait_for_another(queue: Queue, run_worker: RunWorker, key: str) -> None:
    gates[key] = asyncio.Event()
    jobs = await queue.enqueue_many(queue.options(key=key).call(gated, key, number) for number in range(2500))
    assert not jobs.atomic
    async with run_worker(concurrency=2):
        other = await queue.options(key=f"{key} of another kind").enqueue(numbered, f"{key}b", 1)
        assert await other.result(10) == 1
        plain = await queue.enqueue(numbered, f"{key}c", 2)
        assert await plain.result(10) == 2

        async def all_wait_for_the_first() -> None:
            view = await get_queue(await queue.connection(), "default")
            assert view.waiting == 0  # what waits for its key is in no consumer's lag
            assert view.held == view.waiting_for_key == 2499
            assert [(each.key, each.waiting, each.ahead) for each in view.keys] == [(key, 2499, [jobs[0].job_id])]

        await eventually(all_wait_for_the_first)
        gates[key].set()
        await asyncio.gather(*(job.result(30) for job in jobs[:50]))
        await queue.purge()


async def test_a_retry_keeps_its_place(queue: Queue, run_worker: RunWorker, key: str) -> None:
    retried = queue.options(key=key, max_retries=1, retry_delay=10.5)
    jobs = [await retried.enqueue(fails_once, key, number) for number in range(3)]
    connection = await queue.connection()
    async with run_worker(concurrency=8):

        async def is_held() -> bool:
            view = await get_job(connection, jobs[0].job_id)
            return view.state is JobState.RETRYING and (await get_queue(connection, "default")).held == 3

        await eventually(is_held, 10)
        assert begun[key] == [0]
        await retry_job(connection, jobs[0].job_id)
        assert await asyncio.gather(*(job.result(30) for job in jobs)) == [0, 1, 2]
    assert begun[key] == [0, 0, 1, 2]
    await eventually(lambda: is_empty(queue), 10)


async def test_a_job_that_waits_for_its_key_is_shown_as_that_and_can_be_cancelled(
    queue: Queue, run_worker: RunWorker, key: str
) -> None:
    gates[key] = asyncio.Event()
    jobs = [await queue.options(key=key, job_id=f"{key}-{number}").enqueue(gated, key, number) for number in range(4)]
    with pytest.raises(DuplicateJobError):
        await queue.enqueue_many([queue.options(key=key, job_id=f"{key}-3").call(gated, key, 3)])
    connection = await queue.connection()
    async with run_worker(concurrency=4):
        await eventually(lambda: begun[key] == [0], 10)
        view = await get_job(connection, jobs[1].job_id)
        assert (view.state, view.key, view.due_at, view.waits_for_key) == (JobState.HELD, key, None, True)
        assert not (await get_job(connection, jobs[0].job_id)).waits_for_key
        shown = await list_jobs(connection, JobFilter(queue="default"))
        assert sorted(each.job_id for each in shown.jobs) == [job.job_id for job in jobs]
        for act in (retry_job, run_now):
            with pytest.raises(JobStateError, match="waiting for its key"):
                await act(connection, jobs[1].job_id)
        assert await jobs[1].cancel() == "before_start"
        assert await jobs[0].cancel() == "while_running"
        gates[key].set()
        assert await jobs[2].result(10) == 2
        await queue.retry(jobs[1].job_id)  # it waits for its key again
        assert await jobs[3].result(10) == 3
        await eventually(lambda: begun[key] == [0, 2, 3, 1], 10)


async def test_whatever_becomes_ready_waits_for_its_key(queue: Queue, run_worker: RunWorker, key: str) -> None:
    gates[key] = asyncio.Event()
    gates[key].set()
    keyed = queue.options(key=key)
    jobs = [
        await queue.options(key=key, delay=timedelta(seconds=0.2)).enqueue(numbered, key, 1, 0.05),
        await queue.options(key=key, unique=f"{key}-u").enqueue(numbered, key, 2, 0.05),
        await keyed.enqueue(numbered, key, 3, 0.05),
    ]
    jobs.append(await queue.options(key=key, depends_on=jobs[2]).enqueue(numbered, key, 4, 0.05))
    jobs.append(await queue.options(key=key, priority="high").enqueue(numbered, key, 5, 0.05))
    jobs.append(await queue.options(key=key, expires=timedelta(seconds=20), process=True).enqueue(abs, -6))
    async with run_worker(concurrency=8):
        assert await asyncio.gather(*(job.result(30) for job in jobs)) == [1, 2, 3, 4, 5, 6]
    assert most[key] == 1
    await eventually(lambda: is_empty(queue), 10)


async def test_places_of_jobs_that_went_without_a_worker_are_found(queue: Queue, run_worker: RunWorker, key: str) -> None:
    connection = await queue.connection()
    keyed = queue.options(key=key)
    first, second, third = [await keyed.enqueue(numbered, key, number) for number in range(3)]
    async with run_worker(concurrency=1):
        gates[key] = asyncio.Event()
        blocker = await queue.options(priority="high").enqueue(gated, key, -1)
        await eventually(lambda: -1 in begun[key], 10)
        await eventually(lambda: first_is_ready(connection, first.job_id), 10)
        assert await first.cancel() == "before_start"
        gates[key].set()
        assert await asyncio.gather(*(job.result(10) for job in (second, third, blocker))) == [1, 2, -1]
        await queue.pause()
        await keyed.enqueue(numbered, key, 4)
        assert await queue.purge() == 2  # the job and its bell
        await queue.resume()
        assert await (await keyed.enqueue(numbered, key, 5)).result(10) == 5
    await eventually(lambda: is_empty(queue), 10)


async def first_is_ready(connection: Any, job_id: str) -> bool:
    return (await get_job(connection, job_id)).state is JobState.QUEUED


async def test_single_enqueues_leave_no_pile_of_bells(queue: Queue, run_worker: RunWorker, key: str) -> None:
    connection = await queue.connection()
    bells = connection.names.ready("default", f"key:{key}", "normal")

    async def rung() -> int:
        return (await count_many(connection, connection.names.jobs_stream, [bells]))[0]

    jobs = [await queue.options(key=key).enqueue(numbered, key, number) for number in range(20)]
    assert await rung() == 2  # from the second on the list is known, and that it has not changed
    async with run_worker(concurrency=4):
        assert await asyncio.gather(*(job.result(20) for job in jobs)) == list(range(20))
        assert begun[key] == list(range(20))
        gates[key] = asyncio.Event()
        jobs = [await queue.options(key=key).enqueue(gated, key, 0)]
        await eventually(lambda: len(begun[key]) == 21, 10)
        jobs += [await queue.options(key=key).enqueue(numbered, key, number) for number in range(1, 10)]
        await eventually(lambda: not_any(rung), 10)
        gates[key].set()
        assert await asyncio.gather(*(job.result(20) for job in jobs)) == list(range(10))
    await eventually(lambda: is_empty(queue), 10)


async def not_any(count: Any) -> bool:
    return not await count()


async def test_jobs_that_are_enqueued_together_ring_once_for_all_their_keys(
    queue: Queue, run_worker: RunWorker, key: str
) -> None:
    connection = await queue.connection()
    many = [queue.options(key=f"{key}-{number % 40}").call(numbered, f"{key}-{number % 40}", number) for number in range(400)]
    jobs = await queue.enqueue_many(many)
    assert jobs.atomic
    bells = connection.names.ready("default", "key:*", "normal").replace("key:*", "*")
    assert await count_many(connection, connection.names.jobs_stream, [bells]) == [1]
    async with run_worker(concurrency=8):
        assert await asyncio.gather(*(job.result(30) for job in jobs)) == list(range(400))
    assert all(begun[f"{key}-{number}"] == list(range(number, 400, 40)) for number in range(40))
    await eventually(lambda: is_empty(queue), 10)


async def test_large_and_cancelled_jobs_and_those_of_an_earlier_version_keep_the_order_of_their_key(
    queue: Queue, run_worker: RunWorker, key: str
) -> None:
    connection = await queue.connection()
    sizes = [0, 0, 0, 0, 0, 20_000, 2_000, 0, 0, 20_000, *[0] * 20]
    many = [queue.options(key=key).call(sized, key, number, b"x" * size) for number, size in enumerate(sizes)]
    jobs = list(await queue.enqueue_many(many))
    entries = connection.names.waits_for_key("default", key, "normal")
    first = await read_all(connection, connection.names.jobs_stream, entries)
    await connection.publish(entries, jobs[3].job_id.encode(), {})  # an entry without its job, as they were
    for each in (jobs[4], jobs[12], jobs[13]):
        assert await each.cancel() == "before_start"
    async with run_worker(concurrency=4):
        left = [number for number in range(30) if number not in {4, 12, 13}]
        assert await asyncio.gather(*(jobs[number].result(30) for number in left)) == left
    assert len(first) == 30
    assert begun[key] == left
    await eventually(lambda: is_empty(queue), 10)


async def test_workers_and_clients_that_compete_for_keys_lose_none(queue: Queue, run_worker: RunWorker, key: str) -> None:
    await queue.set_policy(QueuePolicy(key_limit=2, limit=20))
    jobs: list[Any] = []

    async def produce(own: str) -> None:
        jobs.extend([await queue.options(key=own).enqueue(numbered, own, number, 0.001) for number in range(6)])

    async with run_worker(concurrency=8), run_worker(concurrency=8), run_worker(concurrency=8):
        await asyncio.gather(*(produce(f"{key}-{number % 8}") for number in range(16)))
        await asyncio.gather(*(job.result(30) for job in jobs))
    assert {most[f"{key}-{number}"] for number in range(8)} <= {1, 2}
    await eventually(lambda: is_empty(queue), 10)


async def test_what_comes_for_a_key_that_is_to_be_tried_again_is_not_judged_by_what_was_seen_before(queue: Queue) -> None:
    connection = await queue.connection()
    keys = Keys(connection, "w", lambda *_: KeyRule(), lambda: None)
    subject = connection.names.ready("default", "key:a", "normal")
    reply = f"$JS.ACK.{connection.names.jobs_stream}.{connection.names.consumer('default')}.1.1.1.0.0"
    delivery = Delivery(connection, Acks(connection), subject, reply, b"", b"NATS/1.0\r\nNaq-Key-Bell: a\r\n\r\n")
    assert keys.ring(delivery)
    work = keys._tasks["default", "a"].work
    work.is_seen = work.has_written = True
    keys.ring(delivery)
    assert (work.is_seen, work.has_written) == (False, False)


async def test_a_task_makes_its_key_of_the_arguments(queue: Queue) -> None:
    @task(key=lambda customer, file: f"customer-{customer}")
    def load(customer: int, file: str) -> None: ...

    connection = await queue.connection()
    job = await queue.enqueue(load, 7, file="a")
    assert (await get_job(connection, job.job_id)).key == "customer-7"
    other = await queue.options(key="chosen").enqueue(load, 7, "b")
    assert (await get_job(connection, other.job_id)).key == "chosen"
    wrong: list[tuple[Any, str]] = [
        (lambda *_: 7, "returned 7"),
        (lambda: "a", "does not take the arguments"),
        (lambda *_: "", "returned ''"),
    ]
    for make, problem in wrong:
        with pytest.raises(InvalidOptionError, match=problem):
            queue.options(key=make).call(load, 7, "a")


async def test_a_settings_file_declares_policies(queue: Queue, tmp_path: Path) -> None:
    connection = await queue.connection()
    (tmp_path / "naq.toml").write_text("[queues.default]\nkey-limit = 4\n[queues.other]\nlimit = 5\n")
    await queue.set_policy(QueuePolicy(limit=9))
    await apply_policies(connection, ["default"], file_policies(tmp_path))
    assert await queue.policy() == QueuePolicy(limit=9, key_limit=4)
    (tmp_path / "naq.toml").write_text('[queues.default]\nrate = "5/s"\nkey-rate = "1/h"\nweights = { vip = 3 }\n')
    await apply_policies(connection, ["default"], file_policies(tmp_path))
    assert await queue.policy() == QueuePolicy(limit=9, key_limit=4, rate="5/s", key_rate="1/h", weights={"vip": 3})
    assert await get_queue_policy(connection, "other") == QueuePolicy()
    wrong_limits = ("limit = 0", "rate = 5", "speed = 1")
    for wrong in ("[queues]\na = 1", "[queues.'a.b']\nlimit = 1", *(f"[queues.a]\n{each}" for each in wrong_limits)):
        (tmp_path / "naq.toml").write_text(wrong)
        with pytest.raises(ConfigurationError, match="queues"):
            file_policies(tmp_path)


def test_what_does_not_go_together_is_refused() -> None:
    queue = Queue("default")
    with pytest.raises(InvalidOptionError, match="fast"):
        queue.options(key="a", fast=True)
    with pytest.raises(InvalidOptionError, match="key"):
        queue.options(key="")


async def test_a_policy_out_of_range_is_refused(queue: Queue) -> None:
    for wrong in (0, 1001, True, "2"):
        with pytest.raises(InvalidOptionError, match="key_limit"):
            await queue.set_policy(QueuePolicy(key_limit=wrong))  # type: ignore[arg-type]
