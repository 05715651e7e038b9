"""Workers with the rights of their role, and a signing key, leave the lists of a queue to one of them."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from naq_client import Queue, QueuePolicy
from naq_core import Settings
from naq_core.connection import Connection
from naq_core.manage import apply_topology, set_queue_policy
from naq_core.permissions import Role, server_config
from naq_core.server import EmbeddedServer
from naq_core.storage.asks import Answers, Ask, ask_writer
from naq_worker import Worker, _keys
from tests.integration import work
from tests.security.test_permissions import settings_of


def signed(server: EmbeddedServer, role: Role) -> Settings:
    return replace(settings_of(server, role), signing_key=("a key of more than thirty-two characters",))


@pytest.mark.parametrize("is_old", [False, True], ids=["rights", "rights of an earlier version"])
async def test_workers_ask_each_other_with_the_rights_of_their_role_and_go_on_without(
    is_old: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    asked: list[bool] = []

    async def noted(connection: Any, queue: str, worker_id: str, asks: Sequence[Ask]) -> Answers | None:
        answers = await ask_writer(connection, queue, worker_id, asks)
        asked.append(answers is not None)
        return answers

    monkeypatch.setattr(_keys, "ask_writer", noted)
    config = server_config(
        {role.value: f"password-of-{role}" for role in Role}, {role.value: role for role in Role}, "sec", ["mail"]
    )
    if is_old:
        config = "\n".join(line for line in config.splitlines() if ".asks." not in line)
    with EmbeddedServer(config=config) as server:
        async with Connection(signed(server, Role.ADMIN)) as admin:
            await apply_topology(admin, ["mail"])
        async with Connection(signed(server, Role.OPERATOR)) as operator:
            await set_queue_policy(operator, "mail", QueuePolicy(key_limit=4, rate="1000/s", burst=500))
        workers = [Worker("mail", settings=signed(server, Role.WORKER), concurrency=8) for _ in range(2)]
        async with asyncio.TaskGroup() as group, Queue("mail", settings=signed(server, Role.PRODUCER)) as queue:
            for worker in workers:
                group.create_task(worker.run())
            while not (any(asked) or (is_old and asked)):
                jobs = await queue.enqueue_many(queue.options(key="one").call(work.add, number) for number in range(60))
                assert await asyncio.gather(*(job.result(30) for job in jobs)) == list(range(60))
            for worker in workers:
                worker.stop()
    assert not (is_old and any(asked))
    assert not [each for each in caplog.records if each.levelname == "ERROR"]
    assert ("may not" in caplog.text) is is_old
