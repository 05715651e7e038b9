"""Jobs that start before they are claimed: which may, what is stored of them, and when they are claimed after all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import msgspec
import pytest

from naq_client import Queue
from naq_core import (
    BrokerTimeoutError,
    CancelOutcome,
    Connection,
    JobCancelledError,
    JobRecord,
    JobState,
    Settings,
    current_job,
    transitions,
)
from naq_core.call import JobCall
from naq_core.enqueue.message import job_message
from naq_core.envelope import decode_envelope
from naq_core.job import Job
from naq_core.storage.events import event_of
from naq_core.storage.records import write_record
from naq_core.transport import repeat
from naq_core.transport.headers import FIRST
from naq_core.views import Event
from naq_worker import Worker
from tests.conftest import RunWorker
from tests.integration import work
from tests.support.eventually import eventually
from tests.support.late import late_of, life_of, make_late

LONG = timedelta(seconds=5)
"""A `claim_after` that no job here runs for: what is claimed is claimed for another reason."""
released = asyncio.Event()
fences: list[int] = []
ended: list[str] = []


@pytest.fixture
def naq_settings(naq_settings: Settings) -> Settings:
    """Switch late claims on, for clients and workers."""
    return replace(naq_settings, claim_after=timedelta(milliseconds=20))


@pytest.fixture(autouse=True)
def begin() -> None:
    global released  # noqa: PLW0603
    released = asyncio.Event()
    fences.clear()
    ended.clear()


async def go_on() -> str:
    """Wait until the test says so."""
    try:
        await asyncio.wait_for(released.wait(), 30)
    except asyncio.CancelledError:
        ended.append("cancelled")
        raise
    return "done"


async def report_and_go_on() -> str:
    current_job().progress(1, 2, "half")
    return await go_on()


async def read_fence_and_go_on() -> str:
    fences.append(current_job().fence)
    return await go_on()


def read_fence_and_fail_once() -> int:
    context = current_job()
    fences.append(context.fence)
    if context.attempt == 1:
        raise OSError("not yet")
    return context.attempt


async def state_of(queue: Queue, job_id: str) -> JobRecord | None:
    return await (await queue.job(job_id)).record()


async def test_a_short_job_leaves_one_record_that_tells_all(queue: Queue, run_worker: RunWorker) -> None:
    connection = await queue.connection()
    seen: list[Event | None] = []
    subject = connection.names.result_event("default", "*")
    await connection.client.listen(subject, lambda subject, _, __, headers: seen.append(event_of(subject.decode(), headers)))

    async def is_only_told_of_its_end() -> None:
        seen.clear()
        job = await queue.enqueue(work.add, 1, 2)
        assert await job.result(20) == 3
        await eventually(lambda: _has_ended(seen))
        assert [(event.kind, event.attempt, event.worker) for event in seen if event is not None] == [
            ("succeeded", 1, worker.worker_id)
        ]
        record = await job.record()
        assert record is not None
        assert (record.state, record.attempt, record.worker) == (JobState.SUCCEEDED, 1, worker.worker_id)
        assert 0 < record.enqueued_at <= record.started_at <= record.ended_at

    async with run_worker() as worker:
        await make_late(queue, worker)
        await eventually(is_only_told_of_its_end)  # on a machine that stands still for 20 ms it is claimed


def _has_ended(seen: list[Event | None]) -> None:
    assert seen
    assert seen[-1] is not None
    assert seen[-1].kind == "succeeded"


async def test_a_job_that_goes_on_is_claimed(queue: Queue, run_worker: RunWorker) -> None:
    async with run_worker() as worker:
        await make_late(queue, worker)
        job = await queue.enqueue(go_on)
        await eventually(lambda: _is_running(queue, job.job_id, worker))
        released.set()
        assert await job.result(20) == "done"


async def _is_running(queue: Queue, job_id: str, worker: Worker) -> JobRecord:
    record = await state_of(queue, job_id)
    assert record is not None
    assert (record.state, record.worker) == (JobState.RUNNING, worker.worker_id)
    return record


async def test_progress_is_readable_at_once(queue: Queue, settings: Settings, run_worker: RunWorker) -> None:
    async with run_worker(settings=replace(settings, claim_after=LONG)) as worker:
        await make_late(queue, worker)
        job = await queue.enqueue(report_and_go_on)
        await eventually(lambda: _is_half_done(queue, job.job_id, worker), 1.0)
        released.set()
        assert await job.result(20) == "done"


async def _is_half_done(queue: Queue, job_id: str, worker: Worker) -> None:
    record = await _is_running(queue, job_id, worker)
    assert record.progress is not None
    assert record.progress.note == "half"


async def test_a_job_that_reads_its_fence_is_claimed_and_the_next_one_before_its_start(
    queue: Queue, settings: Settings, run_worker: RunWorker
) -> None:
    async with run_worker(settings=replace(settings, claim_after=LONG)) as worker:
        await make_late(queue, worker)
        first = await queue.enqueue(read_fence_and_go_on)
        await eventually(lambda: _is_running(queue, first.job_id, worker), 1.0)
        started = late_of(worker).started
        second = await queue.enqueue(read_fence_and_go_on)
        await eventually(lambda: _is_running(queue, second.job_id, worker), 1.0)
        assert late_of(worker).started == started
        released.set()
        assert [await job.result(20) for job in (first, second)] == ["done", "done"]
    assert fences == sorted(set(fences))


async def test_the_fence_grows_from_an_unclaimed_attempt_to_the_next(queue: Queue, run_worker: RunWorker) -> None:
    async with run_worker() as worker:
        await make_late(queue, worker)
        job = await queue.options(max_retries=1, retry_delay=0).enqueue(read_fence_and_fail_once)
        assert await job.result(20) == 2
    assert len(fences) == 2
    assert 0 < fences[0] < fences[1]


@pytest.mark.parametrize(
    "options",
    [
        {"job_id": "chosen"},
        {"unique": "key"},
        {"process": True},
        {"delay": 0.1},
        {"expires": 10},
        {"result_ttl": 30},
        {"claim": "first"},
    ],
    ids=lambda options: next(iter(options)),
)
async def test_a_job_is_claimed_first_where_it_may_have_a_record(
    queue: Queue, run_worker: RunWorker, options: dict[str, Any]
) -> None:
    async with run_worker() as worker:
        await make_late(queue, worker)
        started = late_of(worker).started
        assert await (await queue.options(**options).enqueue(work.add, 1)).result(20) == 1
        assert late_of(worker).started == started


@pytest.mark.parametrize("changes", [{"claim_after": timedelta(0)}, {"failure_ttl": timedelta(seconds=60)}], ids=str)
async def test_all_jobs_are_claimed_first_where_the_settings_say_so(
    queue: Queue, settings: Settings, run_worker: RunWorker, changes: dict[str, Any]
) -> None:
    async with run_worker(settings=replace(settings, **changes)) as worker:
        for number in range(5):
            assert await (await queue.enqueue(work.add, number)).result(20) == number
        assert late_of(worker).started == 0


async def test_signed_jobs_are_claimed_first_as_only_a_record_shows_that_one_is_sent_again(
    settings: Settings, run_worker: RunWorker
) -> None:
    signed = replace(settings, signing_key=("k" * 32,))
    async with Queue(settings=signed) as queue, run_worker(settings=signed) as worker:
        for number in range(5):
            assert await (await queue.enqueue(work.add, number)).result(20) == number
        assert late_of(worker).started == 0


async def test_only_the_first_try_of_a_new_id_is_marked(naq_connection: Connection) -> None:
    def marks(job: JobCall[Any], *, again: bool = False) -> bool:
        return FIRST in job_message(naq_connection, job, again=again)[2]

    call: JobCall[int] = JobCall(work.add, (1,))
    assert marks(call)
    assert not marks(call), "the same call once more may follow a try of unknown outcome"
    assert not marks(JobCall(work.add, (1,)), again=True)
    assert not marks(JobCall(work.add, (1,), job_id="chosen"))


async def test_a_first_try_of_unknown_outcome_is_repeated_without_its_mark_and_not_too_soon(
    naq_connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repeat, "OUTLASTED", 0.2)
    loop = asyncio.get_running_loop()
    subject, body, headers = job_message(naq_connection, JobCall(work.add, (1,)))
    tries: list[tuple[float, bool]] = []

    async def send() -> int:
        tries.append((loop.time(), FIRST in headers))
        if len(tries) == 1:
            raise BrokerTimeoutError("publish", 1)
        return 1

    await repeat.repeat(naq_connection, send, [(subject, body, headers)], deadline=naq_connection.budget())
    assert [is_marked for _, is_marked in tries] == [True, False]
    assert tries[1][0] - tries[0][0] >= 0.2


async def test_what_is_stored_late_or_was_sent_to_another_start_of_the_server_is_claimed_first(
    queue: Queue, run_worker: RunWorker
) -> None:
    connection = await queue.connection()
    async with run_worker() as worker:
        await make_late(queue, worker)
        late, elsewhere = queue.call(work.add, 1), queue.call(work.add, 2)
        for call in (late, elsewhere):
            call.bind(connection)
        message, other = job_message(connection, late), job_message(connection, elsewhere)
        other[2][FIRST] = "0" * len(other[2][FIRST])
        started = late_of(worker).started
        await connection.publish(*other)
        assert await elsewhere.result(20) == 2
        await asyncio.sleep(repeat.LATEST_FIRST + 0.1)  # it is the time between sending and storing that counts
        await connection.publish(*message)
        assert await late.result(20) == 1
        assert late_of(worker).started == started


async def test_a_cancel_before_the_claim_stops_the_function(queue: Queue, settings: Settings, run_worker: RunWorker) -> None:
    async with run_worker(settings=replace(settings, claim_after=LONG)) as worker:
        await make_late(queue, worker)
        job = await queue.enqueue(go_on)
        await eventually(lambda: _has(worker, job.job_id))
        assert await job.cancel("not needed") is CancelOutcome.WHILE_RUNNING
        with pytest.raises(JobCancelledError, match="not needed"):
            await job.result(20)
        await eventually(lambda: _is_idle(worker))
    assert ended == ["cancelled"]
    record = await job.record()
    assert record is not None
    assert (record.state, record.reason) == (JobState.CANCELLED, "not needed")


async def _started(queue: Queue, worker: Worker) -> tuple[Job[str], JobRecord]:
    """Return a job that runs unclaimed, and the record of its claim."""
    while True:
        started = late_of(worker).started
        job = await queue.enqueue(go_on)
        await eventually(partial(_has, worker, job.job_id))
        if late_of(worker).started > started:
            break
        await job.cancel()  # on a busy machine it may have been claimed first
        await eventually(lambda: _is_idle(worker))
        ended.clear()
    active = life_of(worker)._intake.active["default", job.job_id]
    claim = transitions.claimed(decode_envelope(active.delivery.data), "default", worker.worker_id, active.started_at, 0)
    return job, claim


async def test_a_claim_that_another_worker_has_made_first_stops_the_function(
    queue: Queue, settings: Settings, run_worker: RunWorker
) -> None:
    async with run_worker(settings=replace(settings, claim_after=timedelta(seconds=3))) as worker:
        await make_late(queue, worker)
        job, claim = await _started(queue, worker)
        theirs = msgspec.structs.replace(claim, worker="other")
        assert await write_record(await queue.connection(), theirs, 0) is not None
        await eventually(lambda: _is_idle(worker))
        assert ended == ["cancelled"]
        record = await state_of(queue, job.job_id)
        assert record is not None
        assert (record.state, record.worker) == (JobState.RUNNING, "other")


async def test_a_worker_knows_its_own_claim_whose_answer_was_lost(
    queue: Queue, settings: Settings, run_worker: RunWorker
) -> None:
    async with run_worker(settings=replace(settings, claim_after=LONG)) as worker:
        await make_late(queue, worker)
        job, claim = await _started(queue, worker)
        assert await write_record(await queue.connection(), claim, 0) is not None
        released.set()
        assert await job.result(10) == "done", "before it is delivered again"


async def test_a_worker_that_was_frozen_for_its_lease_stores_nothing_of_an_unclaimed_job(
    queue: Queue, settings: Settings, run_worker: RunWorker
) -> None:
    """Another one may have run the job, and its record may have gone."""
    async with run_worker(settings=replace(settings, claim_after=LONG)) as worker:
        await make_late(queue, worker)
        job, _ = await _started(queue, worker)
        life_of(worker)._intake.active["default", job.job_id].lease_until = 0.0
        released.set()
        await eventually(lambda: _is_idle(worker))
        assert await state_of(queue, job.job_id) is None


def _has(worker: Worker, job_id: str) -> None:
    assert job_id in {each.delivery.job_id for each in life_of(worker)._intake.active.values() if each.is_running}


def _is_idle(worker: Worker) -> None:
    assert not life_of(worker)._intake.active


async def test_jobs_are_claimed_first_while_ends_are_slow_or_refused(queue: Queue, run_worker: RunWorker) -> None:
    async def is_late(prepare: Callable[[], None]) -> bool:
        await eventually(lambda: _is_idle(worker))
        prepare()
        before = late_of(worker).started
        await (await queue.enqueue(work.add, 1)).result(20)
        return late_of(worker).started > before

    async with run_worker() as worker:
        await make_late(queue, worker)
        late = late_of(worker)
        ends = late._ends
        under_way: Any = object()
        assert not await is_late(lambda: ends.update({under_way: -1.0}))
        late.forget(under_way, is_stored=True)
        await make_late(queue, worker)
        assert not await is_late(lambda: late.forget(under_way, is_stored=False))
        await make_late(queue, worker)
