"""Workflows on the real server with real workers."""

import threading
from typing import Any

import pytest

from naq_client import (
    Job,
    Queue,
    Task,
    Workflow,
    WorkflowHandle,
    chain,
    chord,
    current_job,
    current_workflow,
    disconnect,
    disconnect_sync,
    group,
    result_of,
    task,
)
from naq_core import (
    EncodeError,
    InvalidNameError,
    JobCancelledError,
    JobFailedError,
    JobState,
    Settings,
    WorkflowError,
    WorkflowNotFoundError,
)
from naq_core.inspect import get_workflow, list_workflows, workflows
from naq_core.manage import cancel_workflow
from naq_core.testing import WorkerRunner
from tests.conftest import RunWorker
from tests.integration import work

broken = {"oven": True}


@task
async def double(number: int) -> int:
    return number * 2


@task
async def total(numbers: list[int]) -> int:
    return sum(numbers)


@task
def describe(number: int, unit: str = "g") -> str:
    return f"{number} {unit}"


async def heat(name: str) -> str:
    if broken[name]:
        raise OSError("the oven is cold")
    return name


async def add_more(count: int) -> str:
    handle = await current_workflow()
    jobs = await handle.add(*(double.s(number) for number in range(count)))
    await handle.add(total.s([1]), depends_on=jobs)
    await disconnect()
    return current_job().workflow


async def test_a_chain_hands_results_on(queue: Queue, run_worker: RunWorker) -> None:
    steps = double.s(1) | double.s() | describe.s(unit="kg")
    handle = await steps.enqueue(queue, name="bread")
    async with run_worker():
        assert await handle.result(10) == "4 kg"
        assert list((await handle.results(10)).values()) == [2, 4, "4 kg"]
        view = await handle.status()
    assert (view.name, view.total, view.counts) == ("bread", 3, {"succeeded": 3})
    assert [job.parents for job in view.jobs] == [[], [handle.jobs[0].job_id], [handle.jobs[1].job_id]]
    assert view.jobs[0].children == [handle.jobs[1].job_id]
    assert view.jobs[0].workflow == handle.workflow_id


async def test_a_group_runs_side_by_side_and_a_chord_joins_it(queue: Queue, run_worker: RunWorker) -> None:
    beside = await group(double.s(n) for n in range(4)).enqueue(queue)
    joined = await chord([double.s(n) for n in range(4)], total.s()).enqueue(queue)
    deep = await chain(double.s(1), group(double.s() | double.s(), double.s()), total.s(), describe.s()).enqueue(queue)
    async with run_worker():
        assert await beside.result(10) == [0, 2, 4, 6]
        assert await joined.result(10) == 12
        assert await deep.result(10) == "12 g"


async def test_signatures_of_plain_functions_and_jobs_are_steps_too(queue: Queue, run_worker: RunWorker) -> None:
    plain = await chain(queue.s(work.add, 1), queue.options(max_retries=1).s(work.add, b=5)).enqueue(queue)
    fixed = await chain(double.s(1), queue.call(work.add, 7), double.si(4)).enqueue(queue)
    async with run_worker():
        assert await plain.result(10) == 6
        assert list((await fixed.results(10)).values()) == [2, 7, 8]


async def test_any_graph(queue: Queue, run_worker: RunWorker) -> None:
    flow = Workflow("graph", workflow_id="graph-1")
    a = flow.add(double.s(1))
    b = flow.add(double.s(result_of(a)))
    c = flow.add(queue.call(work.add, result_of(a), 10))
    last = flow.add(chain(total.s([1]), describe.s()), depends_on=[b, c])
    handle = await flow.enqueue(queue)
    async with run_worker():
        assert await handle.result(10) == "1 g"
        assert (await handle.results(10))[c.job_id] == 12
    assert [job.job_id for job in handle.jobs[-1:]] == [job.job_id for job in last]
    again = await WorkflowHandle[Any].open("graph-1", queue)
    assert await again.result(10) == "1 g"


async def test_what_cannot_be_put_together_is_refused(queue: Queue) -> None:
    a, b, c = (queue.call(work.add, n) for n in range(3))
    flow = Workflow()
    flow.add(a, depends_on=c)
    flow.add(b, depends_on=a)
    flow.add(c, depends_on=b)
    with pytest.raises(WorkflowError, match=r"circular dependency between jobs: .*add \(\w+\) → .*add"):
        await flow.enqueue(queue)
    with pytest.raises(WorkflowError, match="circular dependency"):
        await queue.enqueue_many([a, b, c])
    with pytest.raises(WorkflowError, match="no jobs"):
        await Workflow().enqueue(queue)
    with pytest.raises(WorkflowError, match="at least one"):
        group()
    twice = Workflow()
    twice.add(job := queue.call(work.add, 1))
    twice.add(job)
    with pytest.raises(WorkflowError, match="twice"):
        await twice.enqueue(queue)
    with pytest.raises(InvalidNameError):
        Workflow(workflow_id="a.b")
    assert await queue.purge() == 0
    assert (await list_workflows(await queue.connection())).workflows == []


