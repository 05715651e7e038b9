"""What docs/production.md promises: the generated cluster, servers replaced one by one, a back-up that is restored."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Self

import httpx
import pytest

from naq_client import Job, Queue, gather
from naq_core import BrokerError, Settings
from naq_core.errors import JobNotFoundError
from naq_core.permissions import Role, inbox_of
from naq_core.server import EmbeddedServer, find_server_binary, tie_to_this_process
from tests.cli.commands import naq
from tests.faults.conftest import SHORT_LEASES
from tests.support import jobs
from tests.support.cluster import _free_ports
from tests.support.eventually import eventually
from tests.support.history import History
from tests.support.processes import Fleet

NEWER = "NAQ_TEST_NEWER_NATS_SERVER"
"""The nats-server to which the cluster is upgraded; by default it is restarted with the same one."""
USERS = {"boss": Role.ADMIN, "shop": Role.PRODUCER, "workers": Role.WORKER}


class GeneratedCluster:
    """Three servers with the files of `naq generate nats-config`, of which only addresses and folders are changed.

    Args:
        folder: For the files and the stores.
    """

    def __init__(self, folder: Path, namespace: str) -> None:
        self._folder = folder
        self._namespace = namespace
        ports = _free_ports(9)
        self._clients, self._routes, self._monitors = ports[:3], ports[3:6], ports[6:]
        self._processes: list[subprocess.Popen[bytes] | None] = [None] * 3
        users = [word for name, role in USERS.items() for word in ("--user", f"{name}={role}")]
        servers = [word for number in range(3) for word in ("--server", f"n{number}")]
        done = naq(
            "generate", "nats-config", *servers, *users, "--queue", "default", "--to", str(folder), NAQ_NAMESPACE=namespace
        )
        assert done.returncode == 0, done.stderr
        for number in range(3):
            self._place(number)

    def settings(self, user: str) -> Settings:
        """Return the settings of a user's process, as the generated files give them."""
        return Settings.load(
            nats_url=",".join(f"nats://127.0.0.1:{port}" for port in self._clients),
            namespace=self._namespace,
            replicas=3,
            nats_user=user,
            nats_password=f"{user}-password",
            nats_inbox_prefix=inbox_of(USERS[user], self._namespace, user),
            **SHORT_LEASES,
        )

    def start(self, number: int, binary: Path) -> None:
        """Start a server."""
        passwords = {f"{name.upper()}_PASSWORD": f"{name}-password" for name in USERS}
        command = [
            *tie_to_this_process(),
            str(binary),
            "-c",
            str(self._config(number)),
            "-l",
            str(self._folder / f"n{number}.log"),
        ]
        self._processes[number] = subprocess.Popen(command, env={**os.environ, **passwords})

    def stop(self, number: int) -> None:
        """Stop a server as a service manager does."""
        process = self._processes[number]
        if process is not None:
            process.send_signal(signal.SIGTERM)
            process.wait(30)
        self._processes[number] = None

    async def is_healthy(self, number: int) -> None:
        """Assert that a server says that it has caught up."""
        async with httpx.AsyncClient() as client:
            try:
                answer = await client.get(f"http://127.0.0.1:{self._monitors[number]}/healthz")
            except httpx.HTTPError as error:
                raise AssertionError(f"n{number}: {error!r}") from error
        assert answer.status_code == 200, answer.text

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            if process is not None:
                process.kill()
                process.wait()

    def _config(self, number: int) -> Path:
        return self._folder / f"n{number}.conf"

    def _place(self, number: int) -> None:
        path = self._config(number)
        changes = {
            "\nport: 4222\n": f'\nlisten: "127.0.0.1:{self._clients[number]}"\n',
            '"127.0.0.1:8222"': f'"127.0.0.1:{self._monitors[number]}"',
            "  port: 6222\n": f'  listen: "127.0.0.1:{self._routes[number]}"\n',
            "/var/lib/nats": str(self._folder / f"store{number}"),
            **{f"//n{peer}:6222": f"//127.0.0.1:{self._routes[peer]}" for peer in range(3)},
        }
        text = path.read_text(encoding="utf-8")
        for old, new in changes.items():
            assert text.count(old) == 1, (old, text)
            text = text.replace(old, new)
        path.write_text(text, encoding="utf-8")


