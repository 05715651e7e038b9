"""Middleware around each enqueue, whoever makes it."""

import asyncio
import dataclasses
from typing import Any

import pytest

from naq_client import Queue, SyncQueue, chain, task
from naq_core import (
    DuplicateJobError,
    EnqueueSkippedError,
    InvalidOptionError,
    JobFailedError,
    JobState,
    Settings,
    SignatureError,
    inspect,
    layers,
    manage,
)
from naq_core.enqueue.within import has_middleware, within_stored
from naq_core.envelope import Envelope, decode_envelope
from naq_core.schedules import make_named_spec
from naq_core.schedules.store import put_schedule, schedule_history, trigger_schedule
from naq_core.storage.connection import Connection
from naq_core.storage.records import find_job
from naq_core.storage.subjects import state_of_subject
from naq_core.views import JobFilter
from naq_scheduler import Scheduler
from tests.conftest import RunWorker
from tests.support import onion
from tests.support.eventually import eventually

SLOW = 60.0
HERE = "tests.support.onion"

pytestmark = pytest.mark.naq(middleware=(f"{HERE}:Stamp", f"{HERE}:Change"))


async def stamps(connection: Connection) -> list[tuple[str, tuple[str, ...]]]:
    """Return what the middleware made of all jobs, the newest first."""
    page = await inspect.list_jobs(connection, JobFilter())
    return [(job.headers.get("stamp", ""), job.tags) for job in page.jobs]


async def test_it_is_around_every_enqueue_of_a_queue(queue: Queue) -> None:
    connection = await queue.connection()
    await queue.enqueue(onion.headers)
    await queue.enqueue_in(3600, onion.headers)
    await queue.options(unique="k").enqueue(onion.headers)
    await queue.enqueue_many([queue.call(onion.headers), queue.call(onion.attempt_number)])
    await chain(queue.s(onion.headers), queue.s(onion.given)).enqueue(queue)
    await asyncio.to_thread(enqueue_sync, queue.settings)
    one, two = ("stamped",), ("stamped",)
    assert sorted(await stamps(connection)) == sorted(
        [
            *[("enqueue headers 1", one)] * 4,
            ("enqueue headers 2", two),
            ("enqueue attempt_number 2", two),
            ("enqueue headers 2", two),
            ("enqueue given 2", two),
        ]
    )


def enqueue_sync(settings: Settings) -> None:
    with SyncQueue(settings=settings) as queue:
        queue.enqueue(onion.headers)


async def test_jobs_that_are_added_to_a_workflow_have_it(queue: Queue) -> None:
    handle = await chain(queue.s(onion.headers)).enqueue(queue)
    await handle.add(queue.s(onion.attempt_number))
    assert [stamp for stamp, _ in await stamps(await queue.connection())] == ["enqueue attempt_number 1", "enqueue headers 1"]


@pytest.mark.parametrize("key", [(), ("k" * 32,)])
async def test_it_is_around_firings_and_requeues(key: tuple[str, ...], settings: Settings, run_worker: RunWorker) -> None:
    settings = dataclasses.replace(settings, signing_key=key)
    async with Queue(settings=settings) as queue, run_worker(settings=settings):
        connection = await queue.connection()
        await put_schedule(connection, make_named_spec(f"{HERE}:fail", cron="@daily", schedule_id="daily"))
        job = await queue.job(await trigger_schedule(connection, "daily"))
        with pytest.raises(JobFailedError):
            await job.result(SLOW)
        assert (await inspect.get_job(connection, job.job_id)).headers == {"stamp": "firing fail 1"}
        await manage.retry_job(connection, job.job_id)

        async def has_failed_again() -> None:
            view = await inspect.get_job(connection, job.job_id)
            assert (view.state, view.headers) == (JobState.DEAD, {"stamp": "requeue fail 1"})
            assert view.tags == ("stamped",)

        await eventually(has_failed_again)


async def test_a_workflow_that_is_retried_has_it(queue: Queue, run_worker: RunWorker) -> None:
    connection = await queue.connection()
    handle = await chain(queue.s(onion.fail), queue.s(onion.given)).enqueue(queue)
    async with run_worker():
        with pytest.raises(Exception, match="boom"):
            await handle.result(SLOW)
    assert await handle.retry() == 2
    assert sorted(stamp for stamp, _ in await stamps(connection)) == ["requeue fail 2", "requeue given 2"]


