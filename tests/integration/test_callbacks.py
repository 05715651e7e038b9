"""Jobs that are enqueued when another one has ended."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from naq_client import Queue, chain
from naq_core import (
    EncodeError,
    InvalidCallError,
    InvalidOptionError,
    Job,
    JobNotFoundError,
    JobOutcome,
    JobState,
    JobStateError,
    NaqError,
    Settings,
    inspect,
    manage,
)
from naq_core.enqueue.callback import callback_id, enqueue_callbacks
from naq_core.envelope import decode_envelope
from naq_core.middleware import Enqueue
from naq_core.record import JobRecord, encode_record
from naq_core.results import outcome
from naq_core.storage.events import record_headers
from naq_core.storage.records import find_job
from naq_core.storage.waiting import wait_for_end
from tests.conftest import RunWorker
from tests.integration import called, work
from tests.support.eventually import eventually

SLOW = 60.0


async def end_of(queue: Queue, job: Job[Any], on: str = "default") -> JobRecord:
    """Wait for the end of a job, and return its record."""
    return (await wait_for_end(await queue.connection(), on, job.job_id, SLOW)).record


async def told(queue: Queue, record: JobRecord, event: str = "on_failure", number: int = 0, on: str = "default") -> Any:
    """Return what the callback of an end has returned."""
    connection = await queue.connection()
    while True:
        try:
            ended = await wait_for_end(connection, on, callback_id(record, event, number), SLOW)
        except JobNotFoundError:  # not enqueued yet
            continue
        return await outcome(connection, ended.record)


async def callbacks_of(queue: Queue, job: Job[Any]) -> list[str]:
    """Return the ids of the callbacks that are there, ended or not."""
    page = await inspect.list_jobs(await queue.connection())
    return [each.job_id for each in page.jobs if f"<outcome of {job.job_id}>" in each.arguments]


@pytest.mark.parametrize("process", [False, True])
async def test_a_success_is_told_with_its_result(process: bool, queue: Queue, run_worker: RunWorker) -> None:
    options = queue.options(
        on_success=[called.tell, called.tell.s("a", mark="b"), called.untold.si("alone"), called.tell_elsewhere],
        on_failure=called.tell,
        headers={"trace": "t1"},
        tags=["vip"],
        process=process,
    )
    job = await options.enqueue(work.add, 1, b=2)
    async with run_worker("default", "elsewhere"):
        record = await end_of(queue, job)
        first = await told(queue, record, "on_success")
        second = await told(queue, record, "on_success", 1)
        assert await told(queue, record, "on_success", 2) == "alone"
        assert await told(queue, record, "on_success", 3, on="elsewhere") == "succeeded"
    assert first["job_id"] == job.job_id
    assert (first["state"], first["result"], first["error"], first["attempts"]) == ("succeeded", 3, None, 1)
    assert (first["function"], first["tags"], first["headers"]) == ("tests.integration.work:add", ["vip"], {"trace": "t1"})
    assert (second["words"], second["mark"]) == (["a"], "b")
    assert len(await callbacks_of(queue, job)) == 3  # the fourth is not told


async def test_a_failure_is_told_once_when_the_retries_are_used_up(queue: Queue, run_worker: RunWorker) -> None:
    options = queue.options(max_retries=1, on_success=called.tell, on_failure=called.tell, on_dead=called.tell.s("dead"))
    job = await options.enqueue(work.fail, "no luck")
    async with run_worker():
        record = await end_of(queue, job)
        found = await told(queue, record)
        assert (found["state"], found["attempts"], found["result"]) == ("dead", 2, None)
        assert found["error"] == {"type": "ValueError", "message": "no luck"}
        assert (await told(queue, record, "on_dead"))["words"] == ["dead"]
        assert len(await callbacks_of(queue, job)) == 2
        await manage.retry_job(await queue.connection(), job.job_id)  # a second end
        again = await end_of_another(queue, record)
        assert (await told(queue, again))["attempts"] == 2
        await told(queue, again, "on_dead")
    assert len(await callbacks_of(queue, job)) == 4


async def end_of_another(queue: Queue, before: JobRecord) -> JobRecord:
    found = await wait_for_end(
        await queue.connection(),
        before.queue,
        before.job_id,
        SLOW,
        lambda record: record.state.is_final and record.ended_at > before.ended_at,
    )
    return found.record


async def test_a_callback_may_have_a_callback_and_options_of_its_own(queue: Queue, run_worker: RunWorker) -> None:
    next_one = queue.options(on_success=called.tell, max_retries=3, expires=600).s(called.size_of)
    job = await queue.options(on_success=next_one).enqueue(work.returned, "four")
    async with run_worker():
        first = callback_id(await end_of(queue, job), "on_success", 0)
        record = (await wait_for_end(await queue.connection(), "default", first, SLOW)).record
        assert (await told(queue, record, "on_success"))["result"] == 4
    assert record.arguments == f"<outcome of {job.job_id}>"


@pytest.mark.parametrize("how", ["ready", "delayed", "waiting", "running", "expired", "raised"])
async def test_a_job_that_does_not_run_to_its_end_is_told_of(how: str, queue: Queue, run_worker: RunWorker) -> None:
    connection = await queue.connection()
    options = queue.options(on_failure=called.tell, on_success=called.tell, on_dead=called.tell)
    job: Job[Any]
    parent: Job[Any] | None = None
    match how:
        case "delayed":
            job = await options.enqueue_in(3600, work.add, 1)
        case "waiting":
            parent = await queue.enqueue_in(3600, work.add, 1)
            job = await queue.options(on_failure=called.tell, depends_on=parent).enqueue(work.add, 1)
        case "running":
            job = await options.enqueue(work.sleep, 3600)
        case "raised":
            job = await options.enqueue(work.control, "cancel")
        case "expired":
            job = await queue.options(on_failure=called.tell, expires=0.01, delay=0).enqueue(work.add, 1)
            while not await manage.expire_job(connection, job.job_id):
                pass
        case _:
            job = await options.enqueue(work.add, 1)
    if how in {"ready", "delayed", "waiting"}:
        await manage.cancel_job(connection, (parent or job).job_id, "not wanted")
        assert (await end_of(queue, job)).state is JobState.CANCELLED
        assert await callbacks_of(queue, job) == []  # a worker of the queue does it
    async with run_worker():
        if how == "running":
            await until_it_runs(queue, job)
            await manage.cancel_job(connection, job.job_id, "not wanted")
        record = await end_of(queue, job)
        found = await told(queue, record)
    assert found["state"] == record.state == ("expired" if how == "expired" else "cancelled")
    assert found["reason"] == record.reason
    assert len(await callbacks_of(queue, job)) == 1
    message = await find_job(connection, job.job_id)
    assert (message is None) == (how == "expired")


async def until_it_runs(queue: Queue, job: Job[Any]) -> None:
    async def runs() -> bool:
        return (await inspect.get_job(await queue.connection(), job.job_id)).state is JobState.RUNNING

    await eventually(runs)


async def test_the_callbacks_of_a_job_that_is_cancelled_outlive_its_worker(queue: Queue, run_worker: RunWorker) -> None:
    connection = await queue.connection()
    job = await queue.options(on_failure=called.tell).enqueue(work.add, 1)
    record = JobRecord(state=JobState.RUNNING, job_id=job.job_id, queue="default", worker="gone-00000000", started_at=1.0)
    subject = connection.names.result("default", job.job_id)
    await connection.publish(subject, encode_record(record), record_headers(record, 0))
    assert await manage.cancel_job(connection, job.job_id) is manage.CancelOutcome.WHILE_RUNNING
    assert await callbacks_of(queue, job) == []
    async with run_worker():  # which gets it after the lease of the other one
        assert (await told(queue, await end_of(queue, job)))["state"] == "cancelled"


async def test_a_parent_that_fails_ends_its_children_and_they_are_told_of(queue: Queue, run_worker: RunWorker) -> None:
    child = queue.options(on_failure=called.tell).s(called.size_of)
    handle = await chain(queue.s(work.fail), child).enqueue(queue)
    async with run_worker():
        record = await end_of(queue, handle.jobs[-1])
        assert (await told(queue, record))["state"] == "cancelled"
    assert record.state is JobState.CANCELLED
    await manage.retry_workflow(await queue.connection(), handle.workflow_id)


async def test_a_name_is_enough(queue: Queue, run_worker: RunWorker) -> None:
    """Of a function that is only named the worker knows the task's callbacks."""
    declared = await queue.enqueue("tests.integration.called:divide", 1, 0)
    given = await queue.options(on_failure='tests.integration.called:tell [["x"], {"mark": "m"}]').enqueue(work.fail)
    async with run_worker():
        assert (await told(queue, await end_of(queue, declared)))["words"] == ["declared"]
        found = await told(queue, await end_of(queue, given))
        assert (found["words"], found["mark"]) == (["x"], "m")