@pytest.mark.timeout(300)  # for a busy machine
async def test_the_generated_cluster_runs_jobs_while_its_servers_are_replaced(
    namespace: str, history: History, tmp_path: Path
) -> None:
    """As the page says: one server after the other, the next when `/healthz` of the last one answers 200."""
    older = find_server_binary()
    newer = Path(os.environ.get(NEWER) or older)
    with GeneratedCluster(tmp_path, namespace) as cluster, Fleet(cluster.settings("workers"), history, tmp_path) as fleet:
        for number in range(3):
            cluster.start(number, older)
        await eventually(lambda: cluster.is_healthy(0), 60)
        boss = cluster.settings("boss").as_environment()
        await eventually(lambda: asyncio.to_thread(succeeds, "setup", "default", **boss), 60)
        fleet.start()
        fleet.start()
        async with Queue("default", settings=cluster.settings("shop")) as queue:
            first = await queue.enqueue(jobs.work)
            await first.result(timeout=60)
            over = asyncio.Event()
            producer = asyncio.create_task(enqueue_until(over, queue))
            for number in range(3):
                await asyncio.to_thread(cluster.stop, number)
                await asyncio.to_thread(cluster.start, number, newer)
                await eventually(partial(cluster.is_healthy, number), 90)
            over.set()
            accepted = await producer
            await gather(*accepted, timeout=90)
        assert len(fleet.alive()) == 2, fleet.outputs()
    starts = [event.fields["job"] for event in history.events("start")]
    assert {job.job_id for job in accepted} <= set(starts)
    assert len(starts) - len(set(starts)) <= 3, "of each restart, only what was in flight may run again"


def succeeds(*words: str, **variables: str) -> None:
    done = naq(*words, cwd=None, **variables)
    assert done.returncode == 0, done.stderr


async def enqueue_until(over: asyncio.Event, queue: Queue) -> list[Job[int]]:
    """Enqueue jobs until `over`, each again under its id until it is accepted; return them."""
    accepted: list[Job[int]] = []
    while not over.is_set():
        once = queue.options(job_id=f"steady-{len(accepted)}")
        with contextlib.suppress(BrokerError):
            accepted.append(await once.enqueue(jobs.work, 0.01))
        await asyncio.sleep(0.02)
    return accepted


async def test_a_back_up_is_restored_beneath_clients_that_stay(namespace: str, history: History, tmp_path: Path) -> None:
    """As the page says: stop, empty the folder, unpack, start. Producers and workers are not restarted."""
    store, copy = tmp_path / "store", tmp_path / "copy"
    with EmbeddedServer(store_dir=store) as server:
        settings = Settings.load(nats_url=server.url, namespace=namespace, **SHORT_LEASES)
        async with Queue("default", settings=settings) as queue:
            done = await queue.options(job_id="done").enqueue(jobs.work)
            with Fleet(settings, history, tmp_path) as fleet:
                worker = fleet.start()
                await done.result(timeout=60)
                worker.freeze()  # what is enqueued now waits in the back-up
                waiting = await queue.options(job_id="waiting").enqueue(jobs.work)
                later = await queue.options(job_id="later", delay=timedelta(hours=1)).enqueue(jobs.work)
                await asyncio.to_thread(server.stop)
                await asyncio.to_thread(shutil.copytree, store, copy)
                await asyncio.to_thread(server.start)
                worker.thaw()
                await waiting.result(timeout=60)
                forgotten = await queue.options(job_id="forgotten").enqueue(jobs.work)
                await forgotten.result(timeout=60)

                await asyncio.to_thread(server.stop)
                during = asyncio.create_task(queue.options(job_id="during").enqueue(jobs.work))
                await asyncio.to_thread(shutil.rmtree, store)
                await asyncio.to_thread(shutil.copytree, copy, store)
                await asyncio.to_thread(server.start)

                await (await during).result(timeout=60)
                await waiting.result(timeout=60)  # once more: the back-up does not know that it has run
                assert await done.status() == "succeeded"
                assert await later.status() == "held"
                with pytest.raises(JobNotFoundError):
                    await forgotten.status()
                assert worker.is_alive, worker.output()
    starts = [event.fields["job"] for event in history.events("start")]
    assert [starts.count(name) for name in ("done", "waiting", "forgotten", "during")] == [1, 2, 1, 1]
