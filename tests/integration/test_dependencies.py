"""Jobs that wait for others, on the real server with real workers."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from naq_client import Dependency, Queue, current_job, result_of, results_of
from naq_core import (
    ConfigurationError,
    EncodeError,
    Job,
    JobCancelledError,
    JobExpiredError,
    JobFailedError,
    JobState,
    JobStateError,
    Settings,
)
from naq_core.inspect import get_job
from naq_core.manage import cancel_job, retry_job
from naq_core.transport.streams import read_last
from naq_worker import Worker
from tests.conftest import RunWorker
from tests.integration import work
from tests.support.eventually import eventually

order: list[str] = []


async def note(name: str) -> str:
    order.append(name)
    return name


async def tell_parents() -> dict[str, object]:
    return {
        job_id: parent.result if parent.state is JobState.SUCCEEDED else parent.reason
        for job_id, parent in current_job().parents.items()
    }


def collect(values: list[int | None], extra: int = 0) -> list[int | None]:
    return [*values, extra]


async def no_edge_is_left(queue: Queue) -> None:
    connection = await queue.connection()

    async def gone() -> None:
        assert await read_last(connection, connection.names.jobs_stream, f"{connection.names.edges}.>") is None

    await eventually(gone)


async def test_a_job_starts_after_the_jobs_it_depends_on(queue: Queue, run_worker: RunWorker) -> None:
    order.clear()
    first = await queue.enqueue(note, "first")
    second = await queue.options(depends_on=first).enqueue(note, "second")
    third = await queue.options(depends_on=[first, second.job_id]).enqueue(note, "third")
    assert await third.status() == JobState.HELD
    async with run_worker(concurrency=10):
        assert await third.result(10) == "third"
        await no_edge_is_left(queue)
    assert order == ["first", "second", "third"]


async def test_a_job_whose_parents_have_ended_starts_at_once(queue: Queue, run_worker: RunWorker) -> None:
    async with run_worker():
        parent = await queue.enqueue(work.add, 1)
        assert await parent.result(10) == 1
        assert await (await queue.enqueue(work.add, result_of(parent), depends_on=parent.job_id)).result(10) == 1
        await no_edge_is_left(queue)


async def test_dependencies_cross_queues(queue: Queue, settings: Settings, run_worker: RunWorker) -> None:
    async with Queue("other", settings=settings) as other:
        parent = await other.enqueue(work.add, 20)
        child = await queue.enqueue(work.add, result_of(parent), 1)
        async with run_worker("default", "other"):
            assert await child.result(10) == 21


async def test_arguments_to_come_are_named_where_people_look(queue: Queue) -> None:
    one, two = await queue.enqueue(work.add, 1, 1), await queue.enqueue(work.add, 2, 2)
    child = await queue.enqueue(collect, results_of([one, two]), extra=result_of(one))
    view = await get_job(await queue.connection(), child.job_id)
    assert view.arguments == f"<2 results>, extra=<result of {one.job_id}>"


@pytest.mark.parametrize("process", [False, True])
async def test_results_of_parents_become_arguments(queue: Queue, run_worker: RunWorker, process: bool) -> None:
    parents = [await queue.enqueue(work.add, n) for n in range(3)]
    child = await queue.options(process=process).enqueue(collect, results_of(parents), extra=result_of(parents[2]))
    async with run_worker():
        assert await child.result(20) == [0, 1, 2, 2]


async def test_json_jobs_are_given_results_too(settings: Settings, run_worker: RunWorker) -> None:
    strict = Settings.load(
        nats_url=settings.nats_url, namespace=settings.namespace, job_serializer="json", allowed_functions="tests.*"
    )
    async with Queue("default", settings=strict) as queue:
        parents = [await queue.enqueue(work.add, n) for n in range(3)]
        child = await queue.enqueue(collect, results_of(parents))
        async with run_worker(settings=strict):
            assert await child.result(10) == [0, 1, 2, 0]


async def test_a_job_is_cancelled_with_its_parent_named_and_so_on_down(queue: Queue, run_worker: RunWorker) -> None:
    parent = await queue.enqueue(work.fail, "no bread")
    child = await queue.options(depends_on=parent).enqueue(work.add, 1)
    grandchild = await queue.enqueue(work.add, result_of(child))
    async with run_worker():
        with pytest.raises(JobCancelledError, match=rf"parent {parent.job_id} failed \(ValueError: no bread\)"):
            await child.result(10)
        with pytest.raises(JobCancelledError, match=f"parent {child.job_id} was cancelled"):
            await grandchild.result(10)
        await no_edge_is_left(queue)
    connection = await queue.connection()
    names = connection.names
    assert await read_last(connection, names.jobs_stream, names.archive("default", grandchild.job_id, "cancelled")), (
        "kept, to be tried again"
    )


async def test_a_cancelled_parent_cancels(queue: Queue, run_worker: RunWorker) -> None:
    parent = await queue.enqueue(work.control, "cancel")
    child = await queue.options(depends_on=parent).enqueue(work.add, 1)
    async with run_worker():
        with pytest.raises(JobCancelledError, match=f"parent {parent.job_id} was cancelled .no need"):
            await child.result(10)


async def test_failure_can_be_allowed_and_is_told(queue: Queue, run_worker: RunWorker) -> None:
    bad: Job[Any] = await queue.enqueue(work.fail, "sorry")
    good: Job[Any] = await queue.enqueue(work.add, 7)
    one = await queue.options(depends_on=[Dependency(bad, allow_failure=True), good], parent_results=True).enqueue(tell_parents)
    two = await queue.options(allow_failure=True).enqueue(collect, results_of([bad, good]))
    async with run_worker():
        told = await one.result(10)
        assert told[good.job_id] == 7
        assert "ValueError: sorry" in str(told[bad.job_id])
        assert await two.result(10) == [None, 7, 0]


async def test_a_parent_that_nobody_knows_counts_as_failed(queue: Queue, run_worker: RunWorker) -> None:
    child = await queue.options(depends_on="nobody").enqueue(work.add, 1)
    with pytest.raises(JobCancelledError, match="parent nobody is unknown"):
        await child.result(10)
    lenient = await queue.options(depends_on=Dependency("nobody", allow_failure=True)).enqueue(work.add, 1)
    async with run_worker():
        assert await lenient.result(10) == 1


async def test_a_dead_parent_found_later_cancels_at_once(queue: Queue, run_worker: RunWorker) -> None:
    async with run_worker():
        parent = await queue.enqueue(work.fail)
        with pytest.raises(JobFailedError):
            await parent.result(10)
    child = await queue.options(depends_on=parent).enqueue(work.add, 1)
    with pytest.raises(JobCancelledError, match="failed"):
        await child.result(10)


async def test_a_wide_fan_in_and_fan_out_end_once(queue: Queue) -> None:
    root = await queue.enqueue(work.add, 0)
    middle = [queue.options(depends_on=root).call(work.add, n) for n in range(1200)]
    await queue.enqueue_many(middle)
    last = await queue.enqueue(collect, results_of(middle))
    worker = Worker(["default"], settings=queue.settings, burst=True, concurrency=50)
    await worker.run()
    assert await last.result(10) == [*range(1200), 0]
    assert worker.counters.processed == 1202
    await no_edge_is_left(queue)


async def test_a_batch_of_dependent_jobs_is_atomic(queue: Queue) -> None:
    await queue.enqueue(work.add, 1, job_id="there")
    first = queue.call(work.add, 1)
    second = queue.enqueue_many(
        [first, queue.options(depends_on=first).call(work.add, 2), queue.call(work.add, 3, job_id="there")]
    )
    with pytest.raises(Exception, match="live job"):
        await second
    assert await queue.purge() == 1


async def test_an_id_on_two_queues_is_two_jobs(queue: Queue, settings: Settings, run_worker: RunWorker) -> None:
    async with Queue("other", settings=settings) as other:
        one, two = await queue.enqueue(work.add, 1), await other.enqueue(work.add, 2)
        children = [
            await queue.options(job_id="same", depends_on=one).enqueue(work.add, 10),
            await other.options(job_id="same", depends_on=two).enqueue(work.add, 20),
        ]
        async with run_worker("default", "other"):
            assert [await child.result(10) for child in children] == [10, 20]


async def test_the_server_has_a_forgotten_job_looked_at(
    queue: Queue, run_worker: RunWorker, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As if the enqueuer had died between storing the job and looking at its parents."""
    gate = tmp_path / "gate"
    monkeypatch.setattr("naq_core.storage.edges.FIRST_LOOK", 0.5)
    monkeypatch.setattr("naq_core.enqueue.dependent._look", lambda *_: asyncio.sleep(0))
    async with run_worker():
        good, bad = await queue.enqueue(work.add, 1), await queue.enqueue(work.fail)
        await good.result(10)
        with pytest.raises(JobFailedError):
            await bad.result(10)
        runs = await queue.options(depends_on=good).enqueue(work.add, 5)
        ends = await queue.options(depends_on=bad).enqueue(work.add, 5)
        slow = await queue.enqueue(work.hold, gate)
        waits = await queue.options(depends_on=slow).enqueue(work.add, 6)
        assert await runs.result(10) == 5
        with pytest.raises(JobCancelledError, match="failed"):
            await ends.result(10)
        assert await waits.status() == JobState.HELD
        gate.touch()
        assert await waits.result(10) == 6
        record = await waits.record()
        assert record is not None
        assert record.attempt == 1
        await no_edge_is_left(queue)


