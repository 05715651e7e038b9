"""Signals in the dashboard and on the command line: what waits, who may send, and what is told of it."""

import json
from typing import Any

from naq_client import Queue
from naq_core import JobState, Settings
from tests.cli.commands import naq
from tests.conftest import RunWorker
from tests.dashboard.conftest import Client, OpenDashboard
from tests.dashboard.test_actions import BROWSER, USERS, token_of
from tests.integration.test_signals import answer
from tests.support.eventually import eventually

NAME = "invoice-7:approved"
PAGE = {"Accept": "text/html"}
OLGA, VERA = (("olga", "pw"), ("vera", "pw"))


async def test_a_page_lists_what_waits_and_its_form_sends(dashboard: Client, queue: Queue, run_worker: RunWorker) -> None:
    assert "No job waits for a signal" in (await dashboard.get("/signals", headers=PAGE)).text
    job = await queue.options(wait_for=NAME, expires=3600).enqueue(answer)

    async def it_is_listed() -> None:  # what was read is shared for a moment
        page = (await dashboard.get("/signals", headers=PAGE)).text
        assert all(text in page for text in (NAME, job.job_id, "1 job waits", "Approve", "Send…"))

    await eventually(it_is_listed)
    assert "when its signal is sent" in (await dashboard.get("/delayed", headers=PAGE)).text
    assert f"Waiting for signal {NAME}" in (await dashboard.get(f"/jobs/{job.job_id}", headers=PAGE)).text
    (found,) = (await dashboard.get("/api/signals")).json()["jobs"]
    assert (found["job_id"], found["signal"], found["state"]) == (job.job_id, NAME, "held")

    form = {"_csrf_token": await token_of(dashboard, "/signals"), "signal": NAME}
    wrong = await dashboard.post("/do/send-signal", data={**form, "data": "yes"}, headers=BROWSER)
    assert "data must be JSON" in wrong.text
    assert await job.status() is JobState.HELD
    done = await dashboard.post(
        "/do/send-signal", data={**form, "data": '{"approved": true}'}, headers={**BROWSER, "Accept": "application/json"}
    )
    assert done.json()["notice"] == f"Signal {NAME} is sent."
    async with run_worker():
        assert (await job.result(20))["data"] == {"approved": True}
    assert (await dashboard.get("/api/signals")).json() == {"jobs": [], "has_more": False}


async def test_operators_send_signals_and_viewers_look(
    open_dashboard: OpenDashboard, queue: Queue, run_worker: RunWorker
) -> None:
    job = await queue.options(wait_for=NAME).enqueue(answer)
    async with open_dashboard(users=USERS) as client:
        page = (await client.get("/signals", headers=PAGE, auth=VERA)).text
        assert NAME in page
        assert "Approve" not in page
        body = {"data": {"card": "4711"}, "ttl": "1h"}
        assert (await client.post(f"/api/signals/{NAME}", json=body, auth=VERA)).status_code == 403
        assert await job.status() is JobState.HELD
        first = await client.post(f"/api/signals/{NAME}", json=body, auth=OLGA)
        assert (first.status_code, first.json()["notice"]) == (200, f"Signal {NAME} is sent.")
        again = await client.post(f"/api/signals/{NAME}", auth=OLGA)
        assert "had been sent before" in again.json()["notice"]
        assert (await client.post("/api/signals/a%20b", auth=OLGA)).status_code == 400
        assert (await client.post(f"/api/signals/{NAME}", json={"ttl": "soon"}, auth=OLGA)).status_code == 400
        trail = (await client.get("/api/audit", auth=OLGA)).text
    assert '"action":"send-signal"' in trail
    assert '"by":"olga"' in trail
    assert "4711" not in trail
    async with run_worker():
        assert await job.result(20) == {"name": NAME, "data": {"card": "4711"}, "sender": "olga"}


async def test_a_name_that_looks_secret_is_hidden_and_offers_no_button(dashboard: Client, queue: Queue) -> None:
    await queue.options(wait_for="token=hunter2").enqueue(answer)
    page = (await dashboard.get("/signals", headers=PAGE)).text
    assert "hunter2" not in page
    assert "Approve" not in page
    assert "hunter2" not in (await dashboard.get("/api/signals")).text


async def test_the_command_lists_and_sends(queue: Queue, settings: Settings, run_worker: RunWorker) -> None:
    env: Any = {"NAQ_NATS_URL": settings.nats_url, "NAQ_NAMESPACE": settings.namespace}
    job = await queue.options(wait_for=NAME).enqueue(answer)
    listed = json.loads(naq("signal", "--json", **env).stdout)
    assert [(each["job_id"], each["signal"]) for each in listed["jobs"]] == [(job.job_id, NAME)]
    assert "1 waiting job: naq signal lists them" in naq("doctor", **env).stdout
    wrong = naq("signal", NAME, "--data", "yes", **env)
    assert (wrong.returncode, "must be JSON" in wrong.stderr) == (2, True)
    assert naq("signal", NAME, "--data", '{"ok": 1}', "--ttl", "1h", **env).stdout == f"Signal {NAME} is sent.\n"
    assert "had been sent before" in naq("signal", NAME, **env).stdout
    assert naq("signal", "-q", **env).stdout == ""
    async with run_worker():
        found = await job.result(20)
    assert found["data"] == {"ok": 1}
    assert "@" in found["sender"]
