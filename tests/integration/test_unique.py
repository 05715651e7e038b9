"""One live job for each key, on the real server."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from naq_client import Queue
from naq_core import Connection, DuplicateJobError, JobFailedError, JobState, Settings
from naq_core.errors import ConfigurationError
from naq_core.inspect import get_job
from naq_core.manage import run_now
from naq_core.options import Priority
from naq_core.storage.records import find_job, read_record
from naq_core.storage.unique import find_place
from naq_worker import Worker
from tests.conftest import RunWorker
from tests.integration import work
from tests.support.eventually import eventually
from tests.support.lost import lose_one_answer

HOUR = 3600.0


async def burst(settings: Settings) -> Worker:
    worker = Worker(["default"], settings=settings, burst=True)
    await worker.run()
    return worker


async def messages(queue: Queue, state: str = "*") -> int:
    connection = await queue.connection()
    names = connection.names
    answer = await connection.api(f"STREAM.INFO.{names.jobs_stream}", {"subjects_filter": f"{names.jobs}.{state}.{queue.name}.*"})
    return sum((answer["state"].get("subjects") or {}).values())


async def test_of_fifty_at_once_exactly_one_is_enqueued_and_runs(queue: Queue, settings: Settings) -> None:
    work.order.clear()

    async def try_it(number: int) -> bool:
        try:
            await queue.options(unique="report").enqueue(work.note, str(number))
        except DuplicateJobError:
            return False
        return True

    assert sum(await asyncio.gather(*(try_it(number) for number in range(50)))) == 1
    assert await messages(queue) == 1
    await burst(settings)
    assert len(work.order) == 1


async def test_of_fifty_processes_connections_exactly_one_is_enqueued(settings: Settings, queue: Queue) -> None:
    async with asyncio.TaskGroup() as group:
        opened = [group.create_task(_open(settings)) for _ in range(10)]
    connections = [each.result() for each in opened]
    try:
        queues = [Queue("default", connection=connections[number % 10]) for number in range(50)]
        jobs = await asyncio.gather(
            *(each.options(unique="report", on_clash="return").enqueue(work.add, number) for number, each in enumerate(queues))
        )
        assert [job.is_new for job in jobs].count(True) == 1
        assert len({job.run for job in jobs}) == 1
        await burst(settings)
        assert len({await job.result(10) for job in jobs}) == 1
    finally:
        for connection in connections:
            await connection.close()


async def _open(settings: Settings) -> Connection:
    connection = Connection(settings, name="racer")
    await connection.open()
    return connection


async def test_it_is_refused_while_queued_held_and_running_and_accepted_after_the_end(
    queue: Queue, run_worker: RunWorker, tmp_path: Path
) -> None:
    unique = queue.options(unique="k")
    gate = tmp_path / "gate"
    held = await unique.enqueue_in(HOUR, work.hold, gate)
    with pytest.raises(DuplicateJobError, match="unique=k"):
        await unique.enqueue(work.add, 1)
    await run_now(await queue.connection(), held.job_id)
    assert await held.status() == JobState.QUEUED
    with pytest.raises(DuplicateJobError):
        await unique.enqueue(work.add, 1)
    async with run_worker():

        async def runs() -> None:
            assert await held.status() == JobState.RUNNING

        await eventually(runs)
        with pytest.raises(DuplicateJobError):
            await unique.enqueue(work.add, 1)
        gate.touch()
        assert await held.result(10) == "held"
        for number in range(20):  # right after the end: its acknowledgement may still be on the way
            job = await unique.enqueue(work.add, number)
            assert await job.result(10) == number
            assert job.is_new


async def test_a_new_job_does_not_get_the_result_of_the_last_one(queue: Queue, settings: Settings) -> None:
    unique = queue.options(unique="k")
    first = await unique.enqueue(work.add, 1)
    await burst(settings)
    second = await unique.enqueue(work.add, 2)
    assert await second.status() == JobState.QUEUED
    with pytest.raises(TimeoutError):
        await second.result(0.1)
    assert (await get_job(await queue.connection(), second.job_id)).state == JobState.QUEUED
    await burst(settings)
    assert await second.result(10) == 2
    assert await first.result(10) == 2  # who asks for the first one now gets that of its key's last
    record = await second.record()
    assert record is not None
    assert record.attempt == 1


async def test_a_dead_job_is_in_nobodys_way_and_is_replaced(queue: Queue, settings: Settings) -> None:
    unique = queue.options(unique="k")
    dead = await unique.enqueue(work.fail)
    await burst(settings)
    with pytest.raises(JobFailedError):
        await dead.result(10)
    assert await messages(queue, "dead") == 1
    job = await unique.enqueue(work.add, 1)
    assert await messages(queue) == 1
    with pytest.raises(DuplicateJobError):
        await unique.enqueue(work.add, 2)
    await burst(settings)
    assert await job.result(10) == 1
    delayed = await unique.enqueue_in(HOUR, work.add, 1)
    assert delayed.is_new


async def test_of_many_in_the_place_of_a_dead_one_exactly_one_is_enqueued(queue: Queue, settings: Settings) -> None:
    unique = queue.options(unique="k", on_clash="return")
    await unique.enqueue(work.fail)
    await burst(settings)
    jobs = await asyncio.gather(*(unique.enqueue(work.add, number) for number in range(20)))
    assert [job.is_new for job in jobs].count(True) == 1
    assert await messages(queue) == 1


async def test_a_key_belongs_to_its_queue(queue: Queue) -> None:
    other = Queue("other", connection=await queue.connection())
    assert (await queue.options(unique="k").enqueue(work.add, 1)).is_new
    assert (await other.options(unique="k").enqueue(work.add, 1)).is_new


async def test_the_job_that_is_there_is_returned(queue: Queue, settings: Settings) -> None:
    first = await queue.options(unique="k").enqueue(work.add, 1)
    second = await queue.options(unique="k", on_clash="return").enqueue(work.add, 2)
    assert (second.is_new, second.job_id, second.run) == (False, first.job_id, first.run)
    await burst(settings)
    assert await second.result(10) == 1


@pytest.mark.parametrize("old_delay", [0, HOUR])
@pytest.mark.parametrize("new_delay", [0, 0.3])
@pytest.mark.parametrize("level", ["normal", "high"])
async def test_a_waiting_job_is_replaced(
    queue: Queue, settings: Settings, run_worker: RunWorker, old_delay: float, new_delay: float, level: Priority
) -> None:
    work.order.clear()
    old = await queue.options(unique="k", delay=old_delay).enqueue(work.note, "old")
    new = await queue.options(unique="k", on_clash="replace", delay=new_delay, priority=level).enqueue(work.note, "new")
    assert await messages(queue) == 1
    async with run_worker():
        await new.result(10)
        await old.result(10)  # its place is taken: the end of the new one is its end
    assert work.order == ["new"]
    assert await messages(queue) == 0


async def test_of_many_replacements_one_is_left(queue: Queue, settings: Settings) -> None:
    work.order.clear()
    replace = queue.options(unique="k", on_clash="replace")
    await asyncio.gather(*(replace.enqueue(work.note, str(number)) for number in range(20)))
    await burst(settings)
    assert len(work.order) == 1
    assert await messages(queue) == 0


async def test_a_running_job_is_not_replaced(queue: Queue, run_worker: RunWorker, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    async with run_worker():
        job = await queue.options(unique="k").enqueue(work.hold, gate)

        async def runs() -> None:
            assert await job.status() == JobState.RUNNING

        await eventually(runs)
        with pytest.raises(DuplicateJobError):
            await queue.options(unique="k", on_clash="replace").enqueue(work.add, 1)
        gate.touch()
        assert await job.result(10) == "held"


async def test_replacements_race_with_workers_and_nothing_runs_twice_or_is_lost(queue: Queue, run_worker: RunWorker) -> None:
    work.order.clear()
    accepted: list[str] = []
    job = await queue.options(unique="k").enqueue(work.note, "first")
    async with run_worker(concurrency=3):
        for number in range(60):
            try:
                job = await queue.options(unique="k", on_clash="replace").enqueue(work.note, str(number))
            except DuplicateJobError:
                continue
            accepted.append(str(number))
        await job.result(10)

        async def is_empty() -> None:
            assert await messages(queue) == 0

        await eventually(is_empty)
    assert len(set(work.order)) == len(work.order)
    assert set(work.order) <= {"first", *accepted}
    assert work.order[-1] == accepted[-1]


async def test_of_a_burst_only_the_last_runs_after_the_calls_have_ended(queue: Queue, run_worker: RunWorker) -> None:
    work.order.clear()
    debounced = queue.options(unique="doc-7", debounce=0.5)
    jobs = [await debounced.enqueue(work.note, str(number)) for number in range(9)]
    last_call = time.time()
    jobs.append(await debounced.enqueue(work.note, "9"))
    assert await messages(queue) == 1
    async with run_worker():
        for job in jobs:
            await job.result(10)
        assert work.order == ["9"]
        record = await jobs[-1].record()
        assert record is not None
        assert record.started_at > last_call + 0.4
        again = await debounced.enqueue(work.note, "again")
        await again.result(10)
    assert work.order == ["9", "again"]


async def test_a_call_while_the_debounced_job_runs_is_run_after_it(queue: Queue, run_worker: RunWorker, tmp_path: Path) -> None:
    work.order.clear()
    gate = tmp_path / "gate"

    async def is_due() -> None:
        assert await messages(queue, "held") == 0

    async with run_worker():
        first = await queue.options(unique="doc-7", debounce=0.1).enqueue(work.hold, gate, "first")

        async def runs() -> None:
            assert await first.status() == JobState.RUNNING

        await eventually(runs)
        second = await queue.options(unique="doc-7", debounce=0.1).enqueue(work.note, "second")
        await eventually(is_due)
        gate.touch()
        await first.result(10)
        await second.result(10)
    assert work.order == ["first", "second"]
    record = await second.record()
    assert record is not None
    assert (record.attempt, record.crashes) == (1, 0)


async def test_many_unique_jobs_are_stored_all_or_none(queue: Queue, settings: Settings) -> None:
    def batch(*keys: str) -> list[object]:
        return [queue.options(unique=key).call(work.add, 1) for key in keys]

    many = await queue.enqueue_many([*batch("a", "b"), queue.call(work.add, 1)])  # type: ignore[list-item]
    with pytest.raises(DuplicateJobError, match="unique=b"):
        await queue.enqueue_many(batch("c", "b"))  # type: ignore[arg-type]
    with pytest.raises(DuplicateJobError, match="unique=d"):
        await queue.enqueue_many(batch("d", "d"))  # type: ignore[arg-type]
    assert await messages(queue) == 3
    await burst(settings)
    assert [await job.result(10) for job in many] == [1, 1, 1]
    dead = await queue.options(unique="c").enqueue(work.fail)
    await burst(settings)
    with pytest.raises(JobFailedError):
        await dead.result(10)
    again = await queue.enqueue_many(batch("a", "c"))  # type: ignore[arg-type]
    assert await messages(queue) == 2
    assert [await job.status() for job in again] == [JobState.QUEUED, JobState.QUEUED]
    with pytest.raises(ConfigurationError, match="on_clash"):
        await queue.enqueue_many([queue.options(unique="z", on_clash="replace").call(work.add, 1)])


async def test_what_does_not_go_together_is_refused(queue: Queue) -> None:
    with pytest.raises(ConfigurationError, match="fast"):
        await queue.options(unique="k", fast=True).enqueue(work.add, 1)
    parent = await queue.enqueue_in(HOUR, work.add, 1)
    with pytest.raises(ConfigurationError, match="depends_on"):
        await queue.options(delay=1, depends_on=parent).enqueue(work.add, 1)
    with pytest.raises(ConfigurationError, match="on_clash"):
        await queue.options(unique="k", on_clash="replace", depends_on=parent).enqueue(work.add, 1)


async def test_a_waiting_child_may_be_unique(queue: Queue, settings: Settings) -> None:
    parent = await queue.enqueue_in(HOUR, work.add, 1)
    child = await queue.options(unique="k", depends_on=parent).enqueue(work.add, 1)
    assert child.is_new
    with pytest.raises(DuplicateJobError):
        await queue.options(unique="k", depends_on=parent).enqueue(work.add, 1)
    with pytest.raises(DuplicateJobError):
        await queue.options(unique="k").enqueue(work.add, 1)


@asynccontextmanager
async def cut_after(connection: Connection, publishes: int) -> AsyncIterator[None]:
    """Let a producer die: everything it sends after so many publishes is lost."""
    post, api = connection.publisher.post, connection.api
    sent = 0

    class DeadError(Exception):
        pass

    def dying(subject: str, body: bytes, headers: dict[str, str] | None = None) -> "asyncio.Future[int]":
        nonlocal sent
        if sent >= publishes:
            raise DeadError
        sent += 1
        return post(subject, body, headers)

    async def dead_api(*_: object, **__: object) -> dict[str, object]:
        if sent >= publishes:
            raise DeadError
        return await api(*_, **__)  # type: ignore[arg-type]

    connection.publisher.post = dying  # type: ignore[method-assign]
    connection.api = dead_api  # type: ignore[method-assign]
    try:
        yield
    except DeadError:
        pass
    finally:
        connection.publisher.post = post  # type: ignore[method-assign]
        connection.api = api  # type: ignore[method-assign]


@pytest.mark.parametrize("steps", [0, 1, 2])
@pytest.mark.parametrize("old", ["queued", "held", "dead"])
async def test_a_producer_that_dies_while_replacing_leaves_one_job_to_run(
    queue: Queue, settings: Settings, steps: int, old: str
) -> None:
    work.order.clear()
    first = await queue.options(unique="k", delay=HOUR if old == "held" else 0).enqueue(
        work.fail if old == "dead" else work.note, "old"
    )
    if old == "dead":
        await burst(settings)
    producer = await _open(settings)
    try:
        async with cut_after(producer, steps + 1):  # the first publish asks whether the key is free
            await Queue("default", connection=producer).options(unique="k", on_clash="replace").enqueue(work.note, "new")
    finally:
        await producer.close()
    if old == "held" and steps == 0:
        await run_now(await queue.connection(), first.job_id)
    await burst(settings)
    allowed = {"queued": [["old"], ["old", "new"], ["new"]], "held": [["old"], ["new"]], "dead": [[], ["new"]]}
    assert work.order in allowed[old]
    if steps == 2 or (steps == 1 and old != "queued"):
        assert work.order == ["new"]
    assert await messages(queue, "normal") == 0
    assert await messages(queue, "held") == 0
    again = await queue.options(unique="k").enqueue(work.add, 7)
    await burst(settings)
    assert await again.result(10) == 7


async def test_an_enqueue_whose_answer_was_lost_is_ones_own(
    queue: Queue, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = await queue.connection()
    await queue.options(unique="warm-up").enqueue(work.add, 1)
    lost = lose_one_answer(connection, monkeypatch)
    job = await queue.options(unique="k").enqueue(work.add, 3)
    assert (job.is_new, len(lost)) == (True, 1)
    await burst(settings)
    assert await job.result(10) == 3


async def test_an_older_run_never_runs_after_a_newer_one(queue: Queue, settings: Settings) -> None:
    """A copy of an old message, as a crash between two steps may leave it, is only acknowledged."""
    work.order.clear()
    connection = await queue.connection()
    await queue.options(unique="k").enqueue(work.note, "old")
    old = await find_job(connection, "unique=k")
    assert old is not None
    new = await queue.options(unique="k", on_clash="replace").enqueue(work.note, "new")
    place = await find_place(connection, "default", "unique=k")
    assert place.run == new.run
    stored = await read_record(connection, "default", "unique=k")
    assert stored is not None
    assert (stored.record.run, stored.record.sequence) == (new.run, new.sequence)
    assert stored.record.sequence > old.sequence
    await burst(settings)
    assert work.order == ["new"]
