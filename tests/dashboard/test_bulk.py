"""Actions on many jobs and on workflows: they go on without the browser, say how far they are, and can be stopped."""

import asyncio
from typing import Any

import pytest

from naq_client import Queue, Workflow
from naq_core import manage
from naq_core.audit import read_trail
from naq_core.inspect import get_queue, get_workflow
from naq_core.testing import WorkerRunner
from naq_dashboard import OPERATOR, VIEWER, Action, User
from naq_dashboard.actions.bulk import MOST_AT_ONCE
from tests.dashboard.conftest import Client, OpenDashboard
from tests.integration import work
from tests.support.eventually import eventually

HTML = {"Accept": "text/html"}


@pytest.fixture
def gates(monkeypatch: pytest.MonkeyPatch) -> asyncio.Event:
    """Let bulk actions wait after each page until the event is set, so that they are under way while the test looks."""
    gate = asyncio.Event()
    real = manage.bulk

    async def slow(connection: Any, action: Any, wanted: Any, *, on_progress: Any, mask: Any) -> int:
        on_progress(0)
        await gate.wait()
        return await real(connection, action, wanted, on_progress=on_progress, mask=mask)

    monkeypatch.setattr(manage, "bulk", slow)
    return gate


async def begin(client: Client, action: str = "cancel", filter: str = "queue:default", **options: Any) -> str:  # noqa: A002
    answer = await client.post("/api/bulk", json={"action": action, "filter": filter}, **options)
    assert answer.status_code == 202, answer.text
    run_id: str = answer.json()["run_id"]
    return run_id


async def state_of(client: Client, run_id: str, **options: Any) -> dict[str, Any]:
    found: dict[str, Any] = (await client.get(f"/api/bulk/{run_id}", **options)).json()
    return found


async def has_ended(client: Client, run_id: str, **options: Any) -> None:
    assert (await state_of(client, run_id, **options))["ended_at"] is not None


async def test_it_says_what_it_does_and_how_far_it_is(dashboard: Client, queue: Queue, gates: asyncio.Event) -> None:
    for number in range(7):
        await queue.enqueue(work.add, number, 1)
    run_id = await begin(dashboard)
    state = await state_of(dashboard, run_id)
    assert (state["filter"], state["done"], state["expected"], state["ended_at"]) == ("queue:default", 0, 7, None)
    # Whoever opens the list sees it, not only who has begun it.
    text = (await dashboard.get("/jobs", headers=HTML)).text
    assert "0 jobs cancelled so far." in text
    assert 'action="/do/stop-bulk"' in text
    gates.set()
    await eventually(lambda: has_ended(dashboard, run_id))
    assert (await state_of(dashboard, run_id))["done"] == 7
    assert "cancelled so far" not in (await dashboard.get("/jobs", headers=HTML)).text
    assert "7 jobs cancelled." in (await dashboard.get("/jobs", params={"bulk": run_id}, headers=HTML)).text


@pytest.mark.parametrize("form", [False, True], ids=["API", "form"])
async def test_a_mistake_can_be_stopped(dashboard: Client, queue: Queue, gates: asyncio.Event, form: bool) -> None:
    for number in range(450):
        await queue.enqueue(work.add, number, 1)
    run_id = await begin(dashboard)
    if form:
        told = await dashboard.post("/do/stop-bulk", data={"run_id": run_id}, headers={"Accept": "application/json"})
        assert told.json()["notice"] == "It stops after the jobs in progress."
    else:
        answer = await dashboard.post(f"/api/bulk/{run_id}/stop")
        assert (answer.status_code, answer.json()["ended_at"]) == (200, None)
    gates.set()
    await eventually(lambda: has_ended(dashboard, run_id))
    state = await state_of(dashboard, run_id)
    assert "by an anonymous user" in state["error"]
    assert state["done"] == 200, "what it had in hand was done"
    assert (await get_queue(await queue.connection(), "default")).queued == 250
    (entry,) = (await read_trail(await queue.connection())).entries
    assert (entry.action, entry.outcome) == ("cancel-jobs", "stopped")
    assert entry.reason.startswith("Stopped after 200 jobs cancelled")
    assert (await dashboard.post(f"/api/bulk/{run_id}/stop")).status_code == 200
    assert (await dashboard.post("/api/bulk/nothing/stop")).status_code == 404


