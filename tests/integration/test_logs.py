"""Log lines, progress and previews, seen from outside while a job runs and afterwards."""

import asyncio
import logging
from pathlib import Path
from typing import Any

import pytest

from naq_client import Queue
from naq_core import Settings, inspect
from naq_core.record import LogLine
from naq_worker._logs import MOST_CHARACTERS, MOST_LINES, JobLog
from tests.conftest import RunWorker
from tests.integration import work
from tests.support.eventually import eventually


async def logs_of(queue: Queue, job_id: str) -> list[LogLine]:
    return (await inspect.get_job(await queue.connection(), job_id)).logs


@pytest.mark.parametrize("process", [False, True])
async def test_what_a_job_logs_is_kept_with_it(queue: Queue, run_worker: RunWorker, process: bool) -> None:
    job = await queue.options(process=process).enqueue(work.log_lines, 2)
    async with run_worker():
        assert await job.result(20) == 2
    lines = await logs_of(queue, job.job_id)
    assert [(line.level, line.message, line.attempt) for line in lines] == [
        ("WARNING", "line 1 of 2", 1),
        ("WARNING", "line 2 of 2", 1),
        ("NOTE", "by hand", 1),
    ]
    assert lines[0].at == pytest.approx(lines[-1].at, abs=5)


@pytest.mark.parametrize("process", [False, True])
async def test_lines_can_be_read_while_the_job_runs(queue: Queue, run_worker: RunWorker, tmp_path: Path, process: bool) -> None:
    release = tmp_path / "release"
    job = await queue.options(process=process).enqueue(work.log_lines, 1, str(release))
    async with run_worker():

        async def seen() -> None:
            assert [line.message for line in await logs_of(queue, job.job_id)] == ["line 1 of 1", "by hand"]

        await eventually(seen)
        assert not (await job.status()).is_final
        release.touch()
        assert await job.result(20) == 1


async def test_lines_of_a_thread_and_of_all_attempts_are_kept(queue: Queue, run_worker: RunWorker) -> None:
    job = await queue.options(max_retries=1, retry_delay=0.01).enqueue(work.log_and_fail_once)
    async with run_worker():
        assert await job.result(10) == "done"
    first, second = await logs_of(queue, job.job_id)
    assert (first.attempt, second.attempt) == (1, 2)
    assert first.message.startswith("it went wrong\nTraceback")
    assert "ValueError: invalid literal" in first.message


async def test_many_lines_are_bounded_and_the_newest_stay(queue: Queue, run_worker: RunWorker) -> None:
    job = await queue.enqueue(work.log_lines, 1000)
    async with run_worker():
        await job.result(20)
    lines = await logs_of(queue, job.job_id)
    assert len(lines) == MOST_LINES
    assert lines[-2].message == "line 1000 of 1000"


async def test_jobs_side_by_side_keep_their_lines_apart(queue: Queue, run_worker: RunWorker) -> None:
    jobs = [await queue.enqueue(work.log_lines, count) for count in (1, 2, 3)]
    async with run_worker():
        await asyncio.gather(*(job.result(10) for job in jobs))
    for count, job in enumerate(jobs, 1):
        assert len(await logs_of(queue, job.job_id)) == count + 1


@pytest.mark.parametrize("process", [False, True])
async def test_they_can_be_left_out(queue: Queue, run_worker: RunWorker, settings: Settings, process: bool) -> None:
    discreet = Settings.load(nats_url=settings.nats_url, namespace=settings.namespace, job_logs="off")
    job = await queue.options(process=process).enqueue(work.log_lines, 1)
    async with run_worker(settings=discreet):
        await job.result(20)
    assert [line.message for line in await logs_of(queue, job.job_id)] == ["by hand"]


