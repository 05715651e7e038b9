"""A queue that was made by a typing error can be deleted; one with jobs or workers cannot."""

import pytest

from naq_client import Queue
from naq_core import QueueInUseError, QueueNotFoundError, Settings, manage
from naq_core.connection import Connection
from naq_core.inspect import get_queue, list_queues
from naq_core.permissions import Role, inbox_of, server_config
from naq_core.server import EmbeddedServer
from naq_core.storage.consumers import list_consumers
from naq_worker import Worker
from tests.conftest import RunWorker
from tests.integration import work
from tests.support.eventually import eventually


async def test_an_empty_queue_is_deleted_with_all_that_was_set_for_it(queue: Queue) -> None:
    connection = await queue.connection()
    await queue.options(priority="high").enqueue(work.add, 1)
    await manage.set_queue_limit(connection, "default", 3)
    await manage.pause_queue(connection, "default")
    await manage.purge_queue(connection, "default")
    await manage.delete_queue(connection, "default")
    assert await list_queues(connection) == []
    assert await list_consumers(connection) == []
    with pytest.raises(QueueNotFoundError):
        await manage.delete_queue(connection, "default")
    await queue.enqueue(work.add, 1)  # it is a new one, neither paused nor limited
    view = await get_queue(connection, "default")
    assert (view.queued, view.paused, view.limit) == (1, False, None)


async def test_a_queue_with_jobs_or_workers_says_what_it_has(queue: Queue, settings: Settings, run_worker: RunWorker) -> None:
    connection = await queue.connection()
    held = await queue.options(delay=3600).enqueue(work.add, 1)
    with pytest.raises(QueueInUseError, match="queue 'default' has 1 held job: only an empty queue without workers"):
        await manage.delete_queue(connection, "default")
    await held.cancel()
    with pytest.raises(QueueInUseError, match="1 cancelled job:"):
        await manage.delete_queue(connection, "default")
    await manage.delete_job(connection, held.job_id)
    await queue.enqueue(work.fail)
    await Worker("default", settings=settings, burst=True).run()
    await queue.enqueue(work.add, 1)
    with pytest.raises(QueueInUseError, match="1 queued job, 1 dead job:") as caught:
        await manage.delete_queue(connection, "default")
    assert caught.value.jobs == {"queued": 1, "dead": 1}
    async with run_worker("other"):

        async def has_a_worker() -> None:
            assert [each.workers for each in await list_queues(connection) if each.queue == "other"] == [1]

        await eventually(has_a_worker)
        with pytest.raises(QueueInUseError, match="queue 'other' has 1 worker:"):
            await manage.delete_queue(connection, "other")


async def test_who_still_knows_a_deleted_queue_does_not_bring_it_back(queue: Queue, settings: Settings) -> None:
    connection = await queue.connection()
    await queue.enqueue(work.add, 1)
    await queue.purge()
    async with Connection(settings) as other:
        await manage.delete_queue(other, "default")
    await connection.keeper.check()  # as a scheduler or dashboard does every few seconds
    assert await list_consumers(connection) == []


async def test_an_operator_may_delete_a_queue() -> None:
    passwords = {role.value: "p" for role in (Role.OPERATOR, Role.ADMIN)}
    config = server_config(passwords, {role.value: role for role in (Role.OPERATOR, Role.ADMIN)}, "naq", ["mail"])
    with EmbeddedServer(config=config) as server:

        def settings(role: Role) -> Settings:
            prefix = inbox_of(role, "naq", role.value)
            return Settings(nats_url=server.url, nats_user=role.value, nats_password="p", nats_inbox_prefix=prefix)

        async with Connection(settings(Role.ADMIN)) as admin, Connection(settings(Role.OPERATOR)) as operator:
            await manage.apply_topology(admin, ["mail", "mial"])
            await manage.pause_queue(operator, "mail")
            await manage.delete_queue(operator, "mial")
            assert [each.queue for each in await list_queues(operator)] == ["mail"]
