"""What orchestrators, Prometheus and systemd learn of a service: its health, its own counters, its state."""

from __future__ import annotations

import asyncio
import re
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from naq_client import Queue
from naq_core.inspect import list_workers
from naq_core.manage import quiet_worker, resume_worker
from naq_core.notify import Notifier, ServiceState, take_notifier
from tests.support import jobs
from tests.support.eventually import eventually
from tests.support.processes import Fleet, WorkerProcess

SHARES = pytest.mark.parametrize("processes", [1, 2])
GATE = """
import pathlib, time

def is_open(name):
    return pathlib.Path(name).exists()

async def block(name):
    pathlib.Path(name + "-begun").touch()
    while not is_open(name):
        time.sleep(0.02)
"""
IMPATIENT = """
import sys
from naq_worker import _health
_health.SILENT = 2.0
from naq_worker.__main__ import main
sys.exit(main())
"""
SLOW_START = """
import asyncio, logging, sys, gate
from naq_worker import Worker, _health
from naq_worker._options import Options

async def start():
    while not gate.is_open("go"):
        await asyncio.sleep(0.02)

async def main():
    logging.basicConfig(level=logging.INFO)
    worker = Worker("default", hooks=[start])
    names = dict.fromkeys(Options.__dataclass_fields__)
    with _health.observed(worker, Options(**{**names, "http_port": 0, "http_host": "127.0.0.1"}), None):
        await worker.run()

asyncio.run(main())
"""
Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


async def address_of(service: WorkerProcess) -> str:
    def address() -> str:
        found = re.search(r"health(?: and metrics)? at (\S+)", service.output())
        assert found is not None, service.output()
        return found[1]

    return await eventually(address, 20)


async def answers(url: str, status: int) -> str:
    """Ask until that is the status, and return the text."""

    async def asked() -> str:
        found, text = await asyncio.to_thread(get, url)
        assert found == status, text
        return text

    return await eventually(asked, 20)


async def samples_of(address: str) -> Samples:
    text = await answers(f"{address}/metrics", 200)
    return {
        (each.name, tuple(sorted(each.labels.items()))): each.value
        for one in text_string_to_metric_families(text)
        for each in one.samples
    }


def total(samples: Samples, name: str, **labels: str) -> float:
    return sum(value for (each, has), value in samples.items() if each == name and labels.items() <= dict(has).items())


@SHARES
async def test_a_worker_tells_its_own_counters(processes: int, fleet: Fleet, queue: Queue) -> None:
    service = fleet.start("default", "--workers", str(processes), "--health-port", "0")
    address = await address_of(service)
    for _ in range(6):
        await queue.enqueue(jobs.work)

    async def counted() -> Samples:
        found = await samples_of(address)
        assert total(found, "naq_jobs_finished_total", queue="default", outcome="succeeded") == 6
        assert total(found, "naq_worker_ready") == processes
        return found

    found = await eventually(counted, 20)
    assert total(found, "naq_jobs_started_total", task="tests.support.jobs:work") == 6
    assert total(found, "naq_job_duration_seconds_count", queue="default") == 6
    assert total(found, "naq_job_wait_seconds_bucket", le="+Inf") == 6
    assert total(found, "naq_worker_slots") == processes * queue.settings.concurrency
    assert total(found, "process_resident_memory_bytes") > 1e6
    numbers = {dict(has).get("process") for name, has in found if name == "naq_worker_slots"}
    assert numbers == ({None} if processes == 1 else {"1", "2"})
    assert total(await samples_of(address), "naq_jobs_finished_total", outcome="succeeded") == 6, "nothing is counted twice"
    service.kill()


async def test_a_quiet_worker_is_alive_and_not_ready(fleet: Fleet, queue: Queue) -> None:
    service = fleet.start("default", "--health-port", "0")
    address = await address_of(service)
    assert await answers(f"{address}/readyz", 200) == "takes jobs\n"
    assert await answers(f"{address}/startupz", 200) == "started\n"
    connection = await queue.connection()
    worker = (await list_workers(connection))[0]["worker_id"]
    await quiet_worker(connection, worker)
    await answers(f"{address}/readyz", 503)
    assert await answers(f"{address}/startupz", 200) == "started\n"
    assert await answers(f"{address}/livez", 200) == "alive\n"
    await resume_worker(connection, worker)
    await answers(f"{address}/readyz", 200)
    assert await answers(f"{address}/nothing", 404) == "try /livez, /readyz, /startupz, /metrics\n"
    service.kill()


async def test_a_worker_has_not_started_before_its_hooks_have_ended(fleet: Fleet) -> None:
    (fleet.directory / "gate.py").write_text(GATE)
    service = fleet.run_program(SLOW_START)
    address = await address_of(service)
    assert await answers(f"{address}/startupz", 503) == "is starting\n"
    await answers(f"{address}/readyz", 503)
    assert await answers(f"{address}/livez", 200) == "alive\n"
    (fleet.directory / "go").touch()
    await answers(f"{address}/startupz", 200)
    await answers(f"{address}/readyz", 200)
    service.kill()


