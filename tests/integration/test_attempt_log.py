"""What the worker logs of attempts: their ends, with traceback and the job's fields."""

import asyncio
import logging
import pickle
import re
import subprocess
import sys
import textwrap
import traceback
from pathlib import Path

import pytest

from naq_client import Queue
from naq_core import JobFailedError, Settings, errors
from naq_worker._executors.frames import ended, outcome_of
from naq_worker.outcome import Failed
from tests.cli.commands import environment
from tests.conftest import RunWorker
from tests.integration import work
from tests.support.eventually import eventually

LOG = "naq_worker.jobs"


def of(caplog: pytest.LogCaptureFixture, job_id: str) -> list[logging.LogRecord]:
    return [each for each in caplog.records if each.name == LOG and vars(each)["job_id"] == job_id]


@pytest.mark.parametrize("process", [False, True])
async def test_a_failing_attempt_is_logged_with_its_traceback(
    queue: Queue, run_worker: RunWorker, caplog: pytest.LogCaptureFixture, process: bool
) -> None:
    job = await queue.options(process=process, max_retries=1, retry_delay=0.01).enqueue(work.fail, "no luck")
    with caplog.at_level(logging.INFO):
        async with run_worker():
            with pytest.raises(JobFailedError):
                await job.result(20)
    first, last = of(caplog, job.job_id)
    name = "tests.integration.work:fail"
    assert (
        first.getMessage()
        == f"job {job.job_id} ({name}) failed at attempt 1 of 2 and will be retried in 0.01 s: ValueError: no luck"
    )
    assert last.getMessage() == f"job {job.job_id} ({name}) failed for good at attempt 2 of 2: ValueError: no luck"
    assert [each.levelname for each in (first, last)] == ["WARNING", "ERROR"]
    fields = {"job_id": job.job_id, "function": name, "queue": job.queue}
    assert vars(first).items() >= {**fields, "attempt": 1, "retry_in": 0.01}.items()
    assert vars(last).items() >= {**fields, "attempt": 2}.items()
    for record in (first, last):
        assert record.exc_info is not None
        assert isinstance(record.exc_info[1], JobFailedError if process else ValueError)
        shown = logging.Formatter().format(record)
        assert shown.count("Traceback (most recent call last)") == shown.count("raise ValueError(message)") == 1
        assert "naq_worker" not in shown, "our own frames are left out"


@pytest.mark.parametrize("process", [False, True])
async def test_starts_and_successes_are_for_debugging(
    queue: Queue, run_worker: RunWorker, caplog: pytest.LogCaptureFixture, process: bool
) -> None:
    with caplog.at_level(logging.DEBUG, LOG):
        jobs = [await queue.options(process=process, fast=fast).enqueue(work.add, 1) for fast in (False, True)]
        async with run_worker():
            await eventually(lambda: all_said(caplog, [job.job_id for job in jobs]))
    for job in jobs:
        started, succeeded = of(caplog, job.job_id)
        assert started.getMessage().endswith("(tests.integration.work:add) starts, attempt 1")
        assert re.search(r"\(tests\.integration\.work:add\) succeeded in \d+\.\d{3} s$", succeeded.getMessage())
        assert {each.levelno for each in (started, succeeded)} == {logging.DEBUG}
        assert vars(succeeded)["attempt"] == 1


def all_said(caplog: pytest.LogCaptureFixture, job_ids: list[str]) -> None:
    assert all(len(of(caplog, each)) == 2 for each in job_ids)


@pytest.mark.parametrize("process", [False, True])
async def test_a_cancellation_is_no_failure(
    queue: Queue, run_worker: RunWorker, caplog: pytest.LogCaptureFixture, tmp_path: Path, process: bool
) -> None:
    by_itself = await queue.options(process=process).enqueue(work.control, "cancel")
    job = await queue.options(process=process).enqueue(work.log_lines, 1, str(tmp_path / "never"))
    with caplog.at_level(logging.INFO):
        async with run_worker():
            await eventually(lambda: lines_are_there(caplog))
            await job.cancel()
            for each in (job, by_itself):
                with pytest.raises(errors.JobCancelledError):
                    await each.result(20)
            await eventually(lambda: is_said(caplog, job.job_id))
    assert [each.levelname for each in of(caplog, job.job_id)] == ["INFO"]
    assert of(caplog, job.job_id)[0].getMessage() == f"job {job.job_id} (tests.integration.work:log_lines) was cancelled"
    assert [each.getMessage().split(") ")[1] for each in of(caplog, by_itself.job_id)] == ["was cancelled: no need"]
    assert not [each for each in caplog.records if each.levelno > logging.INFO and each.name.startswith("naq")]


