"""Several worker processes as one service: `naq worker --workers N`, under deaths, stops and limits."""

from __future__ import annotations

import asyncio
import dataclasses
import json
import os
import random
import re
import signal
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from naq_client import Queue
from naq_core import JobState, Settings
from naq_core.server import EmbeddedServer
from tests.support import jobs
from tests.support.checker import Limits, verify
from tests.support.eventually import eventually
from tests.support.forms import short_and_long
from tests.support.history import History, boottime
from tests.support.load import Load
from tests.support.observer import Observer
from tests.support.processes import Fleet, WorkerProcess

TALKING = """
import sys

def talk(letter):
    for _ in range(20):
        print(letter * 20_000)
        sys.stderr.write(letter * 9_000 + "\\n")
"""
TAKES_JOBS = re.compile(r"^(\d+) \| .* worker \S+-(\d+)-[0-9a-f]{8} takes jobs from", re.MULTILINE)

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="several processes need Unix")


def started(supervisor: WorkerProcess) -> dict[int, list[int]]:
    """Return of each number the ids of the processes that took jobs under it, in their order."""
    found: dict[int, list[int]] = {}
    for number, pid in TAKES_JOBS.findall(supervisor.output()):
        found.setdefault(int(number), []).append(int(pid))
    return found


async def all_take_jobs(supervisor: WorkerProcess, count: int, times: int = 1) -> dict[int, int]:
    """Wait until so many processes take jobs, each number for the so manieth time; return the newest process ids."""

    def are_there() -> dict[int, int]:
        found = started(supervisor)
        assert len(found) == count, supervisor.output()
        assert all(len(pids) >= times for pids in found.values()), supervisor.output()
        return {number: pids[-1] for number, pids in found.items()}

    return await eventually(are_there, 20)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def kill(pid: int, history: History) -> None:
    """Kill one of the processes, whose end its supervisor sees."""
    since = boottime()
    os.kill(pid, signal.SIGKILL)
    await eventually(lambda: not is_alive(pid))
    history.record("fault", name="kill", worker=pid, t0=since, t1=boottime())


async def stop(supervisor: WorkerProcess, by: Callable[[], None] | None = None) -> str:
    """Ask it to stop; return what it has printed when it has ended with 0."""
    (by or supervisor.terminate)()
    assert await supervisor.ended(20) == 0, supervisor.output()
    return supervisor.output()


@short_and_long(3, 40)
async def test_workers_that_die_are_replaced_and_nothing_is_lost(form: int, fleet: Fleet, load: Load, history: History) -> None:
    rng = random.Random(5)
    supervisor = fleet.start("default", "--workers", "3")
    await all_take_jobs(supervisor, 3)
    async with load.steady(lambda: (jobs.work, rng.uniform(0.005, 0.1)), pause=0.02, clients=2):
        for _ in range(form):
            number, pids = rng.choice(list(started(supervisor).items()))
            await kill(pids[-1], history)
            await eventually(lambda: f"worker {number} (process {pids[-1]}) was killed by SIGKILL" in supervisor.output())  # noqa: B023
            await eventually(lambda: len(started(supervisor)[number]) > len(pids), 40)  # noqa: B023
    await load.finish(30)
    said = await stop(supervisor)
    verify(history.events(), Limits(lease=4, drain=20))
    assert said.count("restarting it in") == form
    assert not any(is_alive(pids[-1]) for pids in started(supervisor).values())


async def test_workers_of_a_killed_supervisor_finish_their_jobs_and_end(fleet: Fleet, load: Load, history: History) -> None:
    first = fleet.start("default", "--workers", "2")
    second = fleet.start("default", "--workers", "2")
    orphans = list((await all_take_jobs(first, 2)).values())
    await all_take_jobs(second, 2)
    async with load.steady(lambda: (jobs.work, 0.05), pause=0.01):
        await eventually(lambda: {each.fields["worker"] for each in history.events("start")} >= set(orphans))
        first.kill()
        await eventually(lambda: not any(map(is_alive, orphans)), 20)
    await load.finish(20)
    report = verify(history.events(), Limits(lease=0))  # not even a run twice: no fault of a worker is noted
    assert report.extra_runs == 0
    await stop(second)


