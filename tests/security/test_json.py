"""`NAQ_JOB_SERIALIZER=json`: nothing in any process unpickles, and only registered or allow-listed functions run."""

import ast
import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from naq_client import Queue, task
from naq_core import DecodeError, JobFailedError, JobRecord, JobState, Settings, inspect
from naq_core.connection import Connection
from naq_core.dependency import result_of
from naq_core.envelope import Envelope, JobOptions, Large, encode_envelope
from naq_core.record import encode_record
from naq_core.serialization import JSON, PICKLE
from naq_core.storage.records import read_record
from naq_core.storage.topology import ensure_queue
from naq_core.views import JobFilter
from naq_dashboard import DashboardSettings, create_app
from tests.cli.commands import naq
from tests.conftest import RunWorker
from tests.support.eventually import eventually
from tests.support.hostile import WATCH, Mark, harmless
from tests.support.processes import ROOT

pytestmark = pytest.mark.naq(job_serializer="json", allowed_functions=("tests.support.hostile:*",))


@task
def registered(number: int) -> int:
    return 2 * number


@pytest.fixture
def alarm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Let every process that starts from here on, and this one, raise and leave a mark when it unpickles."""
    site, mark = tmp_path / "site", tmp_path / "alarm"
    site.mkdir()
    (site / "sitecustomize.py").write_text(WATCH, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([os.fspath(site), os.fspath(ROOT), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.setenv("NAQ_TEST_ALARM", os.fspath(mark))
    import pickle  # noqa: PLC0415 - the modules are patched for this test only

    import cloudpickle  # noqa: PLC0415 - as below

    def raise_alarm(*_: Any, **__: Any) -> None:
        mark.mkdir(exist_ok=True)
        raise RuntimeError("something was unpickled")

    for module in (pickle, cloudpickle):
        for name in ("load", "loads"):
            monkeypatch.setattr(module, name, raise_alarm)
    return mark


def happened(*marks: Path) -> list[str]:
    """Return the marks that were made."""
    return [mark.name for mark in marks if mark.exists()]


@asynccontextmanager
async def worker_process(*queues: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a worker process with the test's environment."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "naq_worker", *queues, "--imports", "tests.security.test_json", stderr=asyncio.subprocess.PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        _, error = await process.communicate()
        assert process.returncode == 0, error.decode()


def envelope(job_id: str, **changes: Any) -> bytes:
    fields: dict[str, Any] = {"v": 1, "id": job_id, "fn": "tests.support.hostile:harmless", "ct": JSON, "body": b"[[],{}]"}
    return encode_envelope(Envelope(**({**fields, "at": time.time()} | changes)))


def corpus(mark: Mark) -> dict[str, bytes]:
    """Return bodies that try to have something unpickled, or something run that is not allowed, by the id of their job."""
    pickled, makes = mark.arguments(), json.dumps([[os.fspath(mark.path)], {}]).encode()
    code = json.dumps([[f"__import__('os').makedirs({os.fspath(mark.path)!r})"], {}]).encode()
    attempts: dict[str, dict[str, Any]] = {
        "pickled-arguments": {"ct": PICKLE, "body": pickled},
        "pickle-called-json": {"body": pickled},
        "by-value": {"ct": PICKLE, "body": pickled, "by_value": True},
        "by-value-called-json": {"body": pickled, "by_value": True},
        "cloudpickle-type": {"ct": "cloudpickle", "body": pickled},
        "no-type": {"ct": "", "body": pickled},
        "empty-pickle": {"ct": PICKLE, "body": b""},
        "os": {"fn": "os:makedirs", "body": makes},
        "os-through-an-allowed-module": {"fn": "tests.support.hostile:os.makedirs", "body": makes},
        "pickle-through-an-allowed-module": {"fn": "tests.support.hostile:pickle.loads"},
        "eval": {"fn": "builtins:eval", "body": code},
        "import": {"fn": "builtins:__import__", "body": b'[["antigravity"],{}]'},
        "ours": {"fn": "naq_core.serialization:decode_pickle", "body": b'[["x","y"],{}]'},
        "dunder": {"fn": "tests.support.hostile:harmless.__globals__"},
        "dotted": {"fn": "os.makedirs", "body": makes},
        "unknown-module": {"fn": "no_such_module:f"},
        "empty-name": {"fn": ""},
        "deep": {"body": b"[" * 100_000},
        "large-json-number": {"body": b"[[" + b"9" * 100_000 + b"],{}]"},
        "not-utf8": {"body": b'[["\xff"],{}]'},
        "object-for-arguments": {"body": b'[{"a":1},[]]'},
        "large-that-is-not-there": {"body": b"", "large": Large("default.x.args.y", 5, b"d" * 32)},
    }
    bodies = {name: envelope(name, **changes) for name, changes in attempts.items()}
    in_processes = {
        f"{name}-process": envelope(f"{name}-process", **changes, opt=JobOptions(process=True))
        for name, changes in attempts.items()
        if name in {"pickled-arguments", "by-value", "os", "eval"}
    }
    return {**bodies, **in_processes, "bare-pickle": pickled, "truncated": bodies["os"][:-9]}


async def test_a_hostile_corpus_ends_dead_and_nothing_is_unpickled_anywhere(queue: Queue, alarm: Path, tmp_path: Path) -> None:
    connection = await queue.connection()
    await ensure_queue(connection, "default")
    mark = Mark(tmp_path / "mark")
    bodies = corpus(mark)
    for job_id, body in bodies.items():
        await connection.publish(connection.names.ready("default", job_id), body)
    good = await queue.options(process=True).enqueue(harmless, 3)
    async with worker_process("default"):
        assert await good.result(60) == 3

        async def all_dead() -> None:
            for job_id in bodies:
                stored = await read_record(connection, "default", job_id)
                assert stored is not None, job_id
                assert stored.record.state is JobState.DEAD, stored.record
                assert stored.record.errors[-1].type, stored.record

        await eventually(all_dead, 60, interval=0.2)
    await look_at_everything(queue.settings, [*bodies])
    assert not happened(mark.path, alarm)


async def look_at_everything(settings: Settings, job_ids: list[str]) -> None:
    """Look at jobs as programs, people and the dashboard do."""
    async with Connection(settings) as connection:
        assert len((await inspect.list_jobs(connection, JobFilter(), limit=100)).jobs) >= len(job_ids)
        for job_id in job_ids[:5]:
            assert (await inspect.get_job(connection, job_id)).job_id == job_id
    here: dict[str, Any] = settings.as_environment() | {"NAQ_TEST_ALARM": os.environ["NAQ_TEST_ALARM"]}
    assert naq("job", "list", **here).returncode == 0
    for job_id in job_ids[:2]:
        assert naq("job", "show", job_id, **here).returncode == 0
        naq("job", "result", job_id, **here)
    app = create_app(settings, DashboardSettings(secret="a secret that is long enough"))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", timeout=20) as client:
        for page in ("/", "/jobs", *(f"/jobs/{job_id}" for job_id in job_ids[:5])):
            assert (await client.get(page)).status_code < 500
    await app.state.naq_dashboard.aclose()


async def test_pickled_results_are_refused_by_readers_and_by_children(queue: Queue, alarm: Path, tmp_path: Path) -> None:
    connection = await queue.connection()
    mark = Mark(tmp_path / "mark")
    parent = await queue.enqueue(harmless, 1)
    child = await queue.enqueue(harmless, result_of(parent))
    in_process = await queue.options(process=True).enqueue(harmless, result_of(parent))
    record = JobRecord(
        state=JobState.SUCCEEDED,
        job_id=parent.job_id,
        queue="default",
        result_type=PICKLE,
        result=mark.result(),
        ended_at=time.time(),
    )
    await connection.publish(connection.names.result("default", parent.job_id), encode_record(record), {"Naq-State": "succeeded"})
    async with worker_process("default"):
        with pytest.raises(DecodeError, match="does not read"):
            await parent.result(20)
        for job in (child, in_process):
            with pytest.raises(JobFailedError, match="DecodeError"):
                await job.result(40)
    await look_at_everything(queue.settings, [parent.job_id])
    assert not happened(mark.path, alarm)


async def test_what_is_registered_or_allowed_runs_on_the_loop_in_threads_and_in_processes(queue: Queue, alarm: Path) -> None:
    async with worker_process("default"):
        for options in ({}, {"process": True}):
            job = await queue.options(**options).enqueue(registered, 21)  # type: ignore[arg-type]
            assert await job.result(40) == 42
            assert await (await queue.options(**options).enqueue(harmless, 7)).result(40) == 7  # type: ignore[arg-type]
    assert not happened(alarm)


@pytest.mark.naq(job_serializer="pickle", allowed_functions=())
@pytest.mark.parametrize("process", [False, True])
async def test_the_alarm_would_have_rung(process: bool, queue: Queue, alarm: Path) -> None:
    job = await queue.options(process=process).enqueue(harmless, 7)
    async with worker_process("default"):
        with pytest.raises(JobFailedError, match="something was unpickled"):
            await job.result(40)
    assert happened(alarm)


def test_one_place_in_the_code_unpickles() -> None:
    found = {f"{path.name}:{call}" for path in ROOT.glob("packages/*/src/**/*.py") for call in unpickling(path)}
    assert found == {"serialization.py:pickle.loads"}


def unpickling(path: Path) -> Iterator[str]:
    """Yield what a module calls that makes objects, or code, of bytes or text."""
    dangerous, modules = {"load", "loads", "Unpickler"}, {"pickle", "cloudpickle", "marshal", "shelve"}
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id=module), attr=name)) if module in modules:
                if name in dangerous:
                    yield f"{module}.{name}"
            case ast.Call(func=ast.Name(id="eval" | "exec" | "compile" as name)):
                yield name
            case _:
                pass


@pytest.mark.naq(allowed_functions=("tests.support.*",))
async def test_a_child_process_may_import_what_its_worker_has_imported(queue: Queue, run_worker: RunWorker) -> None:
    job = await queue.options(process=True).enqueue(harmless, 3)
    async with run_worker():
        assert await job.result(30) == 3