async def test_who_may_do_it_may_stop_it(open_dashboard: OpenDashboard, queue: Queue, gates: asyncio.Event) -> None:
    users = (
        User(name="olga", access=OPERATOR, password="pw"),
        User(name="vera", access=VIEWER, password="pw"),
        User(name="rita", access=frozenset({Action.RETRY_JOB}), password="pw"),
    )
    await queue.enqueue(work.add, 1, 1)
    async with open_dashboard(users=users) as client:
        run_id = await begin(client, auth=("olga", "pw"))
        for name in ("vera", "rita"):
            assert (await client.post(f"/api/bulk/{run_id}/stop", auth=(name, "pw"))).status_code == 403
            assert "stop-bulk" not in (await client.get("/jobs", headers=HTML, auth=(name, "pw"))).text
        assert (await client.post(f"/api/bulk/{run_id}/stop", auth=("olga", "pw"))).status_code == 200
        gates.set()
        await eventually(lambda: has_ended(client, run_id, auth=("olga", "pw")))


async def test_no_more_than_some_are_under_way(dashboard: Client, queue: Queue, gates: asyncio.Event) -> None:
    await queue.enqueue(work.add, 1, 1)
    runs = [await begin(dashboard) for _ in range(MOST_AT_ONCE)]
    answer = await dashboard.post("/api/bulk", json={"action": "cancel", "filter": ""})
    assert answer.status_code == 400
    gates.set()
    for run_id in runs:
        await eventually(lambda run_id=run_id: has_ended(dashboard, run_id))  # type: ignore[misc]  # the loop's own


async def test_a_dashboard_that_ends_says_so_in_the_trail(
    open_dashboard: OpenDashboard, queue: Queue, gates: asyncio.Event
) -> None:
    await queue.enqueue(work.add, 1, 1)
    async with open_dashboard() as client:
        await begin(client)
    (entry,) = (await read_trail(await queue.connection())).entries
    assert entry.outcome == "stopped"


async def test_a_workflow_is_cancelled_and_its_failed_part_retried(
    dashboard: Client, queue: Queue, naq_worker: WorkerRunner
) -> None:
    connection = await queue.connection()
    flow = Workflow("nightly")
    first = flow.add(queue.options(max_retries=0).call(work.fail, "x"))
    flow.add(queue.options(depends_on=[first]).call(work.add, 1, 1))
    workflow_id = (await flow.enqueue(queue)).workflow_id
    await naq_worker.run_until_idle()
    assert (await get_workflow(connection, workflow_id)).counts == {"dead": 1, "cancelled": 1}
    retried = await dashboard.post(f"/api/workflows/{workflow_id}/retry")
    assert (retried.status_code, retried.json()["notice"]) == (200, "2 jobs of the workflow requeued.")
    cancelled = await dashboard.post(f"/api/workflows/{workflow_id}/cancel", json={"reason": "enough"})
    assert cancelled.status_code == 200, cancelled.text
    assert (await get_workflow(connection, workflow_id)).counts == {"cancelled": 2}
    entries = (await read_trail(connection)).entries
    assert [(each.action, each.target, each.outcome) for each in entries] == [
        ("cancel-workflow", workflow_id, "done"),
        ("retry-workflow", workflow_id, "done"),
    ]
    assert entries[0].details == {"reason": "enough"}
    assert "cancel-workflow" in (await dashboard.get(f"/workflows/{workflow_id}", headers=HTML)).text
    for verb in ("cancel", "retry"):
        assert (await dashboard.post(f"/api/workflows/nothing/{verb}")).status_code == 404
