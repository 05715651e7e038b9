"""The result of a job over HTTP: what programs without NAQ wait for."""

import asyncio
from typing import Any

import pytest

from naq_client import Queue
from naq_core.testing import WorkerRunner
from naq_dashboard import VIEWER, User
from naq_dashboard.api import results
from tests.dashboard.conftest import Client, OpenDashboard
from tests.integration import work
from tests.support.eventually import eventually

ADA = ("admin", "pw")
VERA = ("vera", "pw")


async def test_a_job_is_enqueued_and_its_result_waited_for(dashboard: Client, naq_worker: WorkerRunner) -> None:
    order = {"function": "operator:mul", "args": [6, 7], "job_id": "order-17"}
    assert (await dashboard.post("/api/jobs", json=order)).status_code == 201
    answer = await dashboard.get("/api/jobs/order-17/result")
    assert (answer.status_code, answer.json()["state"]) == (202, "queued")
    waiting = asyncio.create_task(dashboard.get("/api/jobs/order-17@default/result?wait=20"))
    await naq_worker.run_until_idle()
    answer = await waiting
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    assert found.pop("ended_at").endswith("Z")
    assert found == {
        "job_id": "order-17",
        "queue": "default",
        "state": "succeeded",
        "error": None,
        "reason": "",
        "result": 42,
        "result_type": "json",
        "result_text": "42",
    }
    assert (await dashboard.get("/api/jobs/nobody/result?wait=20")).status_code == 404
    assert (await dashboard.get("/api/jobs/order-17/result?wait=61")).status_code == 400


async def test_a_job_without_a_result_says_why(dashboard: Client, queue: Queue, naq_worker: WorkerRunner) -> None:
    failed = await queue.enqueue(work.fail, "the oven is cold")
    pickled = await queue.enqueue(work.returned, {1, 2})
    held = await queue.options(delay=3600).enqueue(work.add, 1)
    await naq_worker.run_until_idle()
    found = (await dashboard.get(f"/api/jobs/{failed.job_id}/result")).json()
    assert (found["state"], found["result"], found["error"]["message"]) == ("dead", None, "the oven is cold")
    found = (await dashboard.get(f"/api/jobs/{pickled.job_id}/result")).json()
    assert (found["state"], found["result"], found["result_type"], found["result_text"]) == (
        "succeeded",
        None,
        "pickle",
        "{1, 2}",
    )
    answer = await dashboard.get(f"/api/jobs/{held.job_id}/result?wait=0.05")
    assert (answer.status_code, answer.json()["state"]) == (202, "held")
    await held.cancel("nobody is hungry")
    found = (await dashboard.get(f"/api/jobs/{held.job_id}/result")).json()
    assert (found["state"], found["reason"]) == ("cancelled", "nobody is hungry")


@pytest.mark.naq(job_serializer="json", allowed_functions=("tests.integration.work:returned",))
async def test_secrets_are_hidden_from_those_who_may_only_look(
    open_dashboard: OpenDashboard, queue: Queue, naq_worker: WorkerRunner
) -> None:
    job = await queue.enqueue(work.returned, {"user": "ada", "password": "hunter2"})
    await naq_worker.run_until_idle()
    path = f"/api/jobs/{job.job_id}/result"
    async with open_dashboard(password="pw", users=(User(name="vera", access=VIEWER, password="pw"),)) as client:
        assert (await client.get(path, auth=ADA)).json()["result"] == {"user": "ada", "password": "hunter2"}
        seen = await client.get(path, auth=VERA)
        assert seen.json()["result"]["user"] == "ada"
        assert "hunter2" not in seen.text


async def test_a_dashboard_that_stops_keeps_nobody_waiting(dashboard: Client, queue: Queue) -> None:
    job = await queue.enqueue(work.add, 1)
    waiting = asyncio.create_task(dashboard.get(f"/api/jobs/{job.job_id}/result?wait=60"))
    transport: Any = dashboard._transport
    live = transport.app.state.naq_dashboard.live
    await eventually(lambda: live.streams == 1)
    live.end_streams()
    assert (await waiting).status_code == 202


async def test_a_large_result_is_read_up_to_a_bound(
    dashboard: Client, queue: Queue, naq_worker: WorkerRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = await queue.enqueue(work.returned, "x" * 2_000_000)
    await naq_worker.run_until_idle()
    path = f"/api/jobs/{job.job_id}/result"
    assert len((await dashboard.get(path)).json()["result"]) == 2_000_000
    monkeypatch.setattr(results, "LARGEST", 1_000_000)
    answer = await dashboard.get(path)
    assert (answer.status_code, "2,000,002 bytes" in answer.json()["detail"]) == (413, True)
