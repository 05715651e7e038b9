"""The pytest plugin that naq-core brings for the tests of its users."""

import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from naq_client import Queue, SyncQueue, chain, task
from naq_core import EncodeError, Job, JobFailedError, JobState, Settings, current_job, inspect, manage
from naq_core.connection import Connection
from naq_core.storage.topology import delete_namespace
from naq_core.testing import WorkerRunner, waiting_jobs
from tests.integration import work

AssertEnqueued = Callable[..., Awaitable[list[Job[Any]]]]


@task(queue="other")
async def twice(number: int) -> int:
    return 2 * number


async def parent(number: int) -> int:
    """Enqueue a job from a job, and wait for it."""
    job = await twice.enqueue(number)
    return await job.result(10)


async def test_run_until_idle_runs_all_queues_retries_and_what_jobs_enqueue(queue: Queue, naq_worker: WorkerRunner) -> None:
    job = await queue.options(max_retries=2, retry_delay=0.05).enqueue(work.fail_until, 3)
    nested = await queue.enqueue(enqueue_more)
    assert await naq_worker.run_until_idle() == 3 + 1 + 1
    assert await job.result(0) == 3
    assert await Job.fetch_result(await nested.result(0)) == 14
    assert await naq_worker.run_until_idle() == 0


async def enqueue_more() -> str:
    return (await twice.enqueue(7)).job_id


async def test_run_until_idle_leaves_other_queues_alone(
    queue: Queue, naq_worker: WorkerRunner, naq_connection: Connection
) -> None:
    await queue.enqueue(work.add, 1)
    await twice.enqueue(1)
    assert await naq_worker.run_until_idle("other") == 1
    assert [job.queue for job in await waiting_jobs(naq_connection)] == ["default"]


async def test_run_until_idle_gives_up_in_time(queue: Queue, naq_worker: WorkerRunner) -> None:
    await queue.enqueue(work.sleep, 30)
    with pytest.raises(TimeoutError):
        await naq_worker.run_until_idle(timeout=0.5)


async def test_enqueued_calls_are_found_by_function_arguments_and_queue(queue: Queue, assert_enqueued: AssertEnqueued) -> None:
    await assert_enqueued(work.add, count=0)
    first = await queue.enqueue(work.add, 1, b=2)
    await queue.enqueue(work.add, 3)
    await twice.enqueue(4)

    assert [job.job_id for job in await assert_enqueued(work.add, args=(1,), kwargs={"b": 2})] == [first.job_id]
    await assert_enqueued("tests.integration.work:add", count=2)
    await assert_enqueued(twice, args=[4], queue="other")
    with pytest.raises(AssertionError, match=r"expected 1 call of tests.integration.work:add with 5, found 0") as caught:
        await assert_enqueued(work.add, args=(5,), count=1)
    assert "  default: tests.integration.work:add(1, b=2)" in str(caught.value)
    with pytest.raises(AssertionError, match="on queue 'elsewhere'"):
        await assert_enqueued(work.add, queue="elsewhere")


@pytest.mark.usefixtures("naq_inline")
async def test_inline_a_job_has_run_when_enqueue_returns(queue: Queue) -> None:
    job = await queue.enqueue(work.add, 1, b=2)
    assert await job.status() is JobState.SUCCEEDED
    assert await job.result(0) == 3

    failed = await queue.enqueue(work.fail, "as it would for a worker")
    with pytest.raises(JobFailedError, match="as it would"):
        await failed.result(0)

    many = await queue.enqueue_many([queue.call(work.add, n) for n in range(5)])
    assert [await each.result(0) for each in many] == [0, 1, 2, 3, 4]


def mend(path: str) -> int:
    """Fail until the file exists."""
    return int(Path(path).read_text(encoding="utf-8"))


@pytest.mark.usefixtures("naq_inline")
async def test_inline_what_is_put_back_has_run_too(queue: Queue, tmp_path: Path) -> None:
    path = tmp_path / "here"
    alone = await queue.enqueue(mend, str(path))
    parent = await queue.enqueue(mend, str(path))
    child = await queue.options(depends_on=parent).enqueue(work.add, 1, b=2)
    flow = await chain(queue.s(mend, str(path)), queue.s(work.add, 1)).enqueue(queue)
    path.write_text("7", encoding="utf-8")
    for job in (alone, parent, child):
        assert await job.status() in {JobState.DEAD, JobState.CANCELLED}
        await manage.retry_job(await queue.connection(), job.job_id)
        assert await job.status() is JobState.SUCCEEDED
    assert await manage.retry_workflow(await queue.connection(), flow.workflow_id) == 2
    assert await flow.result(0) == 8


@pytest.mark.usefixtures("naq_inline")
async def test_inline_a_job_may_wait_for_jobs_it_enqueues(queue: Queue) -> None:
    job = await queue.enqueue(parent, 21)
    assert await job.result(0) == 42


@pytest.mark.usefixtures("naq_inline")
async def test_inline_arguments_and_results_are_copies(queue: Queue) -> None:
    given = {"key": [1, 2]}
    job = await queue.enqueue(change, given)
    assert await job.result(0) == {"key": [1, 2, 3]}
    assert given == {"key": [1, 2]}
    with pytest.raises(EncodeError):
        await queue.enqueue(change, (n for n in range(3)))


def change(given: dict[str, list[int]]) -> dict[str, list[int]]:
    given["key"].append(3)
    return given


