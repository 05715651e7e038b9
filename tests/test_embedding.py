"""Every program of `docs/embedding.md` runs as its reader would start it: in a real web server, beside a real worker."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from naq_core.server import EmbeddedServer

ROOT = Path(__file__).parent.parent
PROGRAMS = ROOT / "examples" / "embedding"
ADDRESS = re.compile(r"unning on (http://127\.0\.0\.1:\d+)")
COMMANDS = {
    "fastapi": ["uvicorn", "fastapi_app:app", "--port", "0"],
    "starlette": ["uvicorn", "starlette_app:app", "--port", "0"],
    "litestar": ["uvicorn", "litestar_app:app", "--port", "0"],
    "flask": ["flask", "--app", "flask_app:create_app", "run", "--port", "0"],
    "django": ["uvicorn", "django_app:application", "--port", "0"],
}


@pytest.fixture
def environment(nats_server: EmbeddedServer, namespace: str, tmp_path: Path) -> dict[str, str]:
    mine = {key: value for key, value in os.environ.items() if not key.startswith(("NAQ_", "NATS_"))}
    return mine | {
        "NAQ_NATS_URL": nats_server.url,
        "NAQ_NAMESPACE": namespace,
        "SHOP_DATABASE": str(tmp_path / "shop.sqlite3"),
        "PYTHONUNBUFFERED": "1",
    }


@contextmanager
def program(*arguments: str, environment: dict[str, str]) -> Iterator[subprocess.Popen[str]]:
    """Run a module in the folder of the programs; its log is at `process.stdout`."""
    command = [sys.executable, "-m", *arguments]
    with subprocess.Popen(
        command, cwd=PROGRAMS, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def worker(environment: dict[str, str], *arguments: str) -> Iterator[None]:
    with program("naq_worker", *arguments, environment=environment) as process:
        drain(process)
        yield


@contextmanager
def serving(name: str, environment: dict[str, str]) -> Iterator[tuple[httpx.Client, subprocess.Popen[str]]]:
    """Start the web server of a program as its first lines say."""
    with program(*COMMANDS[name], environment=environment) as process:
        seen = []
        assert process.stdout is not None
        for line in process.stdout:
            seen.append(line)
            if (found := ADDRESS.search(line)) is not None:
                break
        else:
            raise AssertionError("".join(seen))
        drain(process)
        with httpx.Client(base_url=found[1], timeout=60) as client:
            yield client, process


def drain(process: subprocess.Popen[str]) -> None:
    """Read what a process writes, so that it never waits for a reader."""
    assert process.stdout is not None
    threading.Thread(target=process.stdout.read, daemon=True).start()


def migrate(environment: dict[str, str]) -> None:
    command = [sys.executable, "django_app.py", "migrate", "-v0"]
    subprocess.run(command, cwd=PROGRAMS, env=environment, check=True, timeout=60)


@pytest.mark.parametrize("name", ["fastapi", "starlette", "litestar", "flask"])
def test_a_web_application_enqueues_and_waits(name: str, environment: dict[str, str]) -> None:
    with ExitStack() as stack:
        if name != "fastapi":  # which has a worker in the same process
            stack.enter_context(worker(environment))
        client, server = stack.enter_context(serving(name, environment))
        accepted = client.post("/orders/17")
        assert accepted.status_code == 202, accepted.text
        assert accepted.json()["job_id"]
        answer = client.get("/price/6")
        assert (answer.status_code, answer.json()) == (200, {"price": 42})
        server.send_signal(signal.SIGINT if name == "flask" else signal.SIGTERM)
        server.wait(60)


def test_fastapi_accepts_an_order_once_and_tells_its_state(environment: dict[str, str]) -> None:
    with serving("fastapi", environment) as (client, _):
        assert [client.post("/orders/17").json() for _ in range(2)] == [{"job_id": "receipt-17"}] * 2
        assert client.get("/jobs/receipt-17").json()["state"] in {"queued", "running", "succeeded"}
        assert client.get("/jobs/receipt-18").status_code == 404


def test_django_enqueues_when_it_commits(environment: dict[str, str]) -> None:
    migrate(environment)
    with worker(environment), serving("django", environment) as (client, server):
        assert client.get("/price/1").status_code == 200
        assert client.post("/users/nobody").status_code == 500  # rolled back
        assert receipts(environment) == 0
        accepted = client.post("/users/ada")
        assert (accepted.status_code, accepted.json()) == (202, {"job_id": "welcome-1"})
        for path in ("/price/6", "/async-price/6"):
            answer = client.get(path)
            assert (answer.status_code, answer.json()) == (200, {"price": 42}), path
        server.send_signal(signal.SIGTERM)
        server.wait(60)
    assert receipts(environment) == 1


GREETINGS = """
import django_app
import django_jobs
from django.contrib.auth.models import User

user = User.objects.create(username="ada")
for process in (False, True):
    queue = django_app.queue.options(process=process, max_retries=0)
    print(queue.enqueue(django_jobs.greeting, user.pk).result(timeout=60))
    print(queue.enqueue(django_jobs.initial, user).result(timeout=60))
"""


def test_django_models_work_in_jobs_in_threads_and_in_processes(environment: dict[str, str]) -> None:
    migrate(environment)
    with worker(environment, "--imports", "django_jobs"):
        command = [sys.executable, "-c", GREETINGS]
        done = subprocess.run(command, cwd=PROGRAMS, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.split("\n") == ["Welcome, ada!", "a", "Welcome, ada!", "a", ""], done.stderr


def receipts(environment: dict[str, str]) -> int:
    command = [sys.executable, "-m", "naq_cli", "job", "list", "--json"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)
    assert "shop_jobs:price" in done.stdout
    return done.stdout.count("shop_jobs:receipt")


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_a_request_does_not_wait_long_for_a_dead_server(name: str, environment: dict[str, str]) -> None:
    if name == "django":
        migrate(environment)
    with EmbeddedServer() as nats:
        environment["NAQ_NATS_URL"] = nats.url
        with serving(name, environment) as (client, server):
            path = "/users/ada" if name == "django" else "/orders/17"
            client.post("/users/nobody" if name == "django" else "/orders/16")
            nats.stop()
            refused = client.post(path, timeout=25)  # the default is 30 s
            assert refused.status_code == 503, refused.text
            assert refused.json()["detail"]
            server.send_signal(signal.SIGINT if name == "flask" else signal.SIGTERM)
            server.wait(60)


def test_a_notebook_enqueues_with_await_and_without(environment: dict[str, str], tmp_path: Path) -> None:
    environment |= {"IPYTHONDIR": str(tmp_path), "NO_COLOR": "1"}
    with worker(environment):
        command = [sys.executable, "-m", "tests.support.notebook", str(PROGRAMS / "notebook.ipynb")]
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    shown = re.findall(r"Out\[\d+\]: (.*)", done.stdout)
    assert shown == ["144", "[100, 101, 104, 109]", "125"]


def test_every_program_is_on_the_page_and_tested() -> None:
    page = (ROOT / "docs" / "embedding.md").read_text(encoding="utf-8")
    names = {path.name for path in PROGRAMS.glob("*.*")}
    assert {name for name in names if f"../examples/embedding/{name})" not in page} == set()
    tested = {command[command.index("--app") + 1 if "--app" in command else 1].split(":")[0] for command in COMMANDS.values()}
    assert {name.removesuffix(".py") for name in names if name.endswith("_app.py")} == tested
