"""Middleware around each attempt."""

import dataclasses
import threading
from pathlib import Path
from typing import Any

import pytest

from naq_client import Queue, task
from naq_core import ConfigurationError, InvalidOptionError, Job, JobCancelledError, JobFailedError, Settings, inspect
from naq_worker import Worker
from tests.conftest import RunWorker
from tests.support import onion

SLOW = 60.0
HERE = "tests.support.onion"


@pytest.mark.naq(middleware=(f"{HERE}:Inner", f"{HERE}:Outer"))
@pytest.mark.parametrize("function", [onion.look, onion.look_in_a_thread, onion.look_with_a_loop])
@pytest.mark.parametrize("process", [False, True])
async def test_it_is_around_every_kind_of_function(function: Any, process: bool, queue: Queue, run_worker: RunWorker) -> None:
    """The async ones outside; a plain one in the function's thread; both set context variables for it."""
    job = await queue.options(process=process).enqueue(function)
    async with run_worker():
        assert await job.result(SLOW) == ["outer", ["inner", [("outer", "inner"), True]]]


OUTCOMES: dict[str, object] = {
    "skip": "skipped",
    "fail once": 2,
    "snooze": 1,
    "retry": 2,
    "catch": "caught boom",
    "cancel": JobCancelledError("", "not wanted"),
    "fail": JobFailedError,
    "twice": JobFailedError,
}


@pytest.mark.naq(middleware=(f"{HERE}:Stamp",))
@pytest.mark.parametrize("what", OUTCOMES)
@pytest.mark.parametrize("process", [False, True])
async def test_it_decides_the_outcome(what: str, process: bool, queue: Queue, run_worker: RunWorker) -> None:
    options = queue.options(headers={"do": what}, max_retries=1, retry_delay=0.01, retry_on=[OSError], process=process)
    job = await options.enqueue(onion.fail if what == "catch" else onion.attempt_number)
    expected = OUTCOMES[what]
    async with run_worker():
        if isinstance(expected, JobCancelledError):
            with pytest.raises(JobCancelledError, match="not wanted"):
                await job.result(SLOW)
        elif expected is JobFailedError:
            with pytest.raises(JobFailedError, match=r"raised in the middleware tests\.support\.onion:Stamp"):
                await job.result(SLOW)
        else:
            assert await job.result(SLOW) == expected


@pytest.mark.naq(middleware=(f"{HERE}:Stamp",))
async def test_its_error_is_the_attempts_with_its_name(queue: Queue, run_worker: RunWorker) -> None:
    job = await queue.options(headers={"do": "fail"}).enqueue(onion.attempt_number)
    async with run_worker():
        with pytest.raises(JobFailedError):
            await job.result(SLOW)
    (error,) = (await inspect.get_job(await queue.connection(), job.job_id)).errors
    assert error.type == "ValueError"
    assert error.message == f"no luck (raised in the middleware {HERE}:Stamp)"
    assert error.traceback.count("File ") == 1
    assert 'raise ValueError("no luck")' in error.traceback


@pytest.mark.naq(middleware=(f"{HERE}:Inner", f"{HERE}:Outer"))
@pytest.mark.parametrize("function", [onion.fail, onion.fail_async, onion.stop])
@pytest.mark.parametrize("process", [False, True])
async def test_an_error_of_the_function_passes_through_as_it_is(
    function: Any, process: bool, queue: Queue, run_worker: RunWorker
) -> None:
    job = await queue.options(process=process).enqueue(function)
    async with run_worker():
        with pytest.raises(JobFailedError):
            await job.result(SLOW)
    (error,) = (await inspect.get_job(await queue.connection(), job.job_id)).errors
    assert "middleware" not in error.message
    if function is not onion.stop:  # a StopIteration becomes a RuntimeError on its way
        assert error.type == "ValueError"
        assert error.traceback.count("File ") == 1


async def test_a_time_out_is_a_cancellation_for_it(settings: Settings, run_worker: RunWorker) -> None:
    watching = onion.Watching()
    settings = dataclasses.replace(settings, middleware=(watching,))
    async with Queue(settings=settings) as queue, run_worker(settings=settings):
        job = await queue.options(timeout=0.05).enqueue(onion.sleep, 3600)
        with pytest.raises(JobFailedError, match="AttemptTimeoutError"):
            await job.result(SLOW)
        assert watching.ends == ["CancelledError"]