async def test_json_jobs_have_them(settings: Settings, run_worker: RunWorker) -> None:
    settings = dataclasses.replace(settings, job_serializer="json")
    async with Queue(settings=settings) as queue, run_worker(settings=settings):
        job = await queue.enqueue(called.divide, 1, 2)
        assert (await told(queue, await end_of(queue, job), "on_success"))["result"] == 0.5
        with pytest.raises(EncodeError):
            await queue.options(on_success=lambda _: None).enqueue(called.divide, 1, 2)


async def test_a_schedule_and_middleware_see_them(settings: Settings, run_worker: RunWorker) -> None:
    class Note:
        def __init__(self) -> None:
            self.kinds: list[tuple[str, str]] = []

        def enqueue(self, jobs: Sequence[Enqueue]) -> Iterator[None]:
            self.kinds += [(job.kind, job.function) for job in jobs]
            yield

    note = Note()
    settings = dataclasses.replace(settings, middleware=(note,))
    async with Queue(settings=settings) as queue, run_worker(settings=settings):
        schedule = await queue.options(on_success=called.tell).schedule(work.add, 1, interval=3600)
        job = await schedule.trigger()
        found = await told(queue, await end_of(queue, job), "on_success")
    assert found["schedule"] == schedule.schedule_id
    assert note.kinds == [("firing", "tests.integration.work:add"), ("callback", "tests.integration.called:tell")]