async def test_a_requeue_that_changes_a_signed_job_needs_the_key(settings: Settings, run_worker: RunWorker) -> None:
    signed = dataclasses.replace(settings, signing_key=("k" * 32,), middleware=())
    async with Queue(settings=signed) as queue, run_worker(settings=signed), Queue(settings=settings) as other:
        job = await queue.enqueue(onion.fail)
        with pytest.raises(JobFailedError):
            await job.result(SLOW)
        with pytest.raises(SignatureError, match="needs NAQ_SIGNING_KEY"):
            await manage.retry_job(await other.connection(), job.job_id)
        assert await job.status() is JobState.DEAD


@pytest.mark.parametrize("changes", ["nothing", "the expiry"])
async def test_a_requeue_keeps_the_stored_call_unless_it_is_changed(
    changes: str, settings: Settings, run_worker: RunWorker
) -> None:
    signed = dataclasses.replace(settings, signing_key=("k" * 32,), middleware=())
    other = dataclasses.replace(settings, middleware=(f"{HERE}:Idle",))
    async with Queue(settings=signed) as queue, Queue(settings=other) as keyless:
        connection = await keyless.connection()
        async with run_worker(settings=signed):
            job = await queue.options(headers={"do": "expiry"}).enqueue(onion.fail)
            with pytest.raises(JobFailedError):
                await job.result(SLOW)
        before = await find_job(connection, job.job_id)
        assert before is not None
        if changes == "nothing":
            await manage.retry_job(connection, job.job_id)
            after = await find_job(connection, job.job_id)
            assert after is not None
            assert after.data == before.data
            assert state_of_subject(after.subject)[0] == "normal"
        else:
            envelope = decode_envelope(before.data)
            send: list[Envelope] = []
            changing = dataclasses.replace(settings, middleware=(f"{HERE}:Change",))
            async with Connection(changing) as own:
                await within_stored(own, "firing", [("default", envelope)], lambda found: taken(send, found))
            assert send[0].expires == envelope.at + 600
            assert send[0].opt == envelope.opt


async def taken(into: list[Envelope], found: list[Envelope]) -> None:
    into += found


async def test_what_a_program_without_middleware_enqueues_is_sent_as_it_is(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layers, "_of_tasks", {})
    for names, declares in (((), False), ((), True), ((f"{HERE}:Idle",), False), ((f"{HERE}:Idle",), True)):
        monkeypatch.setattr(layers, "_of_tasks", {len: None} if declares else {})
        async with Connection(dataclasses.replace(settings, middleware=names)) as connection:
            assert has_middleware(connection) == bool(names or declares)
    async with Connection(dataclasses.replace(settings, middleware=())) as connection:
        envelopes: list[Envelope] = []
        envelope = Envelope(v=1, id="j", fn="m:f", ct="json", body=b"", at=1.0)
        await within_stored(connection, "firing", [("default", envelope)], lambda found: taken(envelopes, found))
        assert envelopes[0] is envelope


async def test_it_can_take_the_arguments_away(queue: Queue, run_worker: RunWorker) -> None:
    job = await queue.options(headers={"do": "clear"}).enqueue(onion.given, 1, b=2)
    async with run_worker():
        assert await job.result(SLOW) == [[], {}]


async def test_it_changes_arguments_and_options(queue: Queue, run_worker: RunWorker) -> None:
    connection = await queue.connection()
    job = await queue.options(headers={"do": "change"}).enqueue(onion.given, 1, b=2)
    encoded = queue.options(headers={"do": "change"}).call(onion.given, 3)
    encoded.encode()
    await queue.enqueue_many([encoded])
    view = await inspect.get_job(connection, job.job_id)
    assert (view.priority, view.max_attempts, view.headers["done"], view.tags) == ("high", 8, "7", ("set", "stamped"))
    assert view.expires_at is not None
    async with run_worker():
        assert await job.result(SLOW) == [[1, "more"], {"b": 2, "added": 1}]
        assert await encoded.result(SLOW) == [[3, "more"], {"added": 1}]


async def test_what_it_sets_wins_over_what_a_task_declares(queue: Queue, run_worker: RunWorker) -> None:
    """Of a job that is enqueued by its name, and of a firing, the worker adds the task's options."""
    connection = await queue.connection()
    job = await queue.options(headers={"do": "retries"}).enqueue(f"{HERE}:fail_always")
    spec = make_named_spec(f"{HERE}:fail_always", cron="@daily", schedule_id="s", options={"headers": {"do": "retries"}})
    await put_schedule(connection, spec)
    fired = await queue.job(await trigger_schedule(connection, "s"))
    async with run_worker():
        for each in (job, fired):
            with pytest.raises(JobFailedError):
                await each.result(SLOW)
            assert (await inspect.get_job(connection, each.job_id)).attempt == 2


