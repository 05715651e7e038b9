"""Rates: so many jobs of a key, or of a queue, start in a time; and shares between keys."""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import count
from typing import Any

import pytest

from naq_client import Queue, QueuePolicy
from naq_core import JobState, current_job
from naq_core.errors import JobStateError
from naq_core.inspect import get_job, get_queue
from naq_core.manage import run_now
from naq_core.storage.keys import decode_places
from naq_core.storage.subjects import ALL
from naq_core.transport.headers import BATCH_ID, parse_headers
from naq_core.transport.streams import read_next
from tests.conftest import RunWorker
from tests.integration.test_keys import is_empty
from tests.support.eventually import eventually

begun: dict[str, list[tuple[float, int]]] = defaultdict(list)
gates: dict[str, asyncio.Event] = {}
names = (f"rate-{number}" for number in count())


@pytest.fixture
def key() -> str:
    """Make up a key that no other test of this process uses."""
    return next(names)


async def noted(key: str, number: int) -> int:
    begun[key].append((time.monotonic(), number))
    return number


async def gated(key: str, number: int) -> int:
    begun[key].append((time.monotonic(), number))
    await gates[key].wait()
    return number


async def fails_once(key: str, number: int) -> int:
    begun[key].append((time.monotonic(), number))
    if current_job().attempt == 1:
        raise OSError("not yet")
    return number


async def results(jobs: Sequence[Any]) -> list[Any]:
    return await asyncio.gather(*(job.result(30) for job in jobs))


async def places(queue: Queue, token: str) -> Any:
    connection = await queue.connection()
    found = await read_next(connection, connection.names.jobs_stream, connection.names.places("default", token))
    return None if found is None else decode_places(found.data)


async def test_jobs_of_a_key_start_at_its_rate_and_others_at_theirs(queue: Queue, run_worker: RunWorker, key: str) -> None:
    await queue.set_policy(QueuePolicy(key_rate="1/h", key_burst=3, key_limit=5))
    jobs = list(await queue.enqueue_many(queue.options(key=key).call(noted, key, number) for number in range(8)))
    jobs += [await queue.options(key=key).enqueue(noted, key, number) for number in range(8, 16)]
    other = f"{key}-other"
    others = [await queue.options(key=other).enqueue(noted, other, number) for number in range(3)]
    async with run_worker(concurrency=8), run_worker(concurrency=8):
        assert await results(others) == [0, 1, 2]
        assert len(begun[key]) <= 3
        before = time.monotonic()
        await queue.set_policy(QueuePolicy(key_rate="20/s", key_burst=3, key_limit=5))
        assert await results(jobs) == list(range(16))
        assert begun[key][-1][0] - before >= (16 - 3) / 20
        await eventually(lambda: is_empty(queue), 10)


async def test_the_jobs_of_a_queue_start_at_its_rate_whatever_their_keys(queue: Queue, run_worker: RunWorker, key: str) -> None:
    await queue.set_policy(QueuePolicy(rate="20/s", burst=2))
    before = time.monotonic()
    jobs = [await queue.enqueue(noted, key, number) for number in range(6)]
    jobs += [await queue.options(key=f"{key}-{number % 2}").enqueue(noted, key, number) for number in range(6, 12)]
    async with run_worker(concurrency=8), run_worker(concurrency=8):
        assert await results(jobs) == list(range(12))
        assert begun[key][-1][0] - before >= (12 - 2) / 20
        await eventually(lambda: is_empty(queue), 10)


@pytest.mark.parametrize("of_queue", [True, False], ids=["queue", "key"])
async def test_a_job_that_waits_for_a_rate_is_no_attempt_and_can_be_cancelled_and_purged(
    queue: Queue, run_worker: RunWorker, key: str, of_queue: bool
) -> None:
    await queue.set_policy(QueuePolicy(rate="1/h") if of_queue else QueuePolicy(key_rate="1/h", key_limit=10))
    options = queue.options() if of_queue else queue.options(key=key)
    connection = await queue.connection()
    async with run_worker(concurrency=2):
        jobs = [await options.enqueue(noted, key, 0)]
        assert await jobs[0].result(10) == 0
        jobs += [await options.enqueue(noted, key, number) for number in range(1, 5)]

        async def all_wait() -> None:
            view = await get_queue(connection, "default")
            assert (view.held, view.waiting, view.running) == (4, 0, 0)
            assert (view.waiting_for_rate, view.waiting_for_key) == ((4, 0) if of_queue else (0, 4))

        await eventually(all_wait, 10)
        view = await get_job(connection, jobs[1].job_id)
        assert (view.state, view.attempt, view.due_at, view.waits_for_rate) == (JobState.HELD, 0, None, of_queue)
        assert view.waits_for_key is not of_queue
        with pytest.raises(JobStateError, match="waiting for the rate of its queue" if of_queue else "waiting for its key"):
            await run_now(connection, jobs[1].job_id)
        assert await jobs[1].cancel() == "before_start"
        await queue.set_policy(QueuePolicy(rate="100/s", burst=1) if of_queue else QueuePolicy(key_rate="100/s", key_burst=1))
        assert await results(jobs[2:]) == [2, 3, 4]
        await queue.set_policy(QueuePolicy(rate="1/h") if of_queue else QueuePolicy(key_rate="1/h"))
        waiting = [await options.enqueue(noted, key, number) for number in range(5, 8)]
        await eventually(lambda: len(begun[key]) == 5, 10)
        first = begun[key][-1][1]  # of jobs without a key that come at once, any
        await eventually(lambda: holds(queue, 2), 10)
        assert await queue.purge() >= 2
        await queue.set_policy(QueuePolicy())
        assert await (await options.enqueue(noted, key, 9)).result(10) == 9
        assert (await get_queue(connection, "default")).held == 0
        assert await waiting[first - 5].result(10) == first
        await eventually(lambda: is_empty(queue), 10)