def lines_are_there(caplog: pytest.LogCaptureFixture) -> None:
    assert "line 1 of 1" in caplog.text


def is_said(caplog: pytest.LogCaptureFixture, job_id: str) -> None:
    assert of(caplog, job_id)


async def test_names_that_a_programs_own_record_factory_sets_do_no_harm(
    queue: Queue, run_worker: RunWorker, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = logging.getLogRecordFactory()

    def factory(*args: object, **kwargs: object) -> logging.LogRecord:
        record = before(*args, **kwargs)
        vars(record).update(job_id="", queue="request 7")
        return record

    monkeypatch.setattr(logging, "_logRecordFactory", factory)
    job = await queue.enqueue(work.fail)
    async with run_worker():
        with pytest.raises(JobFailedError):
            await job.result(10)
    (record,) = of(caplog, job.job_id)
    assert vars(record)["queue"] == job.queue


async def test_the_error_of_a_job_carries_its_traceback_once(queue: Queue, run_worker: RunWorker) -> None:
    job = await queue.enqueue(work.fail, "no luck")
    async with run_worker():
        with pytest.raises(JobFailedError, match="failed with ValueError: no luck") as caught:
            await job.result(10)
        with pytest.raises(JobFailedError) as again:
            await job.result(10)
    for error in (caught.value, again.value, pickle.loads(pickle.dumps(caught.value))):
        shown = "".join(traceback.format_exception(error))
        assert shown.count("raise ValueError(message)") == 1
        assert shown.count("In the worker:") == 1
    assert pickle.loads(pickle.dumps(caught.value)).error_type == "ValueError"


SCRIPT = """
    import asyncio, sys
    from functools import partial
    from naq_client import Queue, task


    def divide(by):
        return 1 / by  # the helper's line


    class Shop:
        def sell(self, count):
            return divide(count)  # the method's line


    def sell(count):
        inner = lambda: Shop().sell(count)  # the lambda's line
        return inner()


    @task
    def decorated(count):
        return sell(count)  # the task's line


    async def main():
        async with Queue("default") as queue:
            for function in (sell, decorated, partial(sell, 0), Shop().sell, lambda count=0: sell(count)):
                for process in (False, True):
                    arguments = () if isinstance(function, partial) else (0,)
                    print((await queue.options(process=process).enqueue(function, *arguments)).job_id)


    asyncio.run(main())
"""


@pytest.mark.parametrize("moved", [False, True], ids=["same file", "another file"])
async def test_functions_of_the_main_module_show_their_source_lines(
    settings: Settings, run_worker: RunWorker, tmp_path: Path, moved: bool
) -> None:
    script = tmp_path / "main.py"
    script.write_text(textwrap.dedent(SCRIPT))
    variables = {"NAQ_NATS_URL": settings.nats_url, "NAQ_NAMESPACE": settings.namespace}
    done = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, str(script)],
        env=environment(**variables),
        capture_output=True,
        text=True,
        check=True,
        timeout=40,
    )
    if moved:  # as on another machine
        script.write_text("# something else\n" * 40)
    async with Queue("default", settings=settings) as queue, run_worker():
        for job_id in done.stdout.split():
            with pytest.raises(JobFailedError) as caught:
                await (await queue.job(job_id)).result(30)
            shown = caught.value.error_traceback
            assert str(script) in shown
            assert "the helper's line" in shown
            assert "the method's line" in shown
            assert "something else" not in shown


def test_an_outcome_that_goes_to_another_process_has_no_exception() -> None:
    outcome = Failed("ValueError", "no luck", "Traceback", error=ValueError("no luck"))
    assert outcome_of(ended(outcome)) == Failed("ValueError", "no luck", "Traceback")