@pytest.mark.parametrize("many", [False, True])
async def test_what_it_raises_or_leaves_out_is_not_stored(many: bool, queue: Queue) -> None:
    connection = await queue.connection()
    errors: dict[str, Any] = {"refuse": ValueError, "skip": EnqueueSkippedError, "wrong": InvalidOptionError}
    for what, kind in errors.items():
        options = queue.options(headers={"do": what})
        with pytest.raises(kind) as caught:
            await (queue.enqueue_many([options.call(onion.headers)]) if many else options.enqueue(onion.headers))
        if what == "refuse":
            assert caught.value.__notes__ == [f"raised in the middleware {HERE}:Change"]
        if what == "skip":
            assert len(caught.value.job_ids) == 1
    flow = chain(queue.options(headers={"do": "skip"}).s(onion.headers))
    with pytest.raises(EnqueueSkippedError):
        await flow.enqueue(queue)
    assert (await inspect.list_jobs(connection, JobFilter())).jobs == []
    assert (await inspect.list_workflows(connection)).workflows == []


async def test_an_enqueue_whose_error_is_caught_has_not_succeeded(queue: Queue) -> None:
    for what, kind in (("pass", DuplicateJobError), ("catch", EnqueueSkippedError)):
        options = queue.options(headers={"do": what}, unique=what)
        await options.enqueue(onion.headers)
        with pytest.raises(kind):
            await options.enqueue(onion.headers)


@task(middleware=[onion.Own("own")])
def owned() -> None: ...


async def test_that_of_a_task_is_for_its_jobs_only(queue: Queue) -> None:
    async with Queue("mail", settings=dataclasses.replace(queue.settings, middleware=(onion.Mail,))) as mail:
        await mail.enqueue_many([owned.call(), mail.call(onion.headers), mail.call(owned), queue.call(owned)])
        page = await inspect.list_jobs(await mail.connection(), JobFilter())
    found = sorted((job.queue, job.headers.get("own", ""), job.headers.get("mail", "")) for job in page.jobs)
    assert found == [("default", "3", ""), ("default", "3", ""), ("mail", "", "2"), ("mail", "3", "2")]


async def test_a_firing_that_is_left_out_counts_as_skipped(settings: Settings) -> None:
    async with Queue(settings=settings) as queue:
        connection = await queue.connection()
        spec = make_named_spec(f"{HERE}:headers", interval=1, schedule_id="s", options={"headers": {"do": "skip"}})
        await put_schedule(connection, spec)
        scheduler = Scheduler(settings=settings)

        async def has_skipped() -> None:
            assert [firing.kind for firing in await schedule_history(connection, "s")] == ["skipped"]

        async with asyncio.TaskGroup() as group:
            running = group.create_task(scheduler.run())
            await eventually(has_skipped, SLOW)
            scheduler.stop()
            await asyncio.wait([running])
        assert (await inspect.list_jobs(connection, JobFilter())).jobs == []


@pytest.mark.naq(middleware=("naq_core.middleware:InheritHeaders",))
async def test_headers_are_handed_on_to_the_jobs_of_a_job(queue: Queue, run_worker: RunWorker) -> None:
    job = await queue.options(headers={"tenant": "acme", "own": "0", "x": "y"}).enqueue(onion.enqueue_child)
    async with run_worker():
        assert await job.result(SLOW) == {"tenant": "acme", "own": "1", "x": "y"}


@pytest.mark.naq(middleware=(f"{HERE}:some",))
async def test_some_headers_are_handed_on(queue: Queue, run_worker: RunWorker) -> None:
    job = await queue.options(headers={"tenant": "acme", "x": "y"}).enqueue(onion.enqueue_child)
    async with run_worker():
        assert await job.result(SLOW) == {"tenant": "acme", "own": "1"}


@pytest.mark.naq(middleware=(f"{HERE}:Tenant",))
async def test_it_sees_context_variables_of_the_caller_also_of_sync_code(queue: Queue) -> None:
    onion.seen.set(("acme",))
    await queue.enqueue(onion.headers)
    await asyncio.to_thread(enqueue_sync, queue.settings)
    page = await inspect.list_jobs(await queue.connection(), JobFilter())
    assert [job.headers for job in page.jobs] == [{"tenant": "acme"}] * 2