async def test_handlers_are_left_as_they_were_and_the_record_factory_is_installed_once(
    queue: Queue, run_worker: RunWorker
) -> None:
    handlers, factories = list(logging.getLogger().handlers), []
    async with run_worker(), run_worker("other"):
        assert await (await queue.enqueue(work.log_lines, 1)).result(10) == 1
        assert logging.getLogger().handlers == handlers
        factories.append(logging.getLogRecordFactory())
    async with run_worker():
        factories.append(logging.getLogRecordFactory())
    assert factories[0] is factories[1] is logging.getLogRecordFactory()


async def test_the_record_factory_can_be_wrapped_by_others(
    queue: Queue, run_worker: RunWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As tracers do. "RecursionError: maximum recursion depth exceeded" was what the second worker's jobs said."""
    monkeypatch.setattr(logging, "_logRecordFactory", logging.getLogRecordFactory())  # put back after the test
    for round_ in range(3):
        async with run_worker():
            wrap_the_record_factory(f"trace_{round_}")
            job = await queue.enqueue(work.log_lines, 1)
            assert await job.result(10) == 1
            assert [line.message for line in await logs_of(queue, job.job_id)] == ["line 1 of 1", "by hand"], "each once"
        wrap_the_record_factory(f"outside_{round_}")
    record = logging.getLogger("shop").makeRecord("shop", logging.INFO, "shop.py", 1, "hello", (), None)
    assert vars(record).items() >= {"trace_0": 1, "outside_0": 1, "trace_2": 1, "outside_2": 1}.items()


async def test_a_record_factory_that_was_replaced_is_installed_again(
    queue: Queue, run_worker: RunWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with run_worker():
        await (await queue.enqueue(work.log_lines, 1)).result(10)
    monkeypatch.setattr(logging, "_logRecordFactory", logging.LogRecord)
    async with run_worker():
        job = await queue.enqueue(work.log_lines, 1)
        await job.result(10)
    assert len(await logs_of(queue, job.job_id)) == 2


async def test_a_job_can_rebuild_log_records_of_other_processes(queue: Queue, run_worker: RunWorker) -> None:
    """What a `QueueListener` does: "AttributeError: 'NoneType' object has no attribute 'startswith'"."""
    job = await queue.enqueue(work.rebuild_a_log_record)
    async with run_worker():
        assert await job.result(10) == "from afar"


def wrap_the_record_factory(attribute: str) -> None:
    before = logging.getLogRecordFactory()

    def factory(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = before(*args, **kwargs)
        setattr(record, attribute, 1)
        return record

    logging.setLogRecordFactory(factory)


async def test_tracked_loops_report_by_themselves(queue: Queue, run_worker: RunWorker) -> None:
    job = await queue.enqueue(work.tracked, 1000)
    async with run_worker():
        assert await job.result(10) == sum(range(1000))
    record = await job.record()
    assert record is not None
    assert record.progress is not None
    assert (record.progress.total, record.progress.note) == (1000, "adding")


@pytest.mark.parametrize("process", [False, True])
async def test_results_have_a_preview(queue: Queue, run_worker: RunWorker, process: bool) -> None:
    shown = {
        "none": "",
        "number": "7",
        "nested": f"{{'b': [1, 2, 3], 'a': ('x', {b'y' * 100!r})}}",
    }
    async with run_worker():
        for kind, text in shown.items():
            job = await queue.options(process=process).enqueue(work.give, kind)
            await job.result(20)
            assert (await job.view()).result == text


async def test_a_large_result_has_a_short_preview(queue: Queue, run_worker: RunWorker) -> None:
    job = await queue.enqueue(work.give, "large")
    async with run_worker():
        await job.result(20)
    view = await job.view()
    assert view.result is not None
    assert len(view.result) <= 200
    assert view.result_size > 100_000


def test_long_lines_leave_room_for_few() -> None:
    log = JobLog()
    for number in range(50):
        log.add(LogLine(0, "INFO", f"{number}" + "x" * 1000))
    assert sum(len(line.message) for line in log.lines()) <= MOST_CHARACTERS
    assert log.lines()[-1].message.startswith("49")