@pytest.mark.parametrize("signals", [["SIGTERM"], ["SIGINT"], ["SIGHUP"]], ids=lambda names: names[0])
async def test_a_signal_to_the_group_lets_running_jobs_finish(
    signals: list[str], fleet: Fleet, load: Load, history: History
) -> None:
    supervisor = fleet.start("default", "--workers", "2")
    await all_take_jobs(supervisor, 2)
    await load.enqueue_many(4, jobs.work, 1.0)
    await eventually(lambda: len(history.events("start")) == 4)
    said = await stop(supervisor, lambda: os.killpg(supervisor.pid, getattr(signal, signals[0])))
    assert "again: returning" not in said
    records = await load.finish(10)
    assert {(record.state, record.attempt) for record in records.values()} == {(JobState.SUCCEEDED, 1)}
    assert len(history.events("start")) == 4


async def test_a_second_signal_returns_the_jobs_at_once(fleet: Fleet, load: Load, history: History, observer: Observer) -> None:
    supervisor = fleet.start("default", "--workers", "2")
    await all_take_jobs(supervisor, 2)
    ids = await load.enqueue_many(2, jobs.work, 600.0)
    await eventually(lambda: len(history.events("start")) == 2)
    supervisor.terminate()
    await eventually(lambda: "finishing the running jobs" in supervisor.output())
    await asyncio.sleep(0.6)  # a second signal sooner than that is the echo of the first
    assert supervisor.is_alive
    await stop(supervisor)
    records = await observer.records("default", ids)
    assert {record.state for record in records.values()} == {JobState.QUEUED}


KILLS_SOON = (
    "import naq_worker.supervisor as s; s.KILL_MARGIN = 0.5; from naq_worker.__main__ import main; raise SystemExit(main())"
)


async def test_a_worker_that_does_not_end_is_killed_in_time(fleet: Fleet) -> None:
    supervisor = fleet.run_program(KILLS_SOON, "default", "--workers", "2")
    frozen = (await all_take_jobs(supervisor, 2))[1]
    os.kill(frozen, signal.SIGSTOP)
    supervisor.terminate()
    await eventually(lambda: "finishing the running jobs" in supervisor.output())
    await asyncio.sleep(0.6)
    supervisor.terminate()
    assert await supervisor.ended(20) == 1
    assert f"worker 1 (process {frozen}) did not end in time and was killed" in supervisor.output()


def is_frozen(pid: str) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
async def test_one_that_is_frozen_while_it_starts_is_killed_in_time(fleet: Fleet, tmp_path: Path) -> None:
    """It has not told its supervisor that it takes jobs."""
    (tmp_path / "frozen.py").write_text("import os, signal; print('freezes', flush=True); os.kill(os.getpid(), signal.SIGSTOP)\n")
    supervisor = fleet.run_program(KILLS_SOON, "default", "--workers", "2", "--imports", "frozen")
    children = Path(f"/proc/{supervisor.pid}/task/{supervisor.pid}/children")
    await eventually(lambda: supervisor.output().count("freezes") == 2)
    await eventually(lambda: all(map(is_frozen, children.read_text().split())))
    supervisor.terminate()
    await eventually(lambda: "finishing the running jobs" in supervisor.output())
    await asyncio.sleep(0.6)
    supervisor.terminate()
    assert await supervisor.ended(20) == 1, supervisor.output()
    assert supervisor.output().count("did not end in time and was killed") == 2


async def test_a_crash_loop_slows_down_and_can_be_stopped(fleet: Fleet, tmp_path: Path) -> None:
    (tmp_path / "crashing.py").write_text("import os; os._exit(7)\n")
    supervisor = fleet.start("default", "--workers", "2", "--imports", "crashing")
    await eventually(lambda: supervisor.output().count("ended with code 7; restarting it in 2 s") == 2, 20)
    assert supervisor.output().count("ended with code 7; restarting it in 1 s") == 2
    await stop(supervisor)


