"""Each web framework in a real server, as its page says: it enqueues, waits, and answers 503 while NATS is away."""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, nullcontext
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest

from naq_core.server import EmbeddedServer
from tests.frameworks.serving import EMBEDDING, ROOT, TAKES_JOBS, environment, running, serving

UVICORN = ["uvicorn", "--port", "0"]
GRANIAN = ["granian", "--interface", "asgi", "--port", "PORT"]
PREFORK = ["gunicorn", "--preload", "--workers", "2", "--bind", "127.0.0.1:0"]
ASGI_PREFORK = [*PREFORK, "--worker-class", "uvicorn_worker.UvicornWorker"]


class Case(NamedTuple):
    """A program in a server."""

    server: list[str]
    worker: Sequence[str] = ()
    stop: signal.Signals = signal.SIGTERM


WORKER = ["-m", "naq_worker"]
LITESTAR = ["-m", "litestar", "--app", "litestar_app:app", "workers"]
FLASK = ["-m", "flask", "--app", "flask_app:create_app", "workers"]
CASES = {
    "fastapi-uvicorn": Case([*UVICORN, "fastapi_app:app"]),
    "starlette-granian": Case([*GRANIAN, "starlette_app:app"], WORKER),
    "litestar-litestar": Case(["litestar", "--app", "litestar_app:app", "run", "--port", "0"], LITESTAR),
    "flask-gunicorn": Case([*PREFORK, "flask_app:create_app()"], FLASK),
}
SLOW_CASES = {
    "fastapi-granian": Case([*GRANIAN, "fastapi_app:app"]),
    "fastapi-gunicorn": Case([*ASGI_PREFORK, "fastapi_app:app"]),
    "starlette-uvicorn": Case([*UVICORN, "starlette_app:app"], WORKER),
    "starlette-gunicorn": Case([*ASGI_PREFORK, "starlette_app:app"], WORKER),
    "litestar-uvicorn": Case([*UVICORN, "litestar_app:app"], LITESTAR),
    "litestar-granian": Case([*GRANIAN, "litestar_app:app"], LITESTAR),
    "litestar-gunicorn": Case([*ASGI_PREFORK, "litestar_app:app"], LITESTAR),
    "flask-flask": Case(["flask", "--app", "flask_app:create_app", "run", "--port", "0"], FLASK, signal.SIGINT),
    "flask-granian": Case(["granian", "--interface", "wsgi", "--port", "PORT", "--factory", "flask_app:create_app"], FLASK),
}
PARAMETERS = [*CASES, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW_CASES)]


@pytest.mark.parametrize("name", PARAMETERS)
def test_an_application_enqueues_waits_and_says_when_nats_is_away(name: str, tmp_path: Path) -> None:
    case = (CASES | SLOW_CASES)[name]
    with EmbeddedServer() as nats, ExitStack() as stack:
        mine = environment(nats.url)
        client, server = stack.enter_context(serving(case.server, mine, EMBEDDING, tmp_path / "server"))
        worker = running(case.worker, mine, EMBEDDING, tmp_path / "worker") if case.worker else nullcontext()
        if (program := stack.enter_context(worker)) is not None:
            program.wait_for(TAKES_JOBS)
        accepted = [client.post("/orders/17").json() for _ in range(2)]
        answer = client.get("/price/6")
        assert (answer.status_code, answer.json()) == (200, {"price": 42}), answer.text
        if name.startswith("flask"):
            assert client.get("/sign").json() == {"shop": "the corner shop"}  # the job has the context of the application
        else:
            assert client.get("/sync-price/3").json() == {"price": 21}
        if name.startswith("fastapi"):
            assert accepted == [{"job_id": "receipt-17"}] * 2
            assert client.get("/jobs/receipt-17").json()["state"] in {"queued", "running", "succeeded"}
            assert client.get("/jobs/receipt-18").status_code == 404
        else:
            assert len({each["job_id"] for each in accepted}) == 2
        if name.startswith("litestar"):
            assert accepted[0]["job_id"] in client.get("/naq/jobs").text  # the dashboard is mounted
        if program is not None:
            assert program.stop() == 0, program.output()
        nats.stop()
        refused = client.post("/orders/18", timeout=25)  # without the plugin a request would wait for 30 s
        assert refused.status_code == 503, refused.text
        assert refused.headers["Retry-After"] == "5"
        assert "nats://" not in refused.text
        assert refused.json()["detail"]
        server.stop(case.stop)
    assert "Traceback" not in server.output(), server.output()


def test_the_code_of_the_page_makes_applications(monkeypatch: pytest.MonkeyPatch) -> None:
    page = (ROOT / "docs" / "frameworks.md").read_text(encoding="utf-8")
    made = 0
    for block in re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)[:4]:
        module = ModuleType("page")
        monkeypatch.setitem(sys.modules, "page", module)
        exec(block, vars(module))
        made += hasattr(module, "app") or bool(module.create_app())
    assert made == 4


CONNECTED_BEFORE_THE_FORK = """
import os

from flask import Flask
from naq_client.contrib.flask import Naq

naq = Naq()
app = Flask("shop")
naq.init_app(app)
with app.app_context():
    first = naq.queue.enqueue("math:sqrt", 4)
    assert first.result(30) == 2


@app.get("/root/<int:square>")
def root(square: int) -> dict[str, float]:
    return {"root": naq.queue.enqueue("math:sqrt", square).result(30), "process": os.getpid()}
"""


@pytest.mark.slow
def test_processes_that_a_server_forks_have_connections_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(CONNECTED_BEFORE_THE_FORK, encoding="utf-8")
    with EmbeddedServer() as nats, ExitStack() as stack:
        mine = environment(nats.url)
        worker = stack.enter_context(running(WORKER, mine, EMBEDDING, tmp_path / "worker"))
        worker.wait_for(TAKES_JOBS)
        client, _ = stack.enter_context(serving([*PREFORK, "shop:app"], mine, tmp_path, tmp_path / "server"))
        pool = stack.enter_context(ThreadPoolExecutor(8))
        numbers = range(1, 201)
        answers = list(pool.map(lambda number: client.get(f"/root/{number * number}").json(), numbers))
    assert [each["root"] for each in answers] == [*numbers]  # each got the result of its own job
    assert len({each["process"] for each in answers}) == 2
