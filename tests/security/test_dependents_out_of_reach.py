"""A worker may only touch its own queues; a job of another one that waited for its jobs is left to that one's workers."""

from __future__ import annotations

import asyncio

import pytest

from naq_client import Queue, result_of
from naq_core import Connection, Settings, manage
from naq_core.permissions import Role, _user, inbox_of, role_permissions
from naq_core.server import EmbeddedServer
from naq_core.storage.records import find_job
from naq_worker import Worker
from tests.integration import work
from tests.support.eventually import eventually


def settings_of(server: EmbeddedServer, user: str, role: Role) -> Settings:
    prefix = inbox_of(role, "sec")
    return Settings(nats_url=server.url, namespace="sec", nats_user=user, nats_password="pw", nats_inbox_prefix=prefix)


async def test_a_waiting_job_of_another_queue_is_left_to_its_own_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("naq_core.storage.edges.FIRST_LOOK", 3.0)
    users = [
        _user("admin", "pw", role_permissions(Role.ADMIN, "sec", ("mail", "other"))),
        _user("mail", "pw", role_permissions(Role.WORKER, "sec", ("mail",))),
        _user("other", "pw", role_permissions(Role.WORKER, "sec", ("other",))),
    ]
    config = "authorization {\n  users = [\n" + "\n".join(users) + "\n  ]\n}\n"
    with EmbeddedServer(config=config) as server:
        async with Connection(settings_of(server, "admin", Role.ADMIN)) as admin, asyncio.TaskGroup() as group:
            await manage.apply_topology(admin, ["mail", "other"])
            parent = await Queue("mail", connection=admin).enqueue(work.add, 7)
            other = Queue("other", connection=admin)
            children = [await other.enqueue(work.add, result_of(parent), number) for number in range(3)]
            workers = [Worker([name], settings=settings_of(server, name, Role.WORKER)) for name in ("mail", "other")]
            for worker in workers:
                group.create_task(worker.run())

            async def acknowledged() -> None:
                assert await find_job(admin, parent.job_id) is None

            await eventually(acknowledged)
            assert [await child.result(20) for child in children] == [7, 8, 9]
            for worker in workers:
                worker.stop()
