"""The project of `examples/django_shop` in gunicorn, with its worker and its relay; and what its backend refuses."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import time
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from naq_core.server import EmbeddedServer
from tests.frameworks.serving import PATIENCE, ROOT, environment, running, serving

SHOP = ROOT / "examples" / "django_shop"
PREFORK = ["gunicorn", "--preload", "--workers", "2", "--bind", "127.0.0.1:0", "shop.wsgi:application"]
DIES_BEFORE_IT_DELETES = """
import os, django
os.environ["DJANGO_SETTINGS_MODULE"] = "shop.settings"
django.setup()
from django.core.management import call_command
from django.db.models.query import QuerySet
QuerySet.delete = lambda self: os._exit(9)
call_command("naq_outbox", once=True)
"""


class Shop:
    """The project with a database and a namespace of its own."""

    def __init__(self, url: str, folder: Path) -> None:
        self.database = folder / "shop.sqlite3"
        self.environment = environment(url, SHOP_DATABASE=str(self.database))
        self.manage("migrate", "-v0")

    def run(self, *command: str, code: int = 0) -> str:
        line = [sys.executable, *command]
        done = subprocess.run(line, cwd=SHOP, env=self.environment, capture_output=True, text=True, timeout=PATIENCE, check=False)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def manage(self, *arguments: str, code: int = 0) -> str:
        return self.run("manage.py", *arguments, code=code)

    def rows(self, query: str, *arguments: Any) -> list[Any]:
        with closing(sqlite3.connect(self.database, timeout=20)) as database:
            return database.execute(query, arguments).fetchall()


def ended(client: httpx.Client, task_id: str) -> dict[str, Any]:
    """Wait until a task has ended, and return what its page says."""
    deadline = time.monotonic() + PATIENCE
    while True:
        found: dict[str, Any] = client.get(f"/results/{task_id}").json()
        if found["status"] in {"SUCCESSFUL", "FAILED"}:
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


SERVERS = [
    PREFORK,
    pytest.param(["uvicorn", "--port", "0", "shop.asgi:application"], marks=pytest.mark.slow),
    pytest.param(["granian", "--interface", "asgi", "--port", "PORT", "shop.asgi:application"], marks=pytest.mark.slow),
]


@pytest.mark.parametrize("server", SERVERS, ids=lambda server: server[0])
def test_tasks_of_django(server: list[str], tmp_path: Path) -> None:
    with EmbeddedServer(store_dir=tmp_path / "store") as nats, ExitStack() as stack:
        shop = Shop(nats.url, tmp_path)
        client, web = stack.enter_context(serving(server, shop.environment, SHOP, tmp_path / "web"))
        worker = stack.enter_context(running(["manage.py", "naq_worker"], shop.environment, SHOP, tmp_path / "worker"))

        assert client.get("/orders/nobody").status_code == 500
        bought = client.get("/orders/ada").json()
        receipt = ended(client, bought["receipt"])
        assert receipt == {
            "task": "receipt",
            "queue": "mail",
            "priority": 10,
            "status": "SUCCESSFUL",
            "args": [bought["order"]],
            "kwargs": {},
            "attempts": 1,
            "errors": [],
            "value": f"Dear ada, thank you for order {bought['order']}.",
        }
        assert client.get("/results/nothing").status_code == 404
        assert ended(client, bought["shipping"])["kwargs"] == {"order_id": bought["order"]}
        assert shop.rows("SELECT customer, shipped FROM shop_order") == [("ada", 1)]
        assert shop.rows("SELECT count(*) FROM naq_outbox") == [(0,)]

        works, fails = (client.get(f"/charge/{bought['order']}/{at}").json()["task"] for at in (2, 9))
        assert ended(client, works)["value"] == {"order": bought["order"], "attempts": 2}
        assert ended(client, works)["errors"] == ["ConnectionError"]
        failed = ended(client, fails)
        assert (failed["status"], failed["attempts"], failed["errors"]) == ("FAILED", 3, ["ConnectionError"] * 3)
        assert ended(client, client.get("/price/6").json()["task"])["value"] == 42
        assert events(shop, works) == ["started 1", "started 2", "finished SUCCESSFUL"]
        assert events(shop, fails) == ["started 1", "started 2", "started 3", "finished FAILED"]

        nats.kill()
        refused = client.get("/orders/eve", timeout=25)
        assert refused.status_code == 503, refused.text  # the row is there, but it is not known whether its receipt is
        ((job_id,),) = shop.rows("SELECT job_id FROM naq_outbox")  # the other task was stored with it
        nats.restart()
        shop.run("-c", DIES_BEFORE_IT_DELETES, code=9)
        assert shop.rows("SELECT job_id FROM naq_outbox") == [(job_id,)]
        assert ended(client, job_id)["status"] == "SUCCESSFUL"
        assert "enqueued 1 jobs" in shop.manage("naq_outbox", "--once")
        assert shop.rows("SELECT job_id FROM naq_outbox") == []
        ended(client, client.get("/price/1").json()["task"])  # comes after the second job of that id, if there is one
        assert shop.rows("SELECT shipped FROM shop_order WHERE customer = 'eve'") == [(1,)]
        assert worker.stop() == 0, worker.output()
        web.stop()


def events(shop: Shop, task_id: str) -> list[str]:
    """Return what the signals of a task have told in the worker; the web server told that it was enqueued, before or after."""
    found = [each for (each,) in shop.rows("SELECT what FROM shop_taskevent WHERE task_id = ? ORDER BY id", task_id)]
    found.remove("enqueued")
    return found


def test_the_backend_says_what_is_wrong(nats_server: EmbeddedServer, namespace: str) -> None:
    """In a process of its own, as its settings are not those of other tests."""
    mine = environment(nats_server.url, NAQ_NAMESPACE=namespace)
    command = [sys.executable, "-c", "from tests.frameworks import django_cases; django_cases.run()"]
    done = subprocess.run(command, cwd=ROOT, env=mine, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