async def test_what_cannot_be_is_refused_before_anything_is_sent(queue: Queue) -> None:
    fast = queue.options(fast=True).call(work.add, 1)
    with pytest.raises(ConfigurationError, match="fast"):
        queue.options(depends_on=fast).call(work.add, 1)
    with pytest.raises(ConfigurationError, match="depends_on"):
        await queue.options(depends_on=7).enqueue(work.add, 1)  # type: ignore[arg-type]
    with pytest.raises(EncodeError, match="results_of"):
        await queue.enqueue(work.add, [result_of(queue.call(work.add, 1))])
    with pytest.raises(ConfigurationError, match="result_of"):
        result_of("id")  # type: ignore[arg-type]
    assert await queue.purge() == 0


async def test_the_parents_results_must_be_asked_for(queue: Queue, run_worker: RunWorker) -> None:
    parent = await queue.enqueue(work.add, 1)
    child: Job[object] = await queue.options(depends_on=parent).enqueue(tell_parents)
    async with run_worker():
        with pytest.raises(JobFailedError, match="parent_results=True"):
            await child.result(10)


async def test_cancelling_a_waiting_parent_cancels_what_waits_for_it(queue: Queue) -> None:
    parent = await queue.enqueue(work.add, 1)
    child = await queue.options(depends_on=parent).enqueue(work.add, 1)
    grandchild = await queue.options(depends_on=child).enqueue(work.add, 1)
    connection = await queue.connection()
    assert (await get_job(connection, child.job_id)).due_at is None
    assert (await get_job(connection, parent.job_id)).children == [child.job_id]
    await cancel_job(connection, child.job_id, "changed my mind")
    with pytest.raises(JobCancelledError, match="changed my mind"):
        await child.result(10)
    with pytest.raises(JobCancelledError, match=f"parent {child.job_id} was cancelled .changed my mind"):
        await grandchild.result(10)
    await cancel_job(connection, parent.job_id)
    await no_edge_is_left(queue)


