"""Middleware that is named in settings: the same in every process, and wrong ones are said in one line."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from naq_cli.exit_codes import ExitCode
from naq_core.settings import Settings
from naq_dashboard import DashboardSettings, create_app
from tests.cli.commands import naq, run
from tests.dashboard.conftest import SECRET

SHOP = """
from naq_core import current_job

class Trace:
    def enqueue(self, jobs):
        for job in jobs:
            if job.headers.get("do") == "fail":
                raise OSError("no trace")
            if job.headers.get("do") == "skip":
                return
            job.headers["trace"] = "a1"
        yield

    def attempt(self, attempt):
        yield
        attempt.result = [attempt.result, attempt.job.headers["trace"]]

def price(count):
    return count * 3
"""
TOML = '[tool.naq]\nmiddleware = ["shop:Trace"]\n'


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "shop.py").write_text(SHOP)
    (tmp_path / "pyproject.toml").write_text(TOML)
    return tmp_path


@pytest.mark.parametrize("process", [False, True])
def test_commands_and_workers_use_what_the_project_names(process: bool, project: Path, here: dict[str, Any]) -> None:
    words = ("--process",) if process else ()
    enqueued = naq("enqueue", "shop:price", "2", *words, "--json", cwd=project, **here)
    assert enqueued.returncode == 0, enqueued.stderr
    job = json.loads(enqueued.stdout)["job_id"]
    worked = run("naq_worker", "default", "--burst", cwd=project, **here)
    assert worked.returncode == 0, worked.stderr
    result = naq("job", "result", job, cwd=project, **here)
    assert result.stdout.strip() == "[6, 'a1']"
    shown = naq("job", "show", job, cwd=project, **here).stdout
    assert "trace=a1" in shown


def test_what_goes_wrong_is_one_line(project: Path, here: dict[str, Any]) -> None:
    failed = naq("enqueue", "shop:price", "2", "--header", "do=fail", cwd=project, **here)
    assert failed.stderr == "naq enqueue: OSError: no trace (raised in the middleware shop:Trace)\n"
    skipped = naq("enqueue", "shop:price", "2", "--header", "do=skip", cwd=project, **here)
    assert skipped.returncode == ExitCode.REFUSED, skipped.stderr
    assert "not stored: middleware returned before its yield" in skipped.stderr
    wrong = here | {"NAQ_MIDDLEWARE": "shop:Nothing"}
    commands = ("naq_worker default", "naq_scheduler", "naq_dashboard --port 0", "naq_cli enqueue shop:price")
    for module, *words in (command.split() for command in commands):
        answer = run(module, *words, cwd=project, **wrong)
        assert answer.returncode == 2, (module, answer.stderr)
        assert "shop:Nothing cannot be imported: AttributeError" in answer.stderr, module
        assert "Traceback" not in answer.stderr
    assert naq("job", "list", cwd=project, **wrong).returncode == 0


async def test_the_dashboard_enqueues_within_it(settings: Settings, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(project)
    app = create_app(dataclasses.replace(settings, middleware=("shop:Trace",)), DashboardSettings(secret=SECRET))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://127.0.0.1", timeout=20) as client:
        answer = await client.post("/api/jobs", json={"function": "shop:price", "args": [2], "job_id": "one"})
        assert answer.status_code == 201, answer.text
        assert (await client.get("/api/jobs/one")).json()["headers"] == {"trace": "a1"}
        for what, status, said in (("skip", 409, "not stored"), ("fail", 500, "raised in the middleware shop:Trace")):
            answer = await client.post("/api/jobs", json={"function": "shop:price", "headers": {"do": what}})
            assert (answer.status_code, said in answer.json()["detail"]) == (status, True), answer.text
    await app.state.naq_dashboard.aclose()