async def holds(queue: Queue, held: int) -> None:
    view = await get_queue(await queue.connection(), "default")
    assert (view.held, view.waiting) == (held, 0)


@pytest.mark.parametrize("of_queue", [True, False], ids=["queue", "key"])
async def test_a_retry_takes_a_token(queue: Queue, run_worker: RunWorker, key: str, of_queue: bool) -> None:
    await queue.set_policy(QueuePolicy(rate="4/s", burst=1) if of_queue else QueuePolicy(key_rate="4/s", key_burst=1))
    options = queue.options(key=key, max_retries=1, retry_delay=0)
    before = time.monotonic()
    jobs = [await options.enqueue(fails_once, key, number) for number in range(2)]
    async with run_worker(concurrency=4):
        assert await results(jobs) == [0, 1]
        assert sorted(number for _, number in begun[key]) == [0, 0, 1, 1]
        assert begun[key][-1][0] - before >= 3 / 4
        await eventually(lambda: is_empty(queue), 10)


async def test_jobs_that_wait_for_a_slot_do_not_gather_to_start_together(queue: Queue, run_worker: RunWorker, key: str) -> None:
    """Tokens are promised to no more jobs than may start at once, and taken when they do."""
    await queue.set_policy(QueuePolicy(key_rate="50/s", key_burst=2, key_limit=20))
    gates[key] = asyncio.Event()
    jobs = [await queue.options(key=key).enqueue(gated, key, number) for number in range(13)]
    async with run_worker(concurrency=1):

        async def two_are_promised() -> None:
            found = await places(queue, key)
            assert found is not None
            assert (len(found.promised), len(found.taken), found.is_full) == (2, 3, True)

        await eventually(two_are_promised, 10)
        before = time.monotonic()
        gates[key].set()
        assert await results(jobs) == list(range(13))
        assert begun[key][-1][0] - before >= (12 - 2) / 50


async def test_a_rate_needs_no_process_that_waits(queue: Queue, run_worker: RunWorker, key: str) -> None:
    """What a worker has left behind that stopped is told to the next one by the server."""
    await queue.set_policy(QueuePolicy(key_rate="5/s", key_burst=1, key_limit=4))
    jobs = [await queue.options(key=key).enqueue(noted, key, number) for number in range(3)]
    async with run_worker(concurrency=4):
        await jobs[0].result(10)
    async with run_worker(concurrency=4):
        assert await results(jobs) == [0, 1, 2]


async def test_shares_of_keys_are_in_proportion_to_their_weights(queue: Queue, run_worker: RunWorker, key: str) -> None:
    policy = QueuePolicy(key_limit=2, weights={"vip": 3}, rate="50/s", burst=2)
    await queue.set_policy(policy)
    assert await queue.policy() == policy
    calls = [queue.options(key=each).call(noted, key, number) for number, each in enumerate(("other", "vip")) for _ in range(30)]
    jobs = await queue.enqueue_many(calls)
    async with run_worker(concurrency=4):
        await results(jobs[30:])
        order = [number for _, number in begun[key]]
        others = order[: len(order) - order[::-1].index(1)].count(0)
        assert 5 <= others <= 16, order  # a third of 30
        await queue.purge()


async def test_jobs_that_have_to_wait_are_put_there_together(queue: Queue, run_worker: RunWorker, key: str) -> None:
    """Each batch costs the server a small file store; a queue with a backlog would be slower than its rate."""
    await queue.set_policy(QueuePolicy(rate="1/h"))
    connection = await queue.connection()
    batches: Counter[str] = Counter()

    def note(_subject: bytes, _reply: bytes, _data: bytes, headers: bytes) -> None:
        batches[parse_headers(headers)[BATCH_ID]] += 1

    subscription = await connection.client.listen(connection.names.held("default", "*"), note)
    await queue.enqueue_many(queue.call(noted, key, number) for number in range(100))
    async with run_worker(concurrency=50):
        await eventually(lambda: holds(queue, 99), 10)
    connection.client.unlisten(subscription)
    assert batches.total() >= 99
    assert len(batches) <= 20


async def test_a_rate_of_the_queue_leaves_no_list_when_it_is_lifted(queue: Queue, run_worker: RunWorker, key: str) -> None:
    await queue.set_policy(QueuePolicy(rate="1/h"))
    async with run_worker(concurrency=4):
        jobs = [await queue.enqueue(noted, key, number) for number in range(20)]
        await eventually(lambda: holds(queue, 19), 10)
        await queue.set_policy(QueuePolicy())
        assert await results(jobs) == list(range(20))
        found = await places(queue, ALL)
        assert not found.taken
        assert Counter(number for _, number in begun[key]) == Counter(range(20))
        await eventually(lambda: is_empty(queue), 10)
