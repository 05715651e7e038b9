"""The middleware for Django, Flask and SQLAlchemy, with the real libraries."""

from typing import Any

import pytest

from naq_client import Queue
from naq_core import JobFailedError
from naq_core.testing import WorkerRunner
from tests.support import frameworks

SLOW = 60.0
HERE = "tests.support.frameworks"


@pytest.mark.naq(middleware=("naq_core.contrib.django:django",))
@pytest.mark.parametrize("process", [False, True])
@pytest.mark.parametrize("function", [frameworks.query, frameworks.query_async])
async def test_django_closes_its_connections_after_each_attempt(
    function: Any, process: bool, queue: Queue, naq_worker: WorkerRunner
) -> None:
    jobs = [await queue.options(process=process).enqueue(function) for _ in range(3)]
    await naq_worker.run_until_idle(concurrency=1, processes=1)
    assert [(await job.result(SLOW))[:2] for job in jobs] == [[False, 1]] * 3


async def test_without_it_django_keeps_them(queue: Queue, naq_worker: WorkerRunner) -> None:
    jobs = [await queue.enqueue(frameworks.query) for _ in range(2)]
    closes = await queue.enqueue(frameworks.close)  # otherwise Python warns of the connection, in whatever test runs by then
    await naq_worker.run_until_idle(concurrency=1)
    assert [(await job.result(SLOW))[:2] for job in jobs] == [[False, 1], [True, 2]]
    assert await closes.result(SLOW) == "closed"


@pytest.mark.naq(middleware=(f"{HERE}:in_app",))
@pytest.mark.parametrize("function", [frameworks.in_flask, frameworks.in_flask_async])
async def test_flask_has_a_context_for_each_attempt(function: Any, queue: Queue, naq_worker: WorkerRunner) -> None:
    frameworks.ENDS.clear()
    done = [await queue.enqueue(function, f"job {number}") for number in range(3)]
    failed = await queue.options(max_retries=0).enqueue(function, "fail")
    child = await queue.options(process=True).enqueue(function, "child")
    await naq_worker.run_until_idle()
    for job in (*done, child):
        assert (await job.result(SLOW)).startswith("shop ")
    with pytest.raises(JobFailedError, match="ValueError: fail"):
        await failed.result(SLOW)
    assert sorted(frameworks.ENDS) == ["fail: ValueError('fail')", "job 0: None", "job 1: None", "job 2: None"]


@pytest.mark.naq(middleware=(f"{HERE}:remove", f"{HERE}:remove_async"))
@pytest.mark.parametrize("process", [False, True])
@pytest.mark.parametrize("function", [frameworks.count_rows, frameworks.count_rows_async])
async def test_sqlalchemy_forgets_the_session_of_an_attempt(
    function: Any, process: bool, queue: Queue, naq_worker: WorkerRunner
) -> None:
    first, failed, second = [
        await queue.options(process=process, max_retries=0).enqueue(function, fail) for fail in (False, True, False)
    ]
    await naq_worker.run_until_idle(concurrency=1, processes=1)
    with pytest.raises(JobFailedError, match="ValueError: no"):
        await failed.result(SLOW)
    rows, sessions = await first.result(SLOW)
    assert sessions == 1
    assert await second.result(SLOW) == [rows + 1, 1]  # what failed was rolled back, its session removed
    assert frameworks.open_sessions() == 0