async def test_an_id_is_one_workflow_and_enqueueing_it_again_adds_nothing(queue: Queue, run_worker: RunWorker) -> None:
    flow = Workflow(workflow_id="mine")
    flow.add(double.s(1))
    await flow.enqueue(queue)
    other = Workflow(workflow_id="mine")
    other.add(double.s(2))
    with pytest.raises(WorkflowError, match="exists"):
        await other.enqueue(queue)
    assert (await get_workflow(await queue.connection(), "mine")).total == 1


async def test_the_failed_part_is_tried_again(queue: Queue, run_worker: RunWorker) -> None:
    broken["oven"] = True
    flow = Workflow("bake")
    good = flow.add(double.s(2))
    bad = flow.add(queue.call(heat, "oven"))
    join = flow.add(queue.call(work.add, result_of(good), 1), depends_on=bad)
    last = flow.add(double.s(result_of(join)))
    handle = await flow.enqueue(queue)
    async with run_worker():
        with pytest.raises(JobCancelledError, match=f"parent {join.job_id} was cancelled .parent {bad.job_id} failed"):
            await handle.result(10)
        assert (await handle.wait(10)).counts == {"succeeded": 1, "dead": 1, "cancelled": 2}
        broken["oven"] = False
        assert await handle.retry() == 3
        assert await last.result(10) == 10
        assert await handle.retry() == 0
        assert (await handle.status()).counts == {"succeeded": 4}
        record = await good.record()
        assert record is not None
        assert record.attempt == 1, "what had succeeded was not run again"


async def test_a_workflow_is_cancelled_as_a_whole_and_can_come_back(queue: Queue, run_worker: RunWorker) -> None:
    outside = await queue.enqueue(work.add, 1)
    handle = await (queue.s(work.add, 1) | double.s() | double.s()).enqueue(queue)
    after = await queue.options(depends_on=handle.jobs[-1]).enqueue(work.add, 1)
    assert await handle.cancel("no flour") == 3
    assert await handle.cancel() == 0
    for job in handle.jobs:
        with pytest.raises(JobCancelledError, match="no flour"):
            await job.result(10)
    with pytest.raises(JobCancelledError, match=r"parent .* was cancelled"):
        await after.result(10)
    async with run_worker():
        assert await outside.result(10) == 1
    assert (await handle.status()).counts == {"cancelled": 3}