async def test_a_waiting_job_expires_too_and_what_waits_for_it_is_told(queue: Queue, run_worker: RunWorker) -> None:
    slow = await queue.enqueue(work.sleep, 4)
    late = await queue.options(depends_on=slow, expires=0.5, priority="high").enqueue(work.add, 1)
    after = await queue.options(depends_on=late).enqueue(work.add, 1)
    async with run_worker():
        with pytest.raises(JobExpiredError):
            await late.result(10)
        with pytest.raises(JobCancelledError, match=f"parent {late.job_id} expired"):
            await after.result(10)
        await cancel_job(await queue.connection(), slow.job_id)
        await no_edge_is_left(queue)


async def test_priorities_are_kept_while_waiting(queue: Queue, run_worker: RunWorker) -> None:
    parent = await queue.enqueue(work.add, 1)
    child = await queue.options(depends_on=parent, priority="low").enqueue(work.add, 1)
    async with run_worker():
        assert await child.result(10) == 1
        assert (await get_job(await queue.connection(), parent.job_id)).priority == "normal"


async def test_large_results_of_parents_arrive(queue: Queue, run_worker: RunWorker) -> None:
    parent = await queue.enqueue(work.large, 2_000_000)
    child = await queue.enqueue(len, result_of(parent))
    async with run_worker():
        assert await child.result(20) == 2_000_000