async def test_a_worker_that_was_stopped_by_hand_is_not_started_again(fleet: Fleet) -> None:
    supervisor = fleet.start("default", "--workers", "2")
    pids = await all_take_jobs(supervisor, 2)
    os.kill(pids[1], signal.SIGTERM)
    await eventually(lambda: f"worker 1 (process {pids[1]}) was stopped" in supervisor.output())
    os.kill(pids[2], signal.SIGTERM)
    assert await supervisor.ended(20) == 0, supervisor.output()


@pytest.mark.parametrize(
    ("options", "code", "said"),
    [
        (["default", "--workers", "2", "--imports", "no_such_module"], 4, "cannot import no_such_module"),
        (["default", "--workers", "2", "--nats-url", "nats://127.0.0.1:9"], 3, "cannot reach NATS at nats://127.0.0.1:9"),
        (["a.b", "--workers", "2"], 2, "naq worker: 'a.b' is not a valid queue name"),
        (["--workers", "0"], 2, "naq worker: workers (from argument): must be at least 1"),
        (["--workers", "2", "--http-port", "70000"], 2, "naq worker: http_port: 70000"),
        (["--workers", "2", "--max-memory", "much"], 2, "naq worker: max_memory: 'much' is not a size"),
        (["--max-idle", "0"], 2, "naq worker: max_idle: must be longer"),
        (["--max-jobs", "0"], 2, "naq worker: max_jobs: 0 is not"),
    ],
    ids=["import", "server", "queue", "workers", "port", "memory", "idle", "jobs"],
)
async def test_what_cannot_start_ends_with_the_code_of_a_single_worker(
    options: list[str], code: int, said: str, fleet: Fleet, settings: Settings
) -> None:
    supervisor = fleet.start(*options, settings=dataclasses.replace(settings, publish_budget=timedelta(seconds=1)))
    assert await supervisor.ended(30) == code, supervisor.output()
    assert said in supervisor.output()
    assert "Traceback" not in supervisor.output()


async def test_a_burst_ends_when_the_queues_are_empty(fleet: Fleet, load: Load, history: History) -> None:
    await load.enqueue_many(60, jobs.work, 0.02)
    supervisor = fleet.start("default", "--workers", "3", "--burst", "--max-jobs", "20")
    assert await supervisor.ended(60) == 0, supervisor.output()
    await load.finish(10)
    assert verify(history.events(), Limits()).extra_runs == 0
    assert "restarting it" not in supervisor.output()


async def test_processes_are_replaced_after_so_many_jobs(fleet: Fleet, load: Load, history: History) -> None:
    await load.enqueue_many(40, jobs.work, 0.02)
    supervisor = fleet.start("default", "--workers", "2", "--max-jobs", "8", "--concurrency", "2")
    await load.finish(60)
    said = await stop(supervisor)
    assert verify(history.events(), Limits(drain=60)).extra_runs == 0
    assert "takes no more jobs: it has started" in said
    assert "is replaced" in said
    assert "restarting it" not in said


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--max-jobs", "1"], "it has started 1 job"),
        (["--max-memory", "1MB"], "bytes of memory"),
        (["--max-idle", "1s"], "it has had no job for 1 s"),
    ],
    ids=["jobs", "memory", "idle"],
)
async def test_a_single_worker_ends_at_its_limit_and_finishes_what_runs(
    options: list[str], reason: str, fleet: Fleet, load: Load
) -> None:
    await load.enqueue(jobs.work, 1.5)
    worker = fleet.start("default", *options)
    assert await worker.ended(20) == 0, worker.output()
    assert reason in worker.output()
    records = await load.finish(5)
    assert [(record.state, record.attempt) for record in records.values()] == [(JobState.SUCCEEDED, 1)]


async def test_lines_of_several_processes_are_whole_and_told_apart(fleet: Fleet, load: Load, tmp_path: Path) -> None:
    (tmp_path / "talking.py").write_text(TALKING)
    for letter in "abcd" * 4:
        await load.queue.enqueue("talking:talk", letter)
    supervisor = fleet.start("default", "--workers", "3", "--burst", "--concurrency", "1")
    assert await supervisor.ended(60) == 0, supervisor.output()
    printed = re.findall(r"^(\d) \| (\w{9000,})$", supervisor.output(), re.MULTILINE)
    assert sorted(len(text) for _, text in printed) == [9_000] * 320 + [20_000] * 320
    assert all(len(set(text)) == 1 for _, text in printed)


