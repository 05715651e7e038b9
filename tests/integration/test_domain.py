"""A leaf node in between: everything NAQ stores is in the JetStream domain of the hub."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from datetime import timedelta
from pathlib import Path

import pytest

from naq_client import Queue, chain
from naq_core import Connection, Settings, events, inspect, manage, schedules
from naq_core.connection import get_jetstream_context, get_nats_connection
from naq_core.errors import JetStreamDisabledError, PermissionDeniedError
from naq_core.permissions import Role, inbox_of, server_config
from naq_core.transport.domain import in_domain, outside_domain
from naq_scheduler import Scheduler
from naq_worker import Worker
from tests.integration import work
from tests.support.eventually import eventually
from tests.support.leaf import LeafAndHub


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LeafAndHub]:
    with LeafAndHub(tmp_path_factory.mktemp("leaf")) as servers:
        yield servers


@pytest.fixture
async def settings(servers: LeafAndHub, namespace: str) -> Settings:
    found = Settings(nats_url=servers.leaf.url, namespace=namespace, jetstream_domain="hub", large_threshold=100_000)
    await reached(found)
    return found


async def reached(settings: Settings) -> None:
    """Wait until the leaf node has connected to the hub."""

    async def answers() -> None:
        try:
            async with Connection(settings):
                pass
        except JetStreamDisabledError as error:
            raise AssertionError from error

    await eventually(answers)


@pytest.fixture
async def queue(settings: Settings) -> AsyncIterator[Queue]:
    async with Queue("default", settings=settings) as queue:
        yield queue


@pytest.fixture
async def worker(settings: Settings) -> AsyncIterator[Worker]:
    worker = Worker(["default"], settings=settings)
    async with asyncio.TaskGroup() as group:
        group.create_task(worker.run())
        yield worker
        worker.stop()


@pytest.mark.parametrize(
    ("subject", "there"),
    [
        ("$JS.API.STREAM.INFO.naq_jobs", "$JS.hub.API.STREAM.INFO.naq_jobs"),
        ("$JS.API.DIRECT.GET.KV_naq_results.$KV.naq_results.q.1", "$JS.hub.API.DIRECT.GET.KV_naq_results.$KV.naq_results.q.1"),
        ("$KV.naq_results.q.1", "$JS.hub.API.$KV.naq_results.q.1"),
        ("$OBJ.naq_objects.C.1", "$JS.hub.API.$OBJ.naq_objects.C.1"),
        ("$JS.ACK.naq_jobs.naq-worker-q.1.1.1.1.0", "$JS.ACK.naq_jobs.naq-worker-q.1.1.1.1.0"),
        ("naq.normal.q.1", "naq.normal.q.1"),
        ("_INBOX.a.1", "_INBOX.a.1"),
    ],
)
def test_a_subject_is_translated_there_and_back(subject: str, there: str) -> None:
    assert in_domain(subject, "hub") == there
    assert outside_domain(there, "hub") == subject
    assert outside_domain(there.lower(), "hub").lower() == subject.lower()
    assert in_domain(subject, None) == outside_domain(subject, None) == subject


async def test_jobs_of_every_kind_run_and_the_leaf_stores_nothing(
    servers: LeafAndHub, settings: Settings, queue: Queue, worker: Worker
) -> None:
    connection = await queue.connection()
    async with aclosing(events.events(connection)) as feed:
        first = asyncio.ensure_future(anext(feed))
        await inspect.broker_info(connection)  # a round trip after the subscription
        assert await (await queue.enqueue(work.add, 1, 2)).result(timeout=30) == 3
        assert (await first).kind in {"started", "succeeded"}
    many = await queue.enqueue_many(queue.call(work.add, number, 1) for number in range(50))
    assert many.atomic
    assert [await job.result(timeout=30) for job in many] == list(range(1, 51))
    large = "x" * 200_000
    assert await (await queue.enqueue(len, large)).result(timeout=30) == 200_000
    assert await (await queue.options(delay=0.2).enqueue(work.add, 3, 4)).result(timeout=30) == 7
    unique = queue.options(unique="key", delay=3600, on_clash="return")
    assert (await unique.enqueue(work.add, 1, 1)).job_id == (await unique.enqueue(work.add, 1, 1)).job_id
    flow = await chain(queue.s(work.add, 1, 2), queue.s(work.add, 4)).enqueue(queue)
    assert await flow.result(timeout=30) == 7
    assert (await inspect.count_jobs(connection)).count == 56
    async with Connection(Settings(nats_url=servers.leaf.url, namespace=settings.namespace)) as there:
        assert (await there.api("INFO"))["domain"] == "leaf"
        assert (await there.api("STREAM.NAMES"))["streams"] is None


async def test_a_worker_learns_of_a_pause_and_a_cancellation(queue: Queue, worker: Worker) -> None:
    connection = await queue.connection()
    running = await queue.enqueue(work.sleep, 60)

    async def runs() -> None:
        assert (await inspect.get_job(connection, running.job_id)).state == "running"

    await eventually(runs)
    await manage.cancel_job(connection, running.job_id)
    assert (await inspect.wait_for_job(connection, running.job_id, 30)).state == "cancelled"
    await manage.pause_queue(connection, "default")
    held = await queue.enqueue(work.add, 1, 1)
    assert (await inspect.get_queue(connection, "default")).paused
    await manage.resume_queue(connection, "default")
    assert await held.result(timeout=30) == 2


async def test_a_scheduler_fires(settings: Settings, queue: Queue, worker: Worker) -> None:
    connection = await queue.connection()
    schedule = await queue.schedule(work.add, 1, 1, interval=0.2, max_runs=2)
    scheduler = Scheduler(settings=settings)
    async with asyncio.TaskGroup() as group:
        group.create_task(scheduler.run())

        async def fired() -> None:
            assert (await schedules.get_schedule(connection, schedule.schedule_id)).runs == 2

        await eventually(fired)
        scheduler.stop()


async def test_a_worker_goes_on_after_a_restart_of_the_hub_behind_its_connection(tmp_path: Path, namespace: str) -> None:
    with LeafAndHub(tmp_path) as servers:
        settings = Settings(
            nats_url=servers.leaf.url, namespace=namespace, jetstream_domain="hub", heartbeat_interval=timedelta(seconds=0.5)
        )
        await reached(settings)
        worker = Worker(["default"], settings=settings)
        async with asyncio.TaskGroup() as group, Queue("default", settings=settings) as queue:
            group.create_task(worker.run())
            assert await (await queue.enqueue(work.add, 1, 2)).result(timeout=30) == 3
            servers.hub.stop()
            servers.hub.start()
            assert await (await queue.enqueue(work.add, 3, 4)).result(timeout=60) == 7
            worker.stop()


async def test_a_domain_that_nobody_has_is_named(servers: LeafAndHub, settings: Settings) -> None:
    wrong = Settings(nats_url=servers.leaf.url, jetstream_domain="hob")
    with pytest.raises(JetStreamDisabledError, match="domain hob") as caught:
        await Connection(wrong).open()
    assert caught.value.domain == "hob"


async def test_plain_nats_py_is_given_the_domain(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in settings.as_environment().items():
        monkeypatch.setenv(name, value)
    client = await get_nats_connection()
    assert (await (await get_jetstream_context(client)).account_info()).domain == "hub"
    await client.close()


async def test_users_of_the_leaf_get_permissions_for_the_domain(tmp_path: Path) -> None:
    roles = {"setup": Role.ADMIN, "shop": Role.PRODUCER, "work": Role.WORKER}
    users = dict.fromkeys(roles, "secret")
    config = server_config(users, roles, account=None, jetstream_domain="hub")
    with LeafAndHub(tmp_path, config) as servers:

        def settings_of(user: str) -> Settings:
            return Settings(
                nats_url=servers.leaf.url,
                nats_user=user,
                nats_password="secret",
                nats_inbox_prefix=inbox_of(roles[user], user=user),
                jetstream_domain="hub",
            )

        await reached(settings_of("setup"))
        async with Connection(settings_of("setup")) as admin:
            await manage.apply_topology(admin, ["default"])
        worker = Worker(["default"], settings=settings_of("work"))
        async with asyncio.TaskGroup() as group, Queue("default", settings=settings_of("shop")) as queue:
            group.create_task(worker.run())
            assert await (await queue.enqueue(work.add, 1, 2)).result(timeout=30) == 3
            with pytest.raises(PermissionDeniedError, match=r"\$JS.API.STREAM.DELETE"):
                await (await queue.connection()).api("STREAM.DELETE.naq_jobs")
            worker.stop()