async def test_jobs_are_added_from_inside(
    queue: Queue, settings: Settings, run_worker: RunWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NAQ_NATS_URL", settings.nats_url)
    monkeypatch.setenv("NAQ_NAMESPACE", settings.namespace)
    handle = await chain(queue.s(add_more, 3)).enqueue(queue)
    async with run_worker():
        assert await handle.result(10) == handle.workflow_id
        assert (await handle.status()).counts == {"succeeded": 5}  # it has waited for those that were added
        results = list((await handle.results(10)).values())
        assert results == [handle.workflow_id, 0, 2, 4, 1]
        assert len(handle.jobs) == 5
    async with run_worker():
        with pytest.raises(JobFailedError, match="does not belong to a workflow"):
            await (await queue.enqueue(add_more, 1)).result(10)


async def test_workflows_are_listed_newest_first(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    connection = await queue.connection()
    handles = [await chain(double.s(n), double.s()).enqueue(queue, name=f"w{n}") for n in range(3)]
    page = await list_workflows(connection, limit=2)
    assert [view.name for view in page.workflows] == ["w2", "w1"]
    assert page.workflows[0].counts == {"queued": 1, "held": 1}
    assert page.workflows[0].jobs == []
    rest = await list_workflows(connection, limit=2, cursor=page.cursor)
    assert [(view.workflow_id, view.name) for view in rest.workflows] == [(handles[0].workflow_id, "w0")]
    assert rest.cursor is None
    heads = await list_workflows(connection, 2, None, False)
    assert [(view.name, view.total, view.counts) for view in heads.workflows] == [("w2", 2, {}), ("w1", 2, {})]
    monkeypatch.setattr(workflows, "MOST_TOGETHER", 3)
    assert (await list_workflows(connection, limit=2)).workflows == page.workflows
    with pytest.raises(WorkflowNotFoundError):
        await get_workflow(connection, "nothing")
    with pytest.raises(WorkflowNotFoundError):
        await cancel_workflow(connection, "nothing")


async def test_a_large_workflow_is_stored_in_stages_and_ends_once(queue: Queue, run_worker: RunWorker) -> None:
    flow = chain(double.s(1), group(double.s() for _ in range(700)), total.s())
    handle = await flow.enqueue(queue)
    async with run_worker(concurrency=100) as worker:
        assert await handle.result(30) == 2800
        assert worker.counters.processed == 702


async def test_tasks_in_a_group_keep_their_options(queue: Queue, run_worker: RunWorker) -> None:
    patient: Task[..., int, Any] = double.options(max_retries=2)
    step: Job[int] = patient.s(1).job()
    assert step.max_retries == 2
    assert await (await queue.enqueue(work.add, 1)).status() == JobState.QUEUED


def test_workflows_without_an_event_loop(naq_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NAQ_NATS_URL", naq_settings.nats_url)
    monkeypatch.setenv("NAQ_NAMESPACE", naq_settings.namespace)
    handle = (double.s(1) | describe.s()).enqueue_sync(name="sync")
    assert handle.status().counts == {"queued": 1, "held": 1}
    assert handle.cancel("enough") == 2
    with pytest.raises(JobCancelledError, match="enough"):
        handle.result(10)
    assert handle.wait(10).counts == {"cancelled": 2}
    assert handle.retry() == 2
    assert handle.status().counts == {"queued": 1, "held": 1}
    disconnect_sync()


async def test_workflows_run_until_idle_and_inline(queue: Queue, naq_worker: WorkerRunner, naq_inline: object) -> None:
    handle = await chord([double.s(n) for n in range(3)], total.s()).enqueue(queue)
    assert await handle.result(0) == 6
    assert await naq_worker.run_until_idle() == 0


async def test_a_queue_with_json_makes_json_of_tasks_too(settings: Settings, run_worker: RunWorker) -> None:
    strict = Settings.load(nats_url=settings.nats_url, namespace=settings.namespace, job_serializer="json")
    async with Queue("default", settings=strict) as queue:
        handle = await chord([double.s(n) for n in range(3)], total.s()).enqueue(queue)
        async with run_worker(settings=strict):
            assert await handle.result(10) == 6


async def test_a_job_that_was_added_and_fails_is_raised_by_the_result(queue: Queue, run_worker: RunWorker) -> None:
    handle = await chain(double.s(1)).enqueue(queue)
    seen: WorkflowHandle[Any] = await WorkflowHandle.open(handle.workflow_id, queue)
    await handle.add(queue.s(work.fail))
    async with run_worker():
        for each in (handle, seen):
            with pytest.raises(JobFailedError, match="boom"):
                await each.result(30)
            with pytest.raises(JobFailedError, match="boom"):
                await each.results(30)


async def test_nested_groups_keep_their_shape(queue: Queue, run_worker: RunWorker) -> None:
    nested = group(group(double.s(1), double.s(2)), chain(double.s(3), group(double.s())), group(group(double.s(4))))
    handle = await nested.enqueue(queue)
    then = await chain(nested, queue.s(work.returned)).enqueue(queue)
    one = await group(group(double.s(1)), double.s(2)).enqueue(queue)
    async with run_worker():
        assert await handle.result(30) == [[2, 4], [12], [[8]]]
        assert await then.result(30) == [[2, 4], [12], [[8]]]
        assert await one.result(30) == [[2], 4]


async def test_a_chain_is_as_it_was_after_an_enqueue_that_failed(queue: Queue, run_worker: RunWorker) -> None:
    job = queue.call(work.add, 5)
    flow = chain(double.s(1), job, describe.si(7))
    with pytest.raises(EncodeError):
        await chain(flow, queue.s(describe, threading.Lock())).enqueue(queue)
    handles = [await flow.enqueue(queue) for _ in range(2)]
    ids = {each.job_id for handle in handles for each in handle.jobs}
    assert len(ids) == 6, "each enqueue makes jobs of its own"
    async with run_worker():
        for handle in handles:
            assert await handle.result(30) == "7 g"
            assert set((await handle.results(30)).values()) == {2, 5, "7 g"}


async def test_a_chain_is_used_in_two_workflows_and_what_waits_for_its_jobs_waits_for_its_own(
    queue: Queue, run_worker: RunWorker
) -> None:
    first = queue.call(work.add, 5)
    part = group(first, queue.call(work.add, result_of(first), 1), queue.s(work.add, result_of(first), 2))
    flows = [Workflow("one"), Workflow("two")]
    for flow in flows:
        flow.add(part)
        flow.add(double.s(10), depends_on=first)
    for flow in flows:
        own = {job.job_id for job in flow.jobs}
        assert {parent.id for job in flow.jobs for parent in job.wiring.after} < own
    handles = [await flow.enqueue(queue) for flow in flows]
    async with run_worker():
        assert [sorted((await handle.results(30)).values()) for handle in handles] == [[5, 6, 7, 20]] * 2
        assert await first.result(30) == 5


async def test_a_job_is_in_a_workflow_once(queue: Queue) -> None:
    one, two, three = (queue.call(work.add, number) for number in range(3))
    with pytest.raises(WorkflowError, match="is given twice"):
        await group(one, one).enqueue(queue)
    flow = Workflow()
    flow.add(chain(two))
    with pytest.raises(WorkflowError, match="is given twice"):
        flow.add(chain(two))
    flow.add(three)
    flow.add(chain(three))
    with pytest.raises(WorkflowError, match="is given twice"):
        await flow.enqueue(queue)
