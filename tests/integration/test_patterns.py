"""A worker with patterns serves the queues that match: those there are, those that appear, and deleted ones no longer."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest

from naq_client import Queue
from naq_core import InvalidNameError, QueueInUseError, Settings, manage
from naq_core.connection import Connection
from naq_core.inspect import get_queue, list_queues, list_workers
from naq_core.permissions import Role, inbox_of, server_config
from naq_core.server import EmbeddedServer
from naq_worker import Worker, _patterns
from tests.conftest import RunWorker
from tests.integration import work
from tests.support.eventually import eventually


async def served(connection: Connection) -> list[list[str]]:
    return [each["queues"] for each in await list_workers(connection)]


async def test_it_serves_queues_as_they_appear_and_leaves_those_that_go(queue: Queue, run_worker: RunWorker) -> None:
    connection = await queue.connection()
    first, other = Queue("cust-b", connection=connection), Queue("other", connection=connection)
    jobs = [await first.enqueue(work.add, 1), await other.enqueue(work.add, 1)]
    async with run_worker("mail", "cust-*") as worker:
        assert await jobs[0].result(30) == 1
        late = Queue("cust-a", connection=connection)
        urgent = await late.options(priority="high").enqueue(work.add, 2)  # the normal level has no consumer yet
        assert await urgent.result(30) == 2
        assert await (await late.enqueue(work.add, 3)).result(30) == 3
        assert worker.queues == ["mail", "cust-a", "cust-b"]
        await eventually(lambda: _is_served(connection, ["mail", "cust-a", "cust-b"]))
        assert (await list_workers(connection))[0]["patterns"] == ["cust-*"]

        with pytest.raises(QueueInUseError, match="queue 'mail' has 1 worker"):
            await manage.delete_queue(connection, "mail")
        await manage.set_queue_limit(connection, "cust-a", 1)
        await eventually(lambda: _is_deleted(connection, "cust-a"))
        await eventually(lambda: _is_served(connection, ["mail", "cust-b"]))
        assert [each.queue for each in await list_queues(connection)] == ["cust-b", "mail", "other"]

        assert await (await late.enqueue(work.add, 4)).result(30) == 4  # it is there again
        assert worker.queues == ["mail", "cust-a", "cust-b"]
    assert (await get_queue(connection, "other")).waiting == 1


async def _is_served(connection: Connection, queues: list[str]) -> None:
    assert await served(connection) == [queues]


async def test_what_it_was_not_told_of_is_found_all_the_same(
    queue: Queue, run_worker: RunWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The events of a new queue and of a deleted one were lost: both are seen at the next look."""
    monkeypatch.setattr(_patterns, "follow_new_consumers", _hear_nothing)
    monkeypatch.setattr(_patterns.PatternQueues, "_note_deleted", _hear_nothing_of)
    monkeypatch.setattr(_patterns, "LOOK_INTERVAL", 0.2)
    connection = await queue.connection()
    async with run_worker("*"):
        assert await (await queue.enqueue(work.add, 1)).result(30) == 1
        monkeypatch.undo()
        monkeypatch.setattr(_patterns, "LOOK_INTERVAL", 0.2)
        await eventually(lambda: _is_deleted(connection, "default"))
        await eventually(lambda: _is_served(connection, []))


async def _is_deleted(connection: Connection, queue: str) -> bool:
    try:
        await manage.delete_queue(connection, queue)
    except QueueInUseError:  # the acknowledgement of its last job is on its way
        return False
    return True


async def _hear_nothing(*_: object) -> None:
    pass


def _hear_nothing_of(*_: object) -> None:
    pass


async def test_in_burst_mode_it_empties_all_and_is_limited_and_quieted_like_any(queue: Queue, settings: Settings) -> None:
    connection = await queue.connection()
    queues = [Queue(f"cust-{number:03}", connection=connection) for number in range(70)]  # more than are begun at once
    jobs = [await each.enqueue(work.add, 1) for each in queues]
    await manage.set_queue_limit(connection, "cust-000", 1)
    worker = Worker({"cust-0*": 2, "nothing-*": 1}, settings=settings, burst=True)
    await worker.run()
    assert len(worker.queues) == 70
    assert await asyncio.gather(*(job.result(30) for job in jobs)) == [1] * 70
    await Worker("nothing-*", settings=settings, burst=True).run()


async def test_policies_of_the_settings_file_hold_for_queues_that_match(queue: Queue, settings: Settings) -> None:
    worker = Worker("cust-*", settings=settings, burst=True)
    worker.policies = {"cust-1": {"limit": 2}, "other": {"limit": 3}}
    await worker.run()
    assert worker.queues == ["cust-1"]
    assert (await manage.get_queue_policy(await queue.connection(), "cust-1")).limit == 2


async def test_a_quiet_worker_sees_new_queues_when_it_resumes(queue: Queue, run_worker: RunWorker) -> None:
    connection = await queue.connection()
    async with run_worker("cust-*") as worker:
        worker.quiet()
        job = await Queue("cust-1", connection=connection).enqueue(work.add, 5)
        worker.resume()
        assert await job.result(30) == 5


@pytest.mark.parametrize(("allowed", "expected"), [(("*",), ["cust-1", "cust-2"]), (("cust-1",), ["cust-1"])])
async def test_it_serves_what_its_user_may_serve(allowed: tuple[str, ...], expected: list[str]) -> None:
    users = {role.value: f"password-of-{role}" for role in Role}
    config = server_config(users, {role.value: role for role in Role}, "pat", allowed)

    def as_(role: Role) -> Settings:
        return Settings(
            nats_url=server.url,
            namespace="pat",
            nats_user=role.value,
            nats_password=users[role.value],
            nats_inbox_prefix=inbox_of(role, "pat", role.value),
            heartbeat_interval=timedelta(seconds=0.5),
            worker_ttl=timedelta(seconds=2),
        )

    with EmbeddedServer(config=config) as server:
        async with Connection(as_(Role.ADMIN)) as admin:
            await manage.apply_topology(admin, ["cust-1", "cust-2"])
            producer = Queue("cust-1", settings=as_(Role.PRODUCER))
            async with producer, asyncio.timeout(60):
                job = await producer.enqueue(work.add, 1)
                worker = Worker("cust-*", settings=as_(Role.WORKER))
                running = asyncio.create_task(worker.run())
                try:
                    assert await job.result(30) == 1
                    assert worker.queues == expected
                finally:
                    worker.stop()
                    await running


def test_what_is_no_pattern_is_refused() -> None:
    for wrong in ("cust.*", "cust-?", "", ">", "a" * 65):
        with pytest.raises(InvalidNameError):
            Worker([wrong])