@SHARES
async def test_a_blocked_event_loop_is_not_alive_until_it_turns_again(processes: int, fleet: Fleet, queue: Queue) -> None:
    (fleet.directory / "gate.py").write_text(GATE)
    service = fleet.run_program(IMPATIENT, "--imports", "gate", "default", f"--workers={processes}", "--health-port=0")
    address = await address_of(service)
    await answers(f"{address}/readyz", 200)
    await answers(f"{address}/livez", 200)
    slots = processes * queue.settings.concurrency

    async def all_tell() -> None:
        assert total(await samples_of(address), "naq_worker_slots") == slots

    await eventually(all_tell, 20)
    job = await queue.enqueue("gate:block", str(fleet.directory / "gate"))
    assert re.search(r"has been blocked for \d+ s", await answers(f"{address}/livez", 503))
    assert total(await samples_of(address), "naq_worker_slots") == slots, "the last known figures"
    (fleet.directory / "gate").touch()
    await job.result(60)
    await answers(f"{address}/livez", 200)
    service.kill()


@pytest.mark.parametrize("kind", ["worker", "workers", "scheduler"])
async def test_systemd_is_told_of_start_stop_and_life(
    kind: str, fleet: Fleet, queue: Queue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "400000")
        if kind == "scheduler":
            service = fleet.start_scheduler()
        else:
            service = fleet.start("default", "--workers", "2" if kind == "workers" else "1")
        told: list[str] = []

        def hears(wanted: str) -> None:
            while True:
                try:
                    told.extend(manager.recv(4096).decode().split("\n"))
                except BlockingIOError:
                    break
            assert [each for each in told if re.fullmatch(wanted, each)], (told, service.output())

        await eventually(lambda: hears("READY=1"), 20)
        status = {"worker": "takes jobs; 0 of 8 .*", "workers": "[12] of 2 workers take jobs", "scheduler": "leader; 0 schedules"}
        await eventually(lambda: hears(f"STATUS={status[kind]}"), 20)
        told.clear()
        await eventually(lambda: hears("WATCHDOG=1"), 20)
        assert "READY=1" not in told, "said once"
        if kind != "scheduler":
            job = await queue.enqueue("os:getenv", "NOTIFY_SOCKET")
            assert await job.result(60) is None, "what jobs start must not speak for the service"
        service.terminate()
        await eventually(lambda: hears("STOPPING=1"), 20)
        assert await service.ended(30) == 0, service.output()


@pytest.fixture
def manager() -> Iterator[socket.socket]:
    """Listen at an abstract address."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as found:
        found.bind("")  # Linux chooses an abstract name
        found.setblocking(False)
        yield found


def test_a_service_that_is_stuck_gives_no_sign_of_life(manager: socket.socket) -> None:
    address = "@" + manager.getsockname().decode()[1:]
    found = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "17", "PATH": "/bin"}
    notifier = take_notifier(found, 17)
    assert notifier is not None
    assert found == {"PATH": "/bin"}
    assert notifier.every == 0.5
    notifier.update(ServiceState(is_ready=True, is_stopping=False, status="fine\nSTOPPING=1"))
    assert manager.recv(999) == b"READY=1\nSTATUS=fine STOPPING=1\nWATCHDOG=1"
    notifier.update(ServiceState(is_ready=True, is_stopping=False, status="stuck", is_alive=False))
    assert manager.recv(999) == b"STATUS=stuck"
    notifier.update(ServiceState(is_ready=True, is_stopping=False, status="stuck", is_alive=False))
    with pytest.raises(BlockingIOError):
        manager.recv(999)
    notifier.update(ServiceState(is_ready=True, is_stopping=True, status="stuck"))
    assert manager.recv(999) == b"STOPPING=1\nWATCHDOG=1"


@pytest.mark.parametrize("variables", [{}, {"NOTIFY_SOCKET": "vsock:2:1"}, {"WATCHDOG_USEC": "5"}])
def test_without_a_unix_socket_nobody_is_told(variables: dict[str, str]) -> None:
    assert take_notifier(variables, 1) is None
    assert variables == {}


@pytest.mark.parametrize(
    "watchdog", [{}, {"WATCHDOG_USEC": "0"}, {"WATCHDOG_USEC": "x"}, {"WATCHDOG_USEC": "9", "WATCHDOG_PID": "2"}]
)
def test_a_watchdog_that_is_not_meant_gets_nothing(manager: socket.socket, watchdog: dict[str, str]) -> None:
    notifier = take_notifier({"NOTIFY_SOCKET": "@" + manager.getsockname().decode()[1:], **watchdog}, 1)
    assert notifier is not None
    notifier.update(ServiceState(is_ready=False, is_stopping=False, status=""))
    with pytest.raises(BlockingIOError):
        manager.recv(999)


def test_a_service_manager_that_is_gone_is_complained_of_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    notifier = Notifier(str(tmp_path / "nobody"), 1.0)
    for _ in range(3):
        notifier.update(ServiceState(is_ready=True, is_stopping=False, status=""))
    assert [each.levelname for each in caplog.records] == ["WARNING"]