async def test_jobs_that_wait_for_purged_ones_come_to_an_end(queue: Queue, settings: Settings) -> None:
    async with Queue("other", settings=settings) as other:
        parent = await queue.enqueue(note, "parent")
        await queue.enqueue(note, "alone")
        child = await other.options(depends_on=parent).enqueue(note, "child")
        grandchild = await other.options(depends_on=child).enqueue(note, "grandchild")
        assert await queue.purge() == 2
        for job in (parent, child, grandchild):
            assert await job.status() == JobState.CANCELLED
        await no_edge_is_left(queue)


async def test_a_cancelled_child_is_put_back_after_its_parent(queue: Queue, run_worker: RunWorker) -> None:
    parent = await queue.enqueue(work.fail)
    child = await queue.options(depends_on=parent).enqueue(work.add, 1)
    connection = await queue.connection()
    async with run_worker():
        with pytest.raises(JobCancelledError):
            await child.result(10)
        await no_edge_is_left(queue)
        with pytest.raises(JobStateError, match=f"parent {parent.job_id} failed .* retry that one first"):
            await retry_job(connection, child.job_id)
    await retry_job(connection, parent.job_id)
    await retry_job(connection, child.job_id)
    assert [await parent.status(), await child.status()] == [JobState.QUEUED, JobState.HELD]
    async with run_worker():
        with pytest.raises(JobCancelledError, match="failed"):
            await child.result(10)
        await no_edge_is_left(queue)


async def test_children_of_jobs_that_were_wiped_off_the_stream_end_too(
    queue: Queue, run_worker: RunWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("naq_core.storage.edges.FIRST_LOOK", 0.5)
    async with Queue("other", settings=queue.settings) as other:
        parent = await other.enqueue(work.add, 1)
        child = await queue.options(depends_on=parent).enqueue(work.add, 1)
        connection = await queue.connection()
        names = connection.names
        await connection.api(f"STREAM.PURGE.{names.jobs_stream}", {"filter": names.ready_filter("other")})
    async with run_worker():
        with pytest.raises(JobCancelledError, match="is unknown: it never existed, was deleted, or"):
            await child.result(10)
        await no_edge_is_left(queue)


async def test_batches_that_others_have_abandoned_do_not_refuse_ours(queue: Queue) -> None:
    """The server drops the beginning of a batch while 50 others are under way: nothing was stored, so it is repeated."""
    connection = await queue.connection()
    names = connection.names
    parent = await queue.enqueue(work.add, 1)
    for number in range(60):
        headers = {"Nats-Batch-Id": f"abandoned-{number}", "Nats-Batch-Sequence": "1"}
        await connection.client.publish(names.ready("default", f"never-{number}"), b"", headers=headers)
    child = await queue.options(depends_on=parent).enqueue(work.add, 1)
    assert await child.status() == JobState.HELD
