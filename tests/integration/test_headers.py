"""Headers and tags: they travel with a job, and everybody who sees the job sees them."""

from typing import Any

import pytest

from naq_client import Queue, chain, task
from naq_core import JobFailedError, JobState, current_job, inspect, manage
from naq_core.errors import InvalidOptionError
from naq_core.option_set import OptionSet
from naq_core.schedules import make_named_spec
from naq_core.schedules.store import put_schedule, trigger_schedule
from tests.conftest import RunWorker

SLOW = 60.0
HEADERS = {"customer": "4711", "note": "two words, ü"}
TAGS = ("billing", "vip")
HERE = "tests.integration.test_headers"

pytestmark = pytest.mark.naq(signing_key=("k" * 32,))


async def seen() -> tuple[dict[str, str], tuple[str, ...]]:
    return dict(current_job().headers), current_job().tags


def seen_in_a_thread() -> tuple[dict[str, str], tuple[str, ...]]:
    return dict(current_job().headers), current_job().tags


def fail() -> None:
    raise ValueError("boom")


@task(tags=["nightly"], headers={"team": "web"})
async def declared() -> tuple[dict[str, str], tuple[str, ...]]:
    return await seen()


@pytest.mark.parametrize(("function", "process"), [(seen, False), (seen_in_a_thread, False), (seen_in_a_thread, True)])
async def test_a_job_sees_them_wherever_it_runs(function: Any, process: bool, queue: Queue, run_worker: RunWorker) -> None:
    job = await queue.options(headers=HEADERS, tags=TAGS, process=process).enqueue(function)
    async with run_worker():
        assert await job.result(SLOW) == (HEADERS, TAGS)


async def test_views_have_them_from_the_enqueue_on(queue: Queue, run_worker: RunWorker) -> None:
    connection = await queue.connection()
    job = await queue.options(headers=HEADERS, tags=TAGS).enqueue(fail)
    waiting = await inspect.get_job(connection, job.job_id)
    async with run_worker():
        with pytest.raises(JobFailedError):
            await job.result(SLOW)
    dead = await inspect.get_job(connection, job.job_id)
    await manage.retry_job(connection, job.job_id)
    again = await inspect.get_job(connection, job.job_id)
    assert [view.state for view in (waiting, dead, again)] == [JobState.QUEUED, JobState.DEAD, JobState.QUEUED]
    assert [(view.headers, view.tags) for view in (waiting, dead, again)] == [(HEADERS, TAGS)] * 3


async def test_a_job_that_never_ran_keeps_them(queue: Queue) -> None:
    connection = await queue.connection()
    job = await queue.options(headers=HEADERS, tags=TAGS, delay=3600).enqueue(seen)
    assert await job.cancel() is not None
    view = await inspect.get_job(connection, job.job_id)
    assert (view.state, view.headers, view.tags) == (JobState.CANCELLED, HEADERS, TAGS)


async def test_a_task_a_workflow_and_a_schedule_have_them(queue: Queue, run_worker: RunWorker) -> None:
    connection = await queue.connection()
    job = await queue.enqueue(declared)
    flow = await chain(declared.si(), declared.options(tags=["last"]).si()).enqueue(queue)
    spec = make_named_spec(
        f"{HERE}:seen", cron="@daily", schedule_id="daily", options={"headers": "customer=4711 b=c", "tags": "x,y"}
    )
    await put_schedule(connection, spec)
    fired = await trigger_schedule(connection, "daily")
    async with run_worker():
        assert await job.result(SLOW) == ({"team": "web"}, ("nightly",))
        assert await flow.result(SLOW) == ({"team": "web"}, ("last",))
        assert await (await queue.job(fired)).result(SLOW) == ({"customer": "4711", "b": "c"}, ("x", "y"))


@pytest.mark.parametrize(
    "given",
    [
        {"tags": [""]},
        {"tags": ["a,b"]},
        {"tags": ["x" * 65]},
        {"tags": [3]},
        {"tags": [str(n) for n in range(33)]},
        {"tags": 3},
        {"headers": ["a"]},
        {"headers": {"a b": "x"}},
        {"headers": {"a": 1}},
        {"headers": {"a": "\ud800"}},
        {"headers": {"a": "x" * 8193}},
        {"headers": {str(n): "" for n in range(65)}},
    ],
)
def test_wrong_ones_are_refused(given: dict[str, Any]) -> None:
    with pytest.raises(InvalidOptionError, match=next(iter(given))):
        OptionSet(given)