async def die_after_the_end(queue: Queue, job: Job[Any], state: JobState = JobState.SUCCEEDED) -> JobRecord:
    """Record the end of a job as a worker does that dies right after it."""
    connection = await queue.connection()
    record = JobRecord(
        state=state, job_id=job.job_id, queue=job.queue, ended_at=connection.clock.now(), result_type="json", result=b"1"
    )
    subject = connection.names.result(job.queue, job.job_id)
    await connection.publish(subject, encode_record(record), record_headers(record, 0))
    return record


@pytest.mark.parametrize("dies", ["before", "after", "after it has run"])
async def test_a_worker_that_dies_beside_the_enqueue_leaves_one_callback(dies: str, queue: Queue, run_worker: RunWorker) -> None:
    connection = await queue.connection()
    job = await queue.options(on_success=called.tell, claim="first").enqueue(work.add, 1)
    record = await die_after_the_end(queue, job)
    message = await find_job(connection, job.job_id)
    assert message is not None
    if dies != "before":
        await enqueue_callbacks(connection, record, decode_envelope(message.data).opt)
    if dies == "after it has run":
        async with run_worker():  # which gets both
            await told(queue, record, "on_success")
        await enqueue_callbacks(connection, record, decode_envelope(message.data).opt)
    async with run_worker(burst=True):
        await told(queue, record, "on_success")
    assert await find_job(connection, job.job_id) is None
    assert called.runs.count(callback_id(record, "on_success", 0)) == 1


async def test_a_retry_waits_for_the_worker_that_owes_the_callbacks(queue: Queue, run_worker: RunWorker) -> None:
    connection = await queue.connection()
    job = await queue.options(on_failure=called.tell, unique="key").enqueue(work.add, 1)
    await manage.cancel_job(connection, job.job_id)
    with pytest.raises(JobStateError, match="its callbacks are not enqueued yet"):
        await manage.retry_job(connection, job.job_id)
    record = await end_of(queue, job)
    async with run_worker():
        await told(queue, record)
        await manage.retry_job(connection, job.job_id)
        assert await job.result(SLOW) == 1


@pytest.mark.parametrize("signing_key", [(), ("k" * 32,)])
async def test_a_large_result_is_read_where_it_lies(signing_key: Any, settings: Settings, run_worker: RunWorker) -> None:
    settings = dataclasses.replace(settings, large_threshold=1000, signing_key=signing_key)
    async with Queue(settings=settings) as queue:
        job = await queue.options(on_success=called.size_of).enqueue(work.returned, "x" * 5000)
        async with run_worker(settings=settings):
            record = await end_of(queue, job)
            assert await told(queue, record, "on_success") == 5000


async def test_a_result_that_nobody_has_signed_is_not_passed_on(settings: Settings, run_worker: RunWorker) -> None:
    settings = dataclasses.replace(settings, signing_key=("k" * 32,))
    async with Queue(settings=settings) as queue:
        job = await queue.options(on_success=called.tell).enqueue(work.add, 1)
        record = await die_after_the_end(queue, job)  # with a result that is not signed
        async with run_worker(settings=settings):
            assert (await told(queue, record, "on_success"))["result"] is None


async def test_what_cannot_be_a_callback_is_refused(queue: Queue) -> None:
    parent = queue.call(work.add, 1)
    wrong: list[tuple[Any, type[Exception], str]] = [
        (7, InvalidOptionError, "7 is not a task, a signature, a job or the name of a function"),
        ("two words", InvalidOptionError, "'two' does not name a function"),
        ("m:f {", InvalidOptionError, "must be JSON"),
        (["m:f"] * 9, InvalidOptionError, "at most 8 calls, not 9"),
        (called.untold.s("one"), InvalidCallError, "too many positional"),
        (queue.options(depends_on=parent).call(work.add, 1), InvalidOptionError, "cannot depend on other jobs"),
        (queue.options(unique="k").call(work.add, 1), InvalidOptionError, "cannot have at, delay, unique"),
        (called.tell.s("x" * 70_000), InvalidOptionError, r"has 70,\d+ bytes, at most 65,536 are allowed"),
    ]
    for value, error, message in wrong:
        with pytest.raises(error, match=message):
            await queue.options(on_success=value).enqueue(work.add, 1)
    with pytest.raises(InvalidOptionError, match="cannot be combined with fast=True"):
        queue.options(on_dead=called.tell, fast=True)
    assert (await inspect.list_jobs(await queue.connection())).jobs == []


def test_an_outcome_says_why_it_has_no_result() -> None:
    outcome = JobOutcome("job-1", JobState.DEAD)
    with pytest.raises(NaqError, match="job job-1 has no result: dead"):
        _ = outcome.result
    assert (outcome.is_success, outcome.as_dict()["result"]) == (False, None)