@pytest.mark.usefixtures("naq_inline")
def test_inline_works_without_an_event_loop(settings: Settings) -> None:
    with SyncQueue(settings=settings) as queue:
        assert queue.enqueue(work.add, 4).result(0) == 4


@pytest.mark.usefixtures("naq_worker")
async def test_without_inline_nothing_runs_by_itself(queue: Queue) -> None:
    assert await (await queue.enqueue(work.add, 1)).status() is JobState.QUEUED


@pytest.mark.naq(default_queue="marked", concurrency=3)
async def test_the_marker_changes_settings(queue: Queue, naq_worker: WorkerRunner, naq_settings: Settings) -> None:
    assert queue.name == "marked"
    assert os.environ["NAQ_CONCURRENCY"] == "3"
    assert Settings.load() == naq_settings
    async with naq_worker.running("marked") as worker:
        assert worker.concurrency == 3
        assert await (await queue.enqueue(context_queue)).result(10) == "marked"


def context_queue() -> str:
    return current_job().queue


def test_the_plugin_serves_a_project_that_has_only_installed_it(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nasyncio_mode = auto\nasyncio_default_fixture_loop_scope = function\nfilterwarnings = error\n")
    pytester.makepyfile(
        """
        async def test_a(naq_queue, naq_worker, assert_enqueued):
            job = await naq_queue.enqueue(len, "abc")
            await assert_enqueued(len, args=("abc",), count=1)
            assert await naq_worker.run_until_idle() == 1
            assert await job.result(0) == 3

        def test_streams_are_gone(naq_server):
            assert not list(naq_server.store_dir.glob("jetstream/*/streams/t*"))
        """
    )
    result = pytester.runpytest_subprocess("-p", "no:randomly")
    result.assert_outcomes(passed=2)


SESSION_LOOP = """
    import pytest
    from naq_client import task

    pytestmark = pytest.mark.parametrize("number", [1, 2])

    @task
    def add(a, b): return a + b

    @pytest.mark.asyncio(loop_scope="session")
    async def test_async(naq_settings, number):
        job = await add.enqueue(1, 2)
        assert (await job.connection.here()).settings.namespace == naq_settings.namespace

    @pytest.mark.asyncio(loop_scope="session")
    async def test_worked_off(naq_worker, number):
        job = await add.enqueue(1, 2)
        assert await naq_worker.run_until_idle() == 1
        assert await job.result(5) == 3

    def test_sync(naq_settings, number):
        job = add.enqueue_sync(1, 2)
        assert job.job.connection.settings.namespace == naq_settings.namespace
        assert job.status() == "queued"
"""


def test_tests_are_isolated_with_the_sync_client_and_on_the_session_loop(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = session\nfilterwarnings = error\n")
    pytester.makepyfile(SESSION_LOOP)
    pytester.runpytest_subprocess().assert_outcomes(passed=6)


def test_a_run_that_uses_no_fixture_imports_nothing_of_naq(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import sys

        def test_it(pytestconfig):
            assert pytestconfig.pluginmanager.has_plugin("naq")
            assert not {name.partition(".")[0] for name in sys.modules} & {"naq_core", "naq_client", "nats"}
        """
    )
    pytester.runpytest_subprocess("-p", "no:schemathesis").assert_outcomes(passed=1)


def test_without_pytest_asyncio_the_fixtures_say_what_to_install(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import asyncio, sys

        def test_none(naq_server, naq_namespace):
            assert naq_server.is_running

        def test_queue(naq_queue):
            pass
        """
    )
    pytester.makepyfile(hide="import sys; sys.modules['pytest_asyncio'] = None")
    result = pytester.runpytest_subprocess("-p", "hide", "-p", "no:asyncio", "-p", "no:randomly")
    result.assert_outcomes(passed=1, errors=1)


def test_a_missing_package_is_named_with_its_pip_line(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\nasyncio_mode = auto\n")
    pytester.makepyfile("async def test_worker(naq_worker):\n    await naq_worker.running().__aenter__()\n")
    pytester.makepyfile(hide="import sys; sys.modules['naq_worker'] = None")
    result = pytester.runpytest_subprocess("-p", "hide")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*naq_worker: needs naq-worker, which is not installed: pip install naq-worker*"])


@pytest.mark.usefixtures("naq_inline")
async def test_inline_a_workflow_has_run_when_enqueue_returns(queue: Queue) -> None:
    flow = await chain(queue.s(work.add, 1), queue.s(work.add, b=2)).enqueue(queue)
    assert await flow.result(0) == 3


async def test_delayed_jobs_are_left_until_told(queue: Queue, naq_worker: WorkerRunner, naq_connection: Connection) -> None:
    job = await queue.enqueue_in(3600, work.add, 1)
    assert await naq_worker.run_until_idle() == 0
    await manage.run_now(naq_connection, job.job_id)
    assert await naq_worker.run_until_idle() == 1
    assert await job.result(0) == 1


async def test_deleting_a_namespace_leaves_those_whose_names_begin_with_its_own(settings: Settings) -> None:
    longer = Settings(nats_url=settings.nats_url, namespace=f"{settings.namespace}_b")
    async with Connection(settings) as short, Connection(longer) as other:
        await manage.apply_topology(short, ["default"])
        await manage.apply_topology(other, ["default"])
        await delete_namespace(short)
        assert {item.state for item in await inspect.check_topology(short, [])} == {"missing"}
        assert {item.state for item in await inspect.check_topology(other, ["default"])} == {"ok"}
        await delete_namespace(other)
