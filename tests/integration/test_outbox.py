"""Jobs that wait in a table: what is packed is what is enqueued, once, by whichever relay."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from naq_client import Queue, SyncQueue
from naq_client.outbox import pack, send, send_sync, unpack
from naq_core import BrokerError, InvalidOptionError, JobOutcome, Settings, SignatureError
from naq_core.errors import UnreadableError
from naq_core.middleware import Enqueue
from naq_core.testing import WorkerRunner

SLOW = 60.0
RUNS: list[int] = []
TOLD: list[str] = []


def note(number: int, *, text: str = "") -> int:
    RUNS.append(number)
    return len(text)


def tell(outcome: JobOutcome) -> None:
    TOLD.append(outcome.job_id)


@pytest.fixture(autouse=True)
def nothing_has_run() -> None:
    RUNS.clear()
    TOLD.clear()


async def test_a_job_is_enqueued_as_it_was_packed(queue: Queue) -> None:
    options = queue.options(priority="high", delay=3600, expires=7200, tags=["a"], headers={"b": "c"}, max_retries=4)
    job = options.call(note, 1, text="two")
    packed = pack(job, queue.settings)
    assert unpack(packed, queue.settings).function_name == job.function_name
    assert await send(queue, [packed]) == [None]
    view = await (await queue.job(job.job_id)).view()
    assert (view.state, view.priority, view.arguments, view.tags, view.headers) == (
        "held",
        "high",
        "1, text='two'",
        ("a",),
        {"b": "c"},
    )
    assert view.max_attempts == 5
    now = datetime.now(UTC)
    assert view.due_at is not None
    assert view.expires_at is not None
    assert timedelta(minutes=50) < view.due_at - now < timedelta(minutes=61)
    assert timedelta(minutes=110) < view.expires_at - now < timedelta(minutes=121)


async def test_it_is_one_job_however_often_and_late_it_is_sent(queue: Queue, naq_worker: WorkerRunner) -> None:
    job = queue.options(on_success=tell).call(note, 1, text="x" * 300_000)  # goes to the object store
    packed = pack(job, queue.settings)
    assert await send(queue, [packed, packed]) == [None, None]
    assert send_sync(SyncQueue(settings=queue.settings), [packed]) == [None]
    await naq_worker.run_until_idle()
    assert await (await queue.job(job.job_id)).result(SLOW) == 300_000
    assert await send(queue, [packed]) == [None]  # the relay before had died
    await naq_worker.run_until_idle()
    assert RUNS == [1]
    assert [job.job_id] == TOLD


async def test_a_row_that_was_changed_is_refused_and_others_are_sent(settings: Settings, naq_worker: WorkerRunner) -> None:
    signed = Settings.choose(settings, Queue, signing_key="a" * 32)
    async with Queue(settings=signed) as queue:
        good = pack(queue.call(note, 7), signed)
        forged, other = (
            pack(queue.call(note, 8), settings),
            pack(queue.call(note, 9), Settings.choose(settings, Queue, signing_key="b" * 32)),
        )
        none, first, second, garbage = await send(queue, [good, forged, other, '{"queue":"default"'])
    assert none is None
    assert isinstance(first, SignatureError)
    assert isinstance(second, SignatureError)
    assert isinstance(garbage, UnreadableError)


class AddHeader:
    def enqueue(self, jobs: Sequence[Enqueue]) -> Iterator[None]:
        for job in jobs:
            job.headers["seen"] = f"{job.args} {job.kwargs}"
        yield


@pytest.mark.naq(middleware=(f"{__name__}:AddHeader",))
async def test_middleware_runs_in_the_relay(queue: Queue) -> None:
    job = queue.call(note, 1, text="t")
    packed = pack(job, queue.settings)
    assert await send(queue, [packed]) == [None]
    assert (await (await queue.job(job.job_id)).view()).headers == {"seen": "(1,) {'text': 't'}"}


@pytest.mark.parametrize("option", [{"unique": "key"}, {"depends_on": "other"}, {"fast": True}])
def test_a_job_that_could_be_enqueued_twice_is_refused(option: Any, settings: Settings) -> None:
    job = Queue(settings=settings).options(**option).call(note, 1)
    with pytest.raises(InvalidOptionError, match=next(iter(option))):
        pack(job, settings)


async def test_a_server_that_is_away_is_an_error_of_each_row(settings: Settings) -> None:
    away = Settings.choose(settings, Queue, nats_url="nats://127.0.0.1:1")
    queue = Queue(settings=away)
    errors = await send(queue, [pack(queue.call(note, number), away) for number in range(2)], budget=0.2)
    assert [isinstance(each, BrokerError) for each in errors] == [True, True]
    await queue.close()
