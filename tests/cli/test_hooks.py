"""Hooks that are named in settings: the same in every process that runs jobs or schedules."""

import json
import signal
from ast import literal_eval
from pathlib import Path
from typing import Any

import pytest

from tests.cli.commands import naq, run, started
from tests.support.eventually import eventually

SHOP = """
import asyncio
import os
from pathlib import Path

pool = "closed"

def note(what):
    with Path(os.environ.get("NOTES", "notes")).open("a") as file:
        file.write(f"{what} {os.getpid()}\\n")

async def open_pool():
    global pool
    pool = "open"
    note("open")
    yield
    note("close")

def warm_up():
    note(f"warm {pool}")

def state():
    return [pool, os.getpid()]

async def wait():
    note("wait")
    await asyncio.Event().wait()

def broken():
    raise OSError("no database")
"""
TOML = '[tool.naq]\nhooks = ["shop:open_pool", "shop:warm_up"]\n'


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "shop.py").write_text(SHOP)
    (tmp_path / "pyproject.toml").write_text(TOML)
    return tmp_path


def notes(project: Path) -> dict[str, list[str]]:
    """Return what each process has noted."""
    found: dict[str, list[str]] = {}
    for line in (project / "notes").read_text().splitlines():
        what, _, process = line.rpartition(" ")
        found.setdefault(process, []).append(what)
    return found


def test_workers_and_their_child_processes_call_them(project: Path, here: dict[str, Any]) -> None:
    jobs = []
    for words in ((), ("--process",)):
        enqueued = naq("enqueue", "shop:state", *words, "--json", cwd=project, **here)
        assert enqueued.returncode == 0, enqueued.stderr
        jobs.append(json.loads(enqueued.stdout)["job_id"])
    worked = run("naq_worker", "default", "--burst", cwd=project, **here)
    assert worked.returncode == 0, worked.stderr
    results = [literal_eval(naq("job", "result", job, cwd=project, **here).stdout) for job in jobs]
    assert [state for state, _ in results] == ["open", "open"]
    assert notes(project) == {str(process): ["open", "warm open", "close"] for _, process in results}


async def test_a_scheduler_calls_them(project: Path, here: dict[str, Any]) -> None:
    variables = {"PYTHONPATH": str(project), "NAQ_HOOKS": "shop:open_pool, shop:warm_up", "NOTES": str(project / "notes")}
    with started("naq_scheduler", **variables, **here) as scheduler:
        await eventually(lambda: has_noted(project, "warm open"), 60)
        scheduler.send_signal(signal.SIGTERM)
        assert scheduler.wait(60) == 0
    assert notes(project) == {str(scheduler.pid): ["open", "warm open", "close"]}


def has_noted(project: Path, what: str) -> bool:
    return (project / "notes").exists() and f"{what} " in (project / "notes").read_text()


@pytest.mark.parametrize("module", ["naq_worker", "naq_scheduler"])
async def test_a_signal_during_their_start_ends_those_that_have_begun(module: str, project: Path, here: dict[str, Any]) -> None:
    variables = {"PYTHONPATH": str(project), "NAQ_HOOKS": "shop:open_pool, shop:wait", "NOTES": str(project / "notes")}
    with started(module, **variables, **here) as service:
        await eventually(lambda: has_noted(project, "wait"), 60)
        service.send_signal(signal.SIGTERM)
        assert service.wait(60) == 0
    assert notes(project) == {str(service.pid): ["open", "wait", "close"]}


def test_one_that_fails_is_named(project: Path, here: dict[str, Any]) -> None:
    for module, *words in (("naq_worker", "default"), ("naq_scheduler",)):
        wrong = run(module, *words, cwd=project, **here | {"NAQ_HOOKS": "shop:closed"})
        assert wrong.returncode == 2, (module, wrong.stderr)
        assert "hooks" in wrong.stderr
        assert "shop:closed cannot be imported: AttributeError" in wrong.stderr
        assert "Traceback" not in wrong.stderr
        failed = run(module, *words, cwd=project, **here | {"NAQ_HOOKS": "shop:open_pool,shop:broken"})
        assert failed.returncode == 1, (module, failed.stderr)
        name = module.removeprefix("naq_")
        assert failed.stderr.endswith(f"naq {name}: hook shop:broken failed at the start: OSError: no database\n")
        assert 'raise OSError("no database")' in failed.stderr
    assert all(noted == ["open", "close"] for noted in notes(project).values())
