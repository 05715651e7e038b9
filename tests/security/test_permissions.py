"""Each role on a server that permits it what `role_permissions` says: it can do its work, and is refused the work of others."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
import pytest_asyncio

from naq_client import Queue, QueuePolicy, chain
from naq_core import JobFailedError, JobState, PermissionDeniedError, Settings, current_job, inspect, manage, result_of, schedules
from naq_core.audit import Actor, activity, note_refusal, read_trail, recorded
from naq_core.connection import Connection
from naq_core.events import events
from naq_core.functions import function_name
from naq_core.metrics import Counter, TallyReader
from naq_core.permissions import Role, inbox_of, role_permissions, server_config
from naq_core.record import JobRecord, encode_record
from naq_core.server import EmbeddedServer
from naq_core.storage.records import read_record
from naq_core.transport.direct import count_many
from naq_core.views import JobFilter
from naq_scheduler import Scheduler
from naq_worker import Worker, _settle
from tests.integration import work
from tests.support.eventually import eventually

QUEUES = ("mail", "other")
LARGE = b"x" * 300_000


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedServer]:
    passwords = {role.value: f"password-of-{role}" for role in Role}
    config = server_config(passwords, {role.value: role for role in Role}, "sec", QUEUES)
    with EmbeddedServer(config=config) as running:
        yield running


def settings_of(server: EmbeddedServer, role: Role) -> Settings:
    return Settings(
        nats_url=server.url,
        namespace="sec",
        nats_user=role.value,
        nats_password=f"password-of-{role}",
        nats_inbox_prefix=inbox_of(role, "sec", role.value),
        default_queue="mail",
        heartbeat_interval=timedelta(seconds=0.5),
        worker_ttl=timedelta(seconds=2),
    )


@pytest_asyncio.fixture
async def provisioned(server: EmbeddedServer) -> EmbeddedServer:
    async with Connection(settings_of(server, Role.ADMIN)) as connection:
        await manage.apply_topology(connection, list(QUEUES))
        async with recorded(connection, Actor("admin", "session"), "pause-queue", "mail"):
            pass  # the trail's stream is made by the first action
    return server


Open = Callable[[Role], Awaitable[Connection]]


@pytest_asyncio.fixture
async def open_as(provisioned: EmbeddedServer) -> AsyncIterator[Open]:
    async with AsyncExitStack() as stack:

        async def opened(role: Role) -> Connection:
            return await stack.enter_async_context(Connection(settings_of(provisioned, role)))

        yield opened


@asynccontextmanager
async def running(server: EmbeddedServer, **options: Any) -> AsyncIterator[Worker]:
    worker = Worker(QUEUES, settings=settings_of(server, Role.WORKER), **options)
    async with asyncio.TaskGroup() as group:
        group.create_task(worker.run())
        try:
            yield worker
        finally:
            worker.stop()


def twice(data: bytes) -> bytes:
    return data + data


async def half(number: int) -> int:
    current_job().progress(1, 2, "half")
    return number


async def test_producer_and_worker_can_do_their_work(
    provisioned: EmbeddedServer, open_as: Open, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(_settle, "LONGEST_NAK", 0.0)  # retries take the way over the held subject
    producer = await open_as(Role.PRODUCER)
    mail, other = Queue("mail", connection=producer), Queue("other", connection=producer)
    plain = await mail.enqueue(half, 7)
    urgent = await mail.options(priority="high").enqueue(work.add, 1)
    later = await mail.enqueue_in(0.3, work.add, 2)
    retried = await mail.options(max_retries=1, retry_delay=0.1).enqueue(work.fail_until, 2)
    dead = await mail.enqueue(work.fail, "no")
    process = await mail.options(process=True).enqueue(work.add, 3)
    large = await mail.enqueue(twice, LARGE)
    child = await other.enqueue(twice, result_of(large))
    unique = await mail.options(unique="one").enqueue(work.add, 4)
    gates = [await each.options(wait_for="approved").enqueue(work.add, 5) for each in (mail, other)]
    assert await mail.signal("approved")
    many = await mail.enqueue_many([mail.call(work.add, n) for n in range(3)])
    async with running(provisioned):
        assert await plain.result(20) == 7
        assert [await job.result(20) for job in (urgent, later, process, unique, *many)] == [1, 2, 3, 4, 0, 1, 2]
        assert await retried.result(20) == 2
        assert [await job.result(20) for job in gates] == [5, 5]
        with pytest.raises(JobFailedError):
            await dead.result(20)
        assert await child.result(20) == LARGE * 4
        assert await plain.status() is JobState.SUCCEEDED
    assert "may not" not in caplog.text


async def test_limits_and_presence_need_no_more(
    provisioned: EmbeddedServer, open_as: Open, caplog: pytest.LogCaptureFixture
) -> None:
    operator, producer = await open_as(Role.OPERATOR), await open_as(Role.PRODUCER)
    mail = Queue("mail", connection=producer)
    await manage.set_queue_limit(operator, "mail", 1)
    try:
        jobs = [await mail.enqueue(work.add, n) for n in range(3)]
        async with running(provisioned) as worker:
            assert [await job.result(20) for job in jobs] == [0, 1, 2]
            assert [each["worker_id"] for each in await inspect.list_workers(operator)] == [worker.worker_id]
        assert await inspect.list_workers(operator) == []
    finally:
        await manage.set_queue_limit(operator, "mail", None)
    assert "may not" not in caplog.text


async def test_keys_rates_and_signals_need_no_more(
    provisioned: EmbeddedServer, open_as: Open, caplog: pytest.LogCaptureFixture
) -> None:
    operator, producer = await open_as(Role.OPERATOR), await open_as(Role.PRODUCER)
    mail = Queue("mail", connection=producer)
    await manage.set_queue_policy(operator, "mail", QueuePolicy(key_limit=8, rate="1000/s", key_rate="1000/s"))
    try:
        jobs = await mail.enqueue_many(mail.options(key="one").call(work.add, n) for n in range(24))
        jobs.append(await mail.options(key="other", priority="high").enqueue(work.add, 24))
        jobs.append(await mail.enqueue("tests.integration.test_by_name:go", 25))
        assert await mail.signal("go")
        async with running(provisioned):
            assert [await job.result(20) for job in jobs] == [*range(25), [25, 2]]
            await eventually(partial(_nothing_waits, operator))
    finally:
        await manage.set_queue_policy(operator, "mail", QueuePolicy())
    assert "may not" not in caplog.text


async def _nothing_waits(operator: Connection) -> None:
    stream, entries = operator.names.jobs_stream, operator.names.waits_for_key("mail", "*")
    assert (await count_many(operator, stream, [entries])) == [0]


async def test_a_viewer_sees_everything(provisioned: EmbeddedServer, open_as: Open, caplog: pytest.LogCaptureFixture) -> None:
    producer, viewer = await open_as(Role.PRODUCER), await open_as(Role.VIEWER)
    mail = Queue("mail", connection=producer)
    feed = events(viewer, "mail")
    first = asyncio.ensure_future(anext(feed))
    job = await mail.enqueue(work.add, 1)
    async with running(provisioned):
        await job.result(20)
        assert (await asyncio.wait_for(first, 10)).queue == "mail"
    page = await inspect.list_jobs(viewer, JobFilter(queue="mail"))
    assert job.job_id in {each.job_id for each in page.jobs}
    assert (await inspect.get_job(viewer, job.job_id)).state is JobState.SUCCEEDED
    assert {each.queue for each in await inspect.list_queues(viewer)} >= {"mail"}
    assert (await inspect.get_queue(viewer, "mail")).queue == "mail"
    assert (await inspect.broker_info(viewer)).streams
    assert (await inspect.waiting_for_signals(viewer)).jobs == []
    await inspect.list_workflows(viewer)
    assert await inspect.list_workers(viewer) == []
    await schedules.list_schedules(viewer)
    assert "may not" not in caplog.text
    with pytest.raises(PermissionDeniedError):
        await manage.send_signal(viewer, "seen")


async def test_an_operator_acts(provisioned: EmbeddedServer, open_as: Open, caplog: pytest.LogCaptureFixture) -> None:
    producer, operator = await open_as(Role.PRODUCER), await open_as(Role.OPERATOR)
    mail = Queue("mail", connection=producer)
    await manage.pause_queue(operator, "mail")
    cancelled, purged = await mail.enqueue(work.add, 1), await mail.enqueue(twice, LARGE)
    await manage.cancel_job(operator, cancelled.job_id)
    assert await cancelled.status() is JobState.CANCELLED
    assert await manage.purge_queue(operator, "mail") == 1, purged
    held = await mail.enqueue_in(3600, work.add, 2)
    gate = await mail.options(wait_for="checked").enqueue(work.add, 6)
    assert [job.signal for job in (await inspect.waiting_for_signals(operator)).jobs] == ["checked"]
    assert await manage.send_signal(operator, "checked")
    await manage.run_now(operator, held.job_id)
    await manage.resume_queue(operator, "mail")
    dead = await mail.enqueue(work.fail, "no")
    async with running(provisioned) as worker:
        assert (await held.result(20), await gate.result(20)) == (2, 6)
        await eventually(lambda: _is(dead, JobState.DEAD))
        await manage.retry_job(operator, dead.job_id)
        await eventually(lambda: _is(dead, JobState.DEAD))
        await manage.quiet_worker(operator, worker.worker_id)
    await manage.delete_job(operator, dead.job_id)
    assert "may not" not in caplog.text


async def test_what_an_operator_does_is_in_the_trail_and_a_viewer_reads_it(
    provisioned: EmbeddedServer, open_as: Open, caplog: pytest.LogCaptureFixture
) -> None:
    operator, viewer = await open_as(Role.OPERATOR), await open_as(Role.VIEWER)
    async with recorded(operator, Actor("olga", "session"), "pause-queue", "trailed"):
        pass
    await note_refusal(operator, Actor("eve", "session"), "purge-queue", "trailed", "eve may not")
    assert [each.outcome for each in await activity(viewer, "queue", "trailed")] == ["done"]
    assert {each.by for each in (await read_trail(viewer)).entries} >= {"olga", "eve"}
    done = False
    with pytest.raises(PermissionDeniedError):
        async with recorded(viewer, Actor("vera", "session"), "pause-queue", "trailed"):
            done = True
    assert not done
    assert "may not" not in caplog.text.replace("eve may not", "").replace("this user may not publish", "")


async def _is(job: Any, state: JobState) -> None:
    assert await job.status() is state


async def test_a_scheduler_fires_what_an_operator_has_scheduled(
    provisioned: EmbeddedServer, open_as: Open, caplog: pytest.LogCaptureFixture
) -> None:
    operator = await open_as(Role.OPERATOR)
    scheduler = Scheduler(settings=replace(settings_of(provisioned, Role.SCHEDULER), scheduler_ttl=timedelta(seconds=2)))
    run = asyncio.create_task(scheduler.run())
    try:
        schedule = await Queue("mail", connection=operator).schedule(work.add, 5, interval=1)
        async with running(provisioned):

            async def has_fired() -> None:
                jobs = (await inspect.list_jobs(operator, JobFilter(queue="mail", schedule=schedule.schedule_id))).jobs
                assert any(job.state is JobState.SUCCEEDED for job in jobs), jobs

            await eventually(has_fired, 20, interval=0.2)
        await schedules.delete_schedule(operator, schedule.schedule_id)
    finally:
        scheduler.stop()
        await run
    assert "may not" not in caplog.text


async def _publish(connection: Connection, subject: str, body: bytes = b"") -> None:
    await connection.publish(subject, body)


async def _forge_result(connection: Connection) -> None:
    record = JobRecord(state=JobState.SUCCEEDED, job_id="1", queue="mail")
    await _publish(connection, connection.names.result("mail", "1"), encode_record(record))


async def _enqueue(connection: Connection) -> None:
    await Queue("mail", connection=connection).enqueue(work.add, 1)


async def _pull(connection: Connection) -> None:
    await connection.request(f"$JS.API.CONSUMER.MSG.NEXT.{connection.names.jobs_stream}.{connection.names.consumer('mail')}")


async def _listen(connection: Connection, subject: str) -> None:
    await connection.client.subscribe(subject)
    await connection.client.flush()
    connection.denials.check(subject, "subscribe to")


async def _ask_worker(connection: Connection) -> None:
    await connection.request(connection.names.control("some-worker"))


NOT_ADMIN: list[Role] = [role for role in Role if role is not Role.ADMIN]
LESSER = [Role.PRODUCER, Role.WORKER, Role.SCHEDULER, Role.VIEWER]
REFUSED: list[tuple[str, list[Role], Callable[[Connection], Awaitable[object]]]] = [
    ("enqueue", [Role.VIEWER], _enqueue),
    ("enqueue to a queue of others", [Role.PRODUCER, Role.WORKER], lambda c: _publish(c, c.names.ready("foreign", "1"))),
    ("forge a result", [Role.PRODUCER, Role.VIEWER], _forge_result),
    ("take jobs", [Role.PRODUCER, Role.SCHEDULER, Role.VIEWER, Role.OPERATOR], _pull),
    ("purge", LESSER, lambda c: c.api(f"STREAM.PURGE.{c.names.jobs_stream}", {})),
    ("pause", LESSER, lambda c: manage.pause_queue(c, "mail")),
    ("change schedules", [Role.PRODUCER, Role.WORKER, Role.VIEWER], lambda c: _publish(c, c.names.schedule("s"))),
    ("be the leader", [Role.PRODUCER, Role.WORKER, Role.VIEWER, Role.OPERATOR], lambda c: _publish(c, c.names.lease("l"))),
    ("tell workers", [Role.PRODUCER, Role.WORKER, Role.VIEWER], _ask_worker),
    ("delete streams", NOT_ADMIN, lambda c: c.api(f"STREAM.DELETE.{c.names.jobs_stream}")),
    ("make consumers", NOT_ADMIN, lambda c: c.api(f"CONSUMER.CREATE.{c.names.jobs_stream}.evil", {})),
    (
        "read what others are answered",
        [role for role in Role if role is not Role.OPERATOR],
        lambda c: _listen(c, f"{inbox_of(Role.OPERATOR, 'sec', 'operator')}.>"),
    ),
    ("write the audit trail", LESSER, lambda c: _publish(c, c.names.audit_note("job", "1", "1"))),
    ("read the audit trail", [Role.PRODUCER, Role.WORKER, Role.SCHEDULER], lambda c: activity(c, "queue", "trailed")),
    ("clear the audit trail", NOT_ADMIN, lambda c: c.api(f"STREAM.PURGE.{c.names.audit_stream}", {})),
    ("delete from the audit trail", NOT_ADMIN, lambda c: c.api(f"STREAM.MSG.DELETE.{c.names.audit_stream}", {"seq": 1})),
    ("edit the audit trail's stream", NOT_ADMIN, lambda c: c.api(f"STREAM.UPDATE.{c.names.audit_stream}", {})),
    ("use another namespace", list(Role), lambda c: _publish(c, "sec2.jobs.normal.mail.1")),
]
CASES = [pytest.param(role, action, id=f"{role}-{name}") for name, roles, action in REFUSED for role in roles]


@pytest.mark.parametrize(("role", "action"), CASES)
async def test_a_role_is_refused_what_is_not_its_work(
    role: Role, action: Callable[[Connection], Awaitable[object]], open_as: Open
) -> None:
    connection = await open_as(role)
    async with asyncio.timeout(4):  # at once, not after the time-out of a request
        with pytest.raises(PermissionDeniedError, match="this user may not"):
            await action(connection)


async def test_who_may_not_see_events_does_not_wait_for_ever(namespace: str) -> None:
    inbox = inbox_of(Role.PRODUCER, namespace)
    publish = "\n".join(f'"{subject}"' for subject in role_permissions(Role.PRODUCER, namespace, ["mail"]).publish)
    blind = f'{{ user: a, password: a, permissions: {{ publish: [{publish}], subscribe: ["{inbox}.>"] }} }}'
    with EmbeddedServer(config=f"authorization {{ users = [ {blind}, {{ user: admin, password: a }} ] }}") as server:
        admin = Settings(nats_url=server.url, namespace=namespace, nats_user="admin", nats_password="a")
        async with Connection(admin) as connection:
            await manage.apply_topology(connection, ["mail"])
        async with Queue("mail", settings=replace(admin, nats_user="a", nats_inbox_prefix=inbox)) as queue:
            job = await queue.enqueue(work.add, 1)
            with pytest.raises(PermissionDeniedError, match="subscribe to"):
                await job.result(10)
            assert await read_record(await queue.connection(), "mail", job.job_id) is None


async def test_without_answers_connecting_says_so(server: EmbeddedServer) -> None:
    wrong = replace(settings_of(server, Role.PRODUCER), nats_inbox_prefix="_INBOX")
    with pytest.raises(PermissionDeniedError, match="subscribe to"):
        await Connection(wrong).open()


async def test_a_producer_builds_workflows_and_charts_get_their_figures(
    provisioned: EmbeddedServer, open_as: Open, caplog: pytest.LogCaptureFixture
) -> None:
    producer, viewer = await open_as(Role.PRODUCER), await open_as(Role.VIEWER)
    mail = Queue("mail", connection=producer)
    flow = await chain(mail.s(work.add, 1), mail.s(work.add, b=2)).enqueue(mail)
    async with running(provisioned):
        assert await flow.result(20) == 3
    assert (await inspect.get_workflow(viewer, flow.workflow_id)).total == 2
    assert "may not" not in caplog.text
    assert "not stored" not in caplog.text


def counted() -> None:
    """Run for one test only: the servers' counters are those of all tests of this module."""