@pytest.mark.parametrize("function", [onion.fork, onion.fork_in_the_loop])
async def test_what_a_job_forks_does_not_leave_it_again(
    function: Any, settings: Settings, run_worker: RunWorker, tmp_path: Path
) -> None:
    settings = dataclasses.replace(settings, middleware=(onion.Noting(tmp_path / "left"),))
    async with Queue(settings=settings) as queue, run_worker(settings=settings):
        job = await queue.options(process=True).enqueue(function)
        assert await job.result(SLOW) == 1
    assert (tmp_path / "left").read_text() == "left\n"


@pytest.mark.naq(middleware=(f"{HERE}:Mail",))
async def test_it_may_be_for_some_queues_only(queue: Queue, run_worker: RunWorker) -> None:
    async with Queue("mail", connection=await queue.connection()) as mail, run_worker("mail", "default"):
        jobs = [await mail.enqueue(onion.headers), await queue.enqueue(onion.headers)]
        assert [await job.result(SLOW) for job in jobs] == [["mail", {"mail": "1"}], {}]


@pytest.mark.naq(middleware=(f"{HERE}:Inner",))
@pytest.mark.parametrize("process", [False, True])
async def test_that_of_a_task_is_inside_that_of_the_settings(process: bool, queue: Queue, run_worker: RunWorker) -> None:
    jobs = [await queue.options(process=process).enqueue(each) for each in (onion.owned, f"{HERE}:owned")]
    async with run_worker():
        for job in jobs:
            assert await job.result(SLOW) == ["inner", ["own", {"own": "1"}]]


@pytest.mark.parametrize("process", [False, True])
async def test_it_can_be_given_as_an_object(process: bool, settings: Settings, run_worker: RunWorker) -> None:
    settings = dataclasses.replace(settings, middleware=(onion.Own("a"), onion.Own))
    async with Queue(settings=settings) as queue, run_worker(settings=settings):
        job: Job[Any] = await queue.options(process=process).enqueue(onion.headers)
        assert await job.result(SLOW) == ["a", ["own", {"a": "1", "own": "1"}]]


async def test_what_cannot_be_handed_to_a_child_process_is_said(settings: Settings, run_worker: RunWorker) -> None:
    stuck = onion.Own("stuck")
    stuck.lock = threading.Lock()  # type: ignore[attr-defined]
    settings = dataclasses.replace(settings, middleware=(stuck,))
    async with Queue(settings=settings) as queue, run_worker(settings=settings):
        job: Job[Any] = await queue.enqueue(onion.headers)
        assert await job.result(SLOW) == ["stuck", {"stuck": "1"}]
        job = await queue.options(process=True).enqueue(onion.headers)
        with pytest.raises(JobFailedError, match=r"middleware tests\.support\.onion:Own cannot be pickled.*by its name"):
            await job.result(SLOW)


WRONG: dict[str, str] = {
    "tests.support.nowhere:Tracing": "cannot be imported: ModuleNotFoundError",
    f"{HERE}:Nothing": "cannot be imported: AttributeError",
    f"{HERE}:look": "has neither a method enqueue nor a method attempt",
    f"{HERE}:NoGenerator": r"its attempt is not a generator with one yield: def attempt\(self, attempt\)",
    f"{HERE}:NeedsArguments": "cannot be made without arguments",
    f"{HERE}:OneQueue": "its queues must be a list of names, not 'mail'",
}


@pytest.mark.parametrize("name", WRONG)
async def test_a_wrong_one_is_refused_when_the_worker_starts(name: str, settings: Settings) -> None:
    worker = Worker(["default"], settings=dataclasses.replace(settings, middleware=(name,)))
    with pytest.raises(ConfigurationError, match=f"{name} {WRONG[name]}"):
        await worker.run()


@pytest.mark.parametrize("given", ["shop.naq", "shop:1", 3, [3], [object()]])
def test_what_is_no_middleware_is_refused_at_once(given: Any) -> None:
    with pytest.raises(ConfigurationError, match="middleware"):
        Settings(middleware=given)
    with pytest.raises(InvalidOptionError, match="middleware"):
        task(middleware=given)


def test_settings_tell_other_processes_its_names() -> None:
    given = Settings(middleware=(f"{HERE}:Inner", f" {HERE}:Outer")).as_environment()
    assert given == {"NAQ_MIDDLEWARE": f"{HERE}:Inner,{HERE}:Outer"}
    mixed = Settings(middleware=(onion.Own, onion.Own("a")))
    assert mixed.as_environment() == {"NAQ_MIDDLEWARE": f"{HERE}:Own"}
    assert Settings(middleware=(onion.Own("a"),)).as_environment() == {}
