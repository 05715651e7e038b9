"""Streams are deleted under users who may not create them: they say so once, clearly, and go on when somebody has."""

import asyncio
from collections.abc import Iterator
from datetime import timedelta

import pytest

from naq_client import Queue
from naq_core import JobTimeoutError, MissingError, Settings, manage
from naq_core.connection import Connection
from naq_core.permissions import Role, inbox_of, server_config
from naq_core.server import EmbeddedServer
from naq_worker import Worker
from tests.integration import work
from tests.support.eventually import eventually

NAMESPACE = "missing"
QUEUE = "mail"


@pytest.fixture
def server() -> Iterator[EmbeddedServer]:
    passwords = {role.value: f"password-of-{role}" for role in Role}
    config = server_config(passwords, {role.value: role for role in Role}, NAMESPACE, [QUEUE])
    with EmbeddedServer(config=config) as running:
        yield running


def settings_of(server: EmbeddedServer, role: Role) -> Settings:
    return Settings(
        nats_url=server.url,
        namespace=NAMESPACE,
        nats_user=role.value,
        nats_password=f"password-of-{role}",
        nats_inbox_prefix=inbox_of(role, NAMESPACE, role.value),
        default_queue=QUEUE,
        ack_wait=timedelta(seconds=2),
        heartbeat_interval=timedelta(seconds=0.5),
        worker_ttl=timedelta(seconds=2),
    )


async def test_who_may_not_create_what_is_missing_says_so_once_and_goes_on_when_it_is_back(
    server: EmbeddedServer, caplog: pytest.LogCaptureFixture
) -> None:
    worker = Worker([QUEUE], settings=settings_of(server, Role.WORKER))
    async with (
        Connection(settings_of(server, Role.ADMIN)) as admin,
        asyncio.TaskGroup() as group,
    ):
        await manage.apply_topology(admin, [QUEUE])
        async with Queue(QUEUE, settings=settings_of(server, Role.PRODUCER)) as queue:
            running = group.create_task(worker.run())
            assert await (await queue.enqueue(work.add, 1)).result(30) == 1
            await admin.api(f"STREAM.DELETE.{admin.names.results_stream}")
            job = await queue.enqueue(work.add, 2)
            missing = f"{admin.names.results_stream} is missing on the server and cannot be created"
            await eventually(lambda: _said(caplog, missing), 30)
            with pytest.raises((JobTimeoutError, MissingError)):
                await job.result(3)  # meanwhile it is delivered again and again, as often as its lease runs out
            assert not running.done()
            assert worker.counters.processed < 5
            # One line from each connection that noticed: worker, its keep-alive, producer.
            assert caplog.text.count(missing) <= 3
            await manage.apply_topology(admin, [QUEUE])
            assert await job.result(30) == 2

            await admin.api(f"STREAM.DELETE.{admin.names.jobs_stream}")
            with pytest.raises(MissingError, match=rf"{admin.names.jobs_stream} is missing.*naq setup"):
                await queue.enqueue(work.add, 3)
            await manage.apply_topology(admin, [QUEUE])

            async def works() -> None:
                try:
                    again = await queue.enqueue(work.add, 4)
                except MissingError as error:
                    raise AssertionError(str(error)) from error
                assert await again.result(30) == 4

            await eventually(works, 30)
            worker.stop()


def _said(caplog: pytest.LogCaptureFixture, text: str) -> None:
    assert text in caplog.text