async def test_each_role_counts_what_it_does_and_nobody_is_disturbed_who_may_not(
    provisioned: EmbeddedServer, open_as: Open, caplog: pytest.LogCaptureFixture
) -> None:
    producer, viewer = await open_as(Role.PRODUCER), await open_as(Role.VIEWER)
    reader = TallyReader("other")
    name = function_name(counted)

    async def count(kind: str, function: str = name) -> int:
        await reader.refresh(viewer)
        return reader.values.get(Counter("other", function, kind), 0)

    job = await Queue("other", connection=producer).enqueue(counted)
    producer.tally.flush()

    async def enqueued() -> None:
        assert await count("enqueued") == 1

    await eventually(enqueued)
    async with running(provisioned):
        await job.result(20)

    async def succeeded() -> None:
        assert await count("succeeded") == 1

    await eventually(succeeded)
    assert "may not" not in caplog.text
    caplog.set_level("INFO")
    viewer.tally.add("other", "m:f", "enqueued")  # as a role of an older configuration would
    await viewer.tally.finish()

    def told_once() -> None:
        assert [each.levelname for each in caplog.records if "may not" in each.message] == ["INFO"]

    await eventually(told_once)
    viewer.tally.add("other", "m:f", "enqueued")
    await viewer.tally.finish()
    assert await count("enqueued", "m:f") == 0
    told_once()