async def test_records_for_machines_have_the_number_of_their_process(fleet: Fleet) -> None:
    supervisor = fleet.start("default", "--workers", "2", "--burst", "--log-format", "json")
    assert await supervisor.ended(30) == 0, supervisor.output()
    records = [json.loads(line) for line in supervisor.output().splitlines()]
    assert {record.get("worker_process") for record in records} == {None, 1, 2}


@pytest.mark.parametrize("workers", [1, 2])
async def test_health_is_answered_at_one_address(workers: int, fleet: Fleet, own_server: EmbeddedServer, namespace: str) -> None:
    settings = Settings.load(nats_url=own_server.url, namespace=namespace)
    service = fleet.start("default", "--workers", str(workers), "--http-port", "0", settings=settings)

    def address() -> str:
        found = re.search(r"health at (\S+)", service.output())
        assert found is not None, service.output()
        return found[1]

    at = await eventually(address, 20)
    good = "takes jobs\n" if workers == 1 else "2 of 2 workers take jobs\n"
    await eventually(lambda: get(f"{at}/readyz") == (200, good), 20)
    assert get(f"{at}/livez") == (200, "alive\n")
    own_server.kill()
    await eventually(lambda: get(f"{at}/readyz")[0] == 503, 20)
    assert get(f"{at}/livez") == (200, "alive\n")
    service.kill()


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def write_version(fleet: Fleet, number: int | None) -> None:
    """Write the module of the next test, or one that cannot be imported; each of another length, as compiled files are kept."""
    text = "1 +\n" if number is None else f"def version():\n    return {number}\n"
    (fleet.directory / "shop.py").write_text(text)


@pytest.mark.parametrize("workers", [1, 2])
async def test_a_change_of_the_code_restarts_the_workers_after_their_jobs(
    workers: int, fleet: Fleet, queue: Queue, history: History, load: Load
) -> None:
    async def runs(number: int) -> None:
        assert await (await queue.enqueue("shop:version")).result(60) == number

    write_version(fleet, 1)
    service = fleet.start("default", "--workers", str(workers), "--reload", "--imports", "shop")
    await eventually(lambda: service.output().count("takes jobs from") == workers, 20)
    await runs(1)
    await load.enqueue_many(1, jobs.work, 1.0)
    await eventually(lambda: len(history.events("start")) == 1)
    write_version(fleet, 22)
    await eventually(lambda: service.output().count("is replaced") >= workers, 20)
    assert {record.attempt for record in (await load.finish(10)).values()} == {1}, "it was not interrupted"
    await eventually(lambda: runs(22), 20)
    write_version(fleet, None)
    await eventually(lambda: service.output().count("waiting for a file to change") >= workers, 20)
    write_version(fleet, 333)
    await eventually(lambda: runs(333), 20)
    service.terminate()
    assert await service.ended(30) == 0, service.output()


INIT = """
import ctypes, sys
assert ctypes.CDLL(None).prctl(36, 1, 0, 0, 0) == 0  # its orphans come to this process, as to process 1
from naq_core.starting import fork_from_init
fork_from_init()
from naq_worker.__main__ import main
sys.exit(main())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc and a child subreaper")
async def test_as_the_first_process_of_a_container_it_reaps_what_jobs_leave_behind(
    fleet: Fleet, load: Load, tmp_path: Path
) -> None:
    (tmp_path / "leaving.py").write_text("import subprocess\n\ndef leave():\n    subprocess.run(['sh', '-c', 'sleep 0.1 &'])\n")
    first = fleet.run_program(INIT, "default", "--workers", "2")
    pids = await all_take_jobs(first, 2)
    job = await load.queue.enqueue("leaving:leave")
    await job.result(timeout=30)
    children = Path(f"/proc/{first.pid}/task/{first.pid}/children")
    await eventually(lambda: len(children.read_text().split()) == 1)
    assert all(map(is_alive, pids.values()))
    await stop(first)
