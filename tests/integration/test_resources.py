"""Resources: opened where a job needs them, given to its function, closed at the end."""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import pytest

from naq_client import Queue, gather
from naq_core import JobFailedError, inspect
from naq_core.errors import EncodeError, InvalidCallError, InvalidOptionError, ResourceError
from naq_core.resources import override, resource
from naq_core.testing import WorkerRunner
from tests.conftest import RunWorker
from tests.support import resource_jobs as jobs
from tests.support.eventually import eventually

SLOW = 60.0


@pytest.fixture(autouse=True)
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What happens in this process; child processes write it to a file."""
    monkeypatch.setenv("RESOURCE_LOG", str(tmp_path / "log"))
    jobs.Log.lines = []
    jobs.Gate.failures, jobs.Gate.opens, jobs.Gate.lines = 0, None, []
    return jobs.Log.lines


def lines(tmp_path: Path) -> list[str]:
    return (tmp_path / "log").read_text().splitlines()


@pytest.mark.parametrize("process", [False, True])
async def test_one_of_the_process_is_opened_once_for_all_kinds_of_functions(
    process: bool, queue: Queue, naq_worker: WorkerRunner, tmp_path: Path
) -> None:
    options = queue.options(process=process)
    found = [await options.enqueue(jobs.use, n) for n in range(3)]
    found += [await options.enqueue(jobs.use_in_thread, n, True) for n in range(3)]
    found += [await options.enqueue(jobs.declared, 4, flag=True), await options.enqueue("tests.support.resource_jobs:use", 5)]
    await naq_worker.run_until_idle(processes=1)
    results = await gather(*found, timeout=SLOW)
    assert [each[:2] for each in results] == [[n, f] for f in (False, True) for n in range(3)] + [[4, True], [5, False]]
    assert sorted(each[2] for each in results) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert all(each[3:] == [True, True] for each in results)
    assert lines(tmp_path) == ["pool opens", "pool closes"]


async def test_all_who_ask_while_it_is_opened_wait_for_the_same(queue: Queue, run_worker: RunWorker, log: list[str]) -> None:
    jobs.Gate.opens = asyncio.Event()
    impatient = await queue.options(timeout=0.05, max_retries=0).enqueue(jobs.use, 0)
    patient = [await queue.enqueue(jobs.use, n) for n in range(4)]
    async with run_worker():
        with pytest.raises(JobFailedError, match="AttemptTimeoutError"):
            await impatient.result(SLOW)
        jobs.Gate.opens.set()
        assert sorted(each[2] for each in await gather(*patient, timeout=SLOW)) == [1, 2, 3, 4]
        assert log == ["pool opens"]
    assert log == ["pool opens", "pool closes"]


async def test_a_failure_to_open_is_that_attempts_error_and_names_it(
    queue: Queue, naq_worker: WorkerRunner, log: list[str]
) -> None:
    jobs.Gate.failures = 2
    job = await queue.options(max_retries=2, retry_delay=0, retry_on=[ConnectionError]).enqueue(jobs.predict)
    await naq_worker.run_until_idle()
    assert await job.result(SLOW) == ["model of Pool"] * 2
    errors = (await inspect.get_job(await queue.connection(), job.job_id)).errors
    assert [each.type for each in errors] == ["ConnectionError"] * 2
    assert {each.message for each in errors} == {"no database (raised in the resource tests.support.resource_jobs:pool)"}
    assert errors[0].traceback.count("File ") == 1
    assert log == ["pool opens", "pool opens", "pool opens", "model opens", "model closes", "pool closes"]


async def test_an_error_while_closing_is_logged_and_the_others_are_closed(
    queue: Queue, naq_worker: WorkerRunner, log: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    job = await queue.options(process=False).enqueue(jobs.predict)
    await naq_worker.run_until_idle()
    assert await job.result(SLOW) == ["model of Pool"] * 2
    assert log[-2:] == ["model closes", "pool closes"]
    assert "resource tests.support.resource_jobs:open_model could not be closed" in caplog.text
    assert "it does not close" in caplog.text


FUNCTIONS = [jobs.change, jobs.change_in_thread]


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("process", [False, True])
async def test_one_of_the_attempt_sees_how_it_ends(
    function: Any, process: bool, queue: Queue, naq_worker: WorkerRunner, tmp_path: Path
) -> None:
    options = queue.options(process=process, max_retries=0)
    done, failed, again = [await options.enqueue(function, what) for what in ("work", "fail", "retry")]
    await naq_worker.run_until_idle(concurrency=1, processes=1)
    assert await done.result(SLOW) == "work"
    with pytest.raises(JobFailedError, match=r"ValueError: wrong$"):
        await failed.result(SLOW)
    with pytest.raises(JobFailedError):
        await again.result(SLOW)
    assert lines(tmp_path) == [
        "pool opens",
        *("begin attempt 1", "work in transaction 1", "end", "commit"),
        *("begin attempt 1", "fail in transaction 2", "end", "rollback after ValueError('wrong')"),
        *("begin attempt 1", "retry in transaction 3", "end", "rollback after Retry(0, '')"),
        "pool closes",
    ]
    (error,) = (await inspect.get_job(await queue.connection(), failed.job_id)).errors
    assert "resource" not in error.message
    assert error.traceback.count("File ") == 2


async def test_a_plain_one_of_the_attempt_is_opened_in_the_thread_of_the_function(
    queue: Queue, naq_worker: WorkerRunner, log: list[str]
) -> None:
    done = await queue.enqueue(jobs.session_in_thread, "work")
    broken = await queue.options(max_retries=0).enqueue(jobs.use_broken)
    await naq_worker.run_until_idle()
    assert await done.result(SLOW) == "work"
    with pytest.raises(JobFailedError, match=r"the disk is full \(raised in the resource tests\S+:_broken_at_the_end\)"):
        await broken.result(SLOW)
    assert log == ["pool opens", "work in -", "commit", "pool closes"]


async def test_an_argument_for_it_is_refused(queue: Queue) -> None:
    with pytest.raises(
        InvalidCallError, match=r"do not fit .*:use\(order: int, \*, flag: bool = False\).*opens the resource \S+:pool"
    ):
        await queue.enqueue(jobs.use, 1, db=2)
    with pytest.raises(InvalidCallError, match="too many positional arguments"):
        await jobs.declared.enqueue(1, jobs.Pool())
    with pytest.raises(InvalidCallError, match="missing a required argument: 'order'"):
        await queue.enqueue(jobs.use_in_thread)


@pytest.mark.naq(job_serializer="json", allowed_functions=("tests.support.resource_jobs:*",))
async def test_json_arguments_are_those_around_it(queue: Queue, naq_worker: WorkerRunner) -> None:
    job = await queue.enqueue(jobs.use_in_thread, 1, True)
    with pytest.raises(EncodeError, match="argument 'flag'"):
        await queue.enqueue(jobs.use_in_thread, 1, "yes")
    await naq_worker.run_until_idle()
    assert await job.result(SLOW) == [1, True, 1, True, True]


async def test_a_job_is_executed_with_them(queue: Queue, log: list[str]) -> None:
    assert await queue.call(jobs.use, 1, flag=True).execute() == [1, True, 1, True, True]
    assert await queue.call(jobs.use_in_thread, 1, True).execute() == [1, True, 1, True, True]
    with pytest.raises(OSError, match="the disk is full"):
        await queue.call(jobs.use_broken).execute()
    assert log == ["pool opens", "pool closes"] * 2


class Fake:
    """A value for tests."""

    is_open, process = "fake", 0

    def use(self) -> int:
        return 99


@pytest.mark.parametrize("process", [False, True])
async def test_a_test_can_give_another_value(process: bool, queue: Queue, naq_worker: WorkerRunner, tmp_path: Path) -> None:
    with override(jobs.pool, Fake()), override(jobs.pool, "hidden"), override(jobs.pool, Fake()), override(jobs.session, 3):
        job = await queue.options(process=process).enqueue(jobs.use, 1)
        await naq_worker.run_until_idle()
        assert await job.result(SLOW) == [1, False, 99, False, "fake"]
        assert (await queue.call(jobs.use, 1).execute())[2] == 99
    assert not (tmp_path / "log").exists()
    with pytest.raises(InvalidOptionError, match=r"override: takes what resource\(…\) has returned"), override(Fake, Fake()):
        pass


async def test_an_override_that_does_not_pickle_is_refused_in_child_processes(queue: Queue, naq_worker: WorkerRunner) -> None:
    with override(jobs.pool, threading.Lock()):
        job = await queue.options(process=True, max_retries=0).enqueue(jobs.use, 1)
        await naq_worker.run_until_idle()
    with pytest.raises(JobFailedError, match=r"what overrides tests\.support\.resource_jobs:pool cannot be pickled"):
        await job.result(SLOW)


async def test_one_that_ends_by_itself_is_opened_again(
    queue: Queue, run_worker: RunWorker, caplog: pytest.LogCaptureFixture
) -> None:
    async with run_worker():
        assert await (await queue.enqueue(jobs.use_line)).result(SLOW) == 1
        jobs.Gate.lines[0].set()
        await eventually(lambda: "has failed while it was open" in caplog.text)
        assert await (await queue.enqueue(jobs.use_line)).result(SLOW) == 2


async def test_one_that_travels_by_value_lives_for_an_attempt(queue: Queue, naq_worker: WorkerRunner) -> None:
    def number() -> Iterator[int]:
        yield 7

    of_the_process, of_the_attempt = resource(number), resource(number, scope="attempt")

    def shared(value: int = of_the_process) -> int:
        return value

    def own(value: int = of_the_attempt) -> int:
        return value

    def imported(db: Any = jobs.pool) -> Any:
        return db.use()

    with pytest.raises(EncodeError, match=r"must be importable there: move it to a module"):
        await queue.enqueue(shared)
    job = await queue.enqueue(own)
    sharing = [await queue.enqueue(imported) for _ in range(2)]
    await naq_worker.run_until_idle(concurrency=1)
    assert await job.result(SLOW) == 7
    assert await gather(*sharing, timeout=SLOW) == [1, 2]


async def test_a_loop_that_a_job_stops_takes_them_along(queue: Queue, naq_worker: WorkerRunner, tmp_path: Path) -> None:
    options = queue.options(process=True, max_retries=0)
    found = [await options.enqueue(each) for each in (jobs.stop_the_loop, jobs.predict)]
    await naq_worker.run_until_idle(concurrency=1, processes=1)
    assert await found[1].result(SLOW) == ["model of Pool"] * 2
    assert lines(tmp_path) == ["pool opens", "pool opens", "model opens", "model closes", "pool closes"]


def test_what_cannot_be_one_is_refused() -> None:
    async def returns() -> int:
        return 1

    wrong: Any
    for wrong in (3, returns, resource(jobs.Pool)):
        with pytest.raises(InvalidOptionError, match="resource"):
            resource(wrong)
    with pytest.raises(InvalidOptionError, match="scope: 'job' is not one of process, attempt"):
        resource(jobs.Pool, scope="job")  # type: ignore[call-overload]


async def test_what_cannot_be_opened_says_why(queue: Queue) -> None:
    one = resource(lambda: 1)
    long = resource(lambda value=jobs.session: value)

    def positional(value: int = one, /) -> int:
        return value

    def not_open(value: int = one) -> int:
        return value

    def too_short(value: Annotated[Any, long]) -> Any:
        return value

    for function, problem in (
        (positional, "parameter 'value' cannot be given by its name"),
        (not_open, "takes a generator function or what returns a context manager, not 1"),
        (too_short, r"is open longer than \S+:Session, which it needs"),
    ):
        with pytest.raises(ResourceError, match=problem):
            await queue.call(function).execute()
    with pytest.raises(AttributeError, match="is opened for jobs and"):
        await jobs.use(1)
