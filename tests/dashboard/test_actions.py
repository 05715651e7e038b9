"""What can be done: by whom, from where, and what comes of it."""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from litestar.handlers import HTTPRouteHandler

from naq_client import Queue, QueuePolicy
from naq_core.envelope import decode_envelope
from naq_core.inspect import get_job, get_queue
from naq_core.manage import is_queue_paused
from naq_core.storage.records import find_job
from naq_core.testing import WorkerRunner
from naq_dashboard import OPERATOR, VIEWER, Action, User, create_app
from naq_dashboard.actions.table import VERBS
from naq_dashboard.guard.guard import SAFE_METHODS
from tests.conftest import RunWorker
from tests.dashboard.conftest import Client, OpenDashboard
from tests.integration import work
from tests.support.eventually import eventually

BROWSER = {"Sec-Fetch-Site": "same-origin"}
USERS = (
    User(name="olga", access=OPERATOR, password="pw"),
    User(name="vera", access=VIEWER, password="pw"),
)


def unsafe_handlers() -> Iterator[HTTPRouteHandler]:
    for route in create_app().routes:
        for handler in getattr(route, "route_handlers", ()):
            if not set(handler.http_methods) <= SAFE_METHODS:
                yield handler


def test_every_handler_that_changes_something_names_its_action() -> None:
    found = list(unsafe_handlers())
    assert len(found) > 15
    for handler in found:
        named = [name for name in ("action", "checks_action", "anybody") if handler.opt.get(name)]
        assert named, f"{handler.paths} has no action"
        if named == ["anybody"]:
            assert handler.paths <= {"/login", "/logout"}


def test_every_action_belongs_to_a_verb() -> None:
    assert {each.action for each in VERBS.values()} == set(Action) - {Action.STACK_WORKER}  # whose answer is not a sentence


async def token_of(client: Client, path: str = "/jobs", **options: Any) -> str:
    text = (await client.get(path, headers={"Accept": "text/html"}, **options)).text
    return str(text.partition('<meta name="naq-csrf" content="')[2].partition('"')[0])


async def test_a_job_is_cancelled_and_put_back(dashboard: Client, queue: Queue) -> None:
    job = await queue.enqueue(work.add, 1, 1)
    answer = await dashboard.post(f"/api/jobs/{job.job_id}/cancel", json={"reason": "changed my mind"})
    assert answer.status_code == 200, answer.text
    seen = (await dashboard.get(f"/api/jobs/{job.job_id}")).json()
    assert (seen["state"], seen["reason"]) == ("cancelled", "changed my mind")
    assert (await dashboard.post(f"/api/jobs/{job.job_id}/cancel")).json()["notice"].startswith("The job had already ended")


async def test_a_dead_job_is_retried_and_deleted(dashboard: Client, queue: Queue, naq_worker: WorkerRunner) -> None:
    job = await queue.options(max_retries=0).enqueue(work.fail, "x")
    await naq_worker.run_until_idle()
    assert (await dashboard.post(f"/api/jobs/{job.job_id}/retry")).status_code == 200
    assert (await dashboard.get(f"/api/jobs/{job.job_id}")).json()["state"] == "queued"
    await naq_worker.run_until_idle()
    assert (await dashboard.delete(f"/api/jobs/{job.job_id}")).status_code == 200
    assert (await dashboard.get(f"/api/jobs/{job.job_id}")).status_code == 404
    assert (await dashboard.post(f"/api/jobs/{job.job_id}/retry")).status_code == 404


async def test_a_queue_is_paused_resumed_and_purged(dashboard: Client, queue: Queue) -> None:
    await queue.enqueue(work.add, 1, 1)
    connection = await queue.connection()
    assert (await dashboard.post("/api/queues/default/pause", json={"duration": "1h"})).status_code == 200
    assert await is_queue_paused(connection, "default")
    assert (await dashboard.post("/api/queues/default/resume")).status_code == 200
    assert not await is_queue_paused(connection, "default")
    unconfirmed = await dashboard.post("/api/queues/default/purge", json={"confirm": "defualt"})
    assert unconfirmed.status_code == 400
    assert (await get_queue(connection, "default")).queued == 1
    assert (await dashboard.post("/api/queues/default/purge", json={"confirm": "default"})).status_code == 200
    assert (await get_queue(connection, "default")).queued == 0


async def test_an_empty_queue_is_deleted(dashboard: Client, queue: Queue) -> None:
    await queue.enqueue(work.add, 1, 1)
    refused = await dashboard.delete("/api/queues/default")
    assert refused.status_code == 409
    assert "queue 'default' has 1 queued job" in refused.json()["detail"]
    await queue.purge()
    form = await dashboard.post("/do/delete-queue", data={"queue": "default"}, headers={"Accept": "application/json"})
    assert form.json() == {"notice": "Queue default is deleted.", "location": "/queues"}
    assert (await dashboard.delete("/api/queues/default")).status_code == 404
    assert "delete-queue" in (await dashboard.get("/audit")).text


async def test_a_delayed_job_gets_another_time_and_runs_now(dashboard: Client, queue: Queue) -> None:
    job = await queue.enqueue_in(timedelta(hours=1), work.add, 1, 1)
    assert job.job_id in (await dashboard.get("/delayed")).text
    assert (await dashboard.post(f"/api/jobs/{job.job_id}/reschedule", json={"duration": "2h"})).status_code == 200
    due = datetime.fromisoformat((await dashboard.get(f"/api/jobs/{job.job_id}")).json()["due_at"])
    assert due > datetime.now(UTC) + timedelta(minutes=90)
    assert (await dashboard.post(f"/api/jobs/{job.job_id}/run")).status_code == 200
    assert (await dashboard.get(f"/api/jobs/{job.job_id}")).json()["state"] == "queued"


async def test_a_queue_gets_a_limit_and_loses_it(dashboard: Client, queue: Queue) -> None:
    await queue.enqueue(work.add, 1, 1)
    assert (await dashboard.post("/api/queues/default/limit", json={"limit": 3})).status_code == 200
    assert (await dashboard.get("/api/queues/default")).json()["limit"] == 3
    assert (await dashboard.post("/api/queues/default/limit")).status_code == 200
    assert (await dashboard.get("/api/queues/default")).json()["limit"] is None
    assert (await dashboard.post("/api/queues/default/policy", json={"key_limit": 4})).status_code == 200
    assert (await dashboard.get("/api/queues/default")).json()["key_limit"] == 4
    assert (await queue.policy()).key_limit == 4
    assert "nothing is set" in (await dashboard.post("/api/queues/default/policy", json={})).text


async def test_a_queue_gets_rates_and_loses_them(dashboard: Client, queue: Queue) -> None:
    await queue.enqueue(work.add, 1, 1)
    address = "/api/queues/default/policy"
    await queue.set_limit(9)
    done = await dashboard.post(address, json={"rate": "10/s", "burst": 5, "key_rate": "1/min", "weights": {"vip": 3}})
    assert "starts jobs at 10/s, 5 at once" in done.text
    assert await queue.policy() == QueuePolicy(limit=9, rate="10/s", burst=5, key_rate="1/min", weights={"vip": 3})
    view = (await dashboard.get("/api/queues/default")).json()
    assert (view["rate"], view["burst"], view["key_rate"], view["weights"]) == ("10/s", 5, "1/min", {"vip": 3})
    assert (await dashboard.post(address, json={"rate": ""})).status_code == 200
    assert await queue.policy() == QueuePolicy(limit=9, key_rate="1/min", weights={"vip": 3})
    refused = [({"rate": "fast"}, "'fast' cannot be a rate"), ({"burst": 2}, "needs a rate"), ({"weights": "vip"}, "KEY=NUMBER")]
    for wrong, named in refused:
        answer = await dashboard.post(address, json=wrong)
        assert (answer.status_code, named in answer.text) == (400, True), answer.text
    form = {"queue": "default", "_csrf_token": await token_of(dashboard), "replaces": "true", "tz": "UTC"}
    form |= {"rate": "2/s", "burst": "", "key_rate": "", "key_burst": "", "key_limit": "2", "weights": "vip=2, key = 3"}
    answer = await dashboard.post("/do/policy-queue", data=form, headers=BROWSER | {"Accept": "application/json"})
    assert answer.status_code == 200, answer.text
    assert await queue.policy() == QueuePolicy(limit=9, rate="2/s", key_limit=2, weights={"vip": 2, "key": 3})


async def test_a_form_is_decoded_where_it_arrives(dashboard: Client, queue: Queue) -> None:
    await queue.enqueue(work.add, 1, 1)
    form = {"queue": "default", "_csrf_token": await token_of(dashboard)}
    headers = BROWSER | {"Accept": "application/json"}
    for limit, status, named in (
        ("3", 200, "at most 3 jobs at once"),
        ("many", 400, "limit must be an integer, not 'many'"),
        ("0", 400, "limit"),
        (" ", 200, "no longer has a limit"),
    ):
        answer = await dashboard.post("/do/limit-queue", data=form | {"limit": limit, "other": "x"}, headers=headers)
        assert (answer.status_code, named in answer.text) == (status, True), answer.text
    assert (await dashboard.post("/do/limit-queue", data=form | {"queue": " "}, headers=headers)).status_code == 400


async def test_a_worker_goes_quiet_and_stops(dashboard: Client, run_worker: RunWorker) -> None:
    async with run_worker() as worker:

        async def quieted() -> None:
            answer = await dashboard.post(f"/api/workers/{worker.worker_id}/quiet")
            assert answer.status_code == 200, answer.text

        await eventually(quieted)
        assert (await dashboard.post(f"/api/workers/{worker.worker_id}/resume")).status_code == 200
        assert (await dashboard.post(f"/api/workers/{worker.worker_id}/stop")).status_code == 200
    assert (await dashboard.post("/api/workers/a.b/stop")).status_code == 404


async def test_all_that_match_are_done_by_the_server(dashboard: Client, queue: Queue, naq_worker: WorkerRunner) -> None:
    for number in range(30):
        await queue.options(max_retries=0).enqueue(work.fail, f"x{number}")
    other = await queue.enqueue(work.add, 1, 1)
    await naq_worker.run_until_idle()
    drifted = await dashboard.post("/api/bulk", json={"action": "retry", "filter": "state:dead", "expect_count": 3})
    assert drifted.status_code == 400
    begun = await dashboard.post("/api/bulk", json={"action": "retry", "filter": "state:dead", "expect_count": 30})
    assert begun.status_code == 202, begun.text

    async def ended() -> None:
        state = (await dashboard.get(f"/api/bulk/{begun.json()['run_id']}")).json()
        assert state["ended_at"] is not None
        assert (state["done"], state["error"]) == (30, "")

    await eventually(ended)
    view = await get_queue(await queue.connection(), "default")
    assert (view.queued, view.dead) == (30, 0)
    assert (await get_job(await queue.connection(), other.job_id)).state == "succeeded"


async def test_jobs_of_one_id_in_two_queues_are_told_apart(dashboard: Client, queue: Queue) -> None:
    connection = await queue.connection()
    async with Queue("mail", connection=connection) as mail:
        jobs = [await each.options(job_id="order-1", delay=3600).enqueue(work.add, 1, 1) for each in (queue, mail)]
    listed = (await dashboard.get("/jobs")).text
    assert {"/jobs/order-1?queue=default", "/jobs/order-1?queue=mail"} <= set(re.findall(r'href="([^"]+)"', listed))
    assert set(re.findall(r'name="chosen" value="([^"]+)"', listed)) == {"order-1@default", "order-1@mail"}
    page = await dashboard.get("/jobs/order-1?queue=mail")
    assert page.status_code == 200
    assert "naq job show order-1@mail" in page.text
    assert '<input type="hidden" name="queue" value="mail">' in page.text
    token = await token_of(dashboard)
    answer = await dashboard.post(
        "/do/cancel-job",
        data={"job_id": "order-1", "queue": "mail", "_csrf_token": token},
        headers=BROWSER | {"Referer": "http://127.0.0.1/jobs/order-1?queue=mail"},
        follow_redirects=False,
    )
    assert answer.headers["Location"] == "/jobs/order-1?queue=mail"
    assert [await job.status() for job in jobs] == ["held", "cancelled"]
    chosen = {"verb": "cancel", "chosen": ["order-1@default"], "_csrf_token": token}
    told = (await dashboard.post("/do/bulk", data=chosen, headers=BROWSER | {"Accept": "application/json"})).json()
    assert told["notice"].startswith("1 job")
    assert (await dashboard.get("/jobs/order-1")).status_code == 400  # of which of them?
    again = {"function": "tests.integration.work:add", "job_id": "order-1", "queue": "other", "_csrf_token": token}
    told = (await dashboard.post("/do/enqueue-job", data=again, headers=BROWSER | {"Accept": "application/json"})).json()
    assert told["location"] == "/jobs/order-1?queue=other"


async def test_a_form_works_without_scripts_and_goes_back(dashboard: Client, queue: Queue) -> None:
    jobs = [await queue.enqueue(work.add, number, 1) for number in range(3)]
    chosen = {"verb": "cancel", "chosen": [jobs[0].job_id, jobs[2].job_id], "_csrf_token": await token_of(dashboard)}
    answer = await dashboard.post(
        "/do/bulk", data=chosen, headers=BROWSER | {"Referer": "http://127.0.0.1/jobs"}, follow_redirects=False
    )
    assert (answer.status_code, answer.headers["location"]) == (303, "/jobs")
    assert "2 jobs cancelled." in (await dashboard.get("/jobs")).text
    assert "2 jobs cancelled." not in (await dashboard.get("/jobs")).text, "a notice is shown once"
    states = [(await get_job(await queue.connection(), job.job_id)).state.value for job in jobs]
    assert states == ["cancelled", "queued", "cancelled"]


async def test_what_a_form_says_of_where_it_came_from_need_not_be_an_address(dashboard: Client, queue: Queue) -> None:
    form = {"queue": queue.name, "_csrf_token": await token_of(dashboard)}
    answer = await dashboard.post("/do/pause-queue", data=form, headers=BROWSER | {"Referer": "http://["}, follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/")


class TestFromElsewhere:
    @pytest.mark.parametrize(
        "headers",
        [
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site"},
            {"Origin": "http://evil.example"},
            {"Origin": "null"},
            {"Origin": "http://["},
            {"Cookie": "a=b"},
            {"Sec-Fetch-Site": "same-origin"},  # ours, but without the token of a page of ours
            {"Sec-Fetch-Site": "same-origin", "X-CSRF-Token": "guess"},
        ],
    )
    async def test_a_request_of_another_site_is_refused(self, dashboard: Client, queue: Queue, headers: dict[str, str]) -> None:
        job = await queue.enqueue(work.add, 1, 1)
        for path in (f"/api/jobs/{job.job_id}/cancel", "/do/cancel-job"):
            answer = await dashboard.post(path, data={"job_id": job.job_id}, headers=headers)
            assert answer.status_code == 403, answer.text
        assert (await get_job(await queue.connection(), job.job_id)).state == "queued"

    async def test_a_page_of_ours_has_the_token(self, dashboard: Client, queue: Queue) -> None:
        job = await queue.enqueue(work.add, 1, 1)
        headers = BROWSER | {"X-CSRF-Token": await token_of(dashboard)}
        assert (await dashboard.post(f"/api/jobs/{job.job_id}/cancel", headers=headers)).status_code == 200


class TestRoles:
    async def test_nobody_does_more_than_their_role(self, open_dashboard: OpenDashboard, queue: Queue) -> None:
        job = await queue.enqueue(work.add, 1, 1)
        async with open_dashboard(users=USERS) as client:
            for name, path, status in (
                ("vera", f"/api/jobs/{job.job_id}/cancel", 403),
                ("olga", "/api/queues/default/purge", 403),
                ("olga", "/api/queues/default/delete", 403),
                ("olga", f"/api/jobs/{job.job_id}/delete", 403),
                ("olga", f"/api/jobs/{job.job_id}/cancel", 200),
            ):
                answer = await client.post(path, json={"confirm": "default"}, auth=(name, "pw"))
                assert answer.status_code == status, (name, path, answer.text)
            bulk = {"action": "delete", "filter": "state:dead"}
            assert (await client.post("/api/bulk", json=bulk, auth=("olga", "pw"))).status_code == 403

    async def test_read_only_means_nobody(self, open_dashboard: OpenDashboard, queue: Queue) -> None:
        job = await queue.enqueue(work.add, 1, 1)
        async with open_dashboard(read_only=True, token="full-token") as client:
            headers = {"Authorization": "Bearer full-token"}
            assert (await client.post(f"/api/jobs/{job.job_id}/cancel", headers=headers)).status_code == 403
            text = (await client.get("/jobs", headers=headers)).text
            assert 'action="/do/' not in text


class TestNewJobs:
    async def test_a_job_is_enqueued_as_json_and_run(self, dashboard: Client, queue: Queue, naq_worker: WorkerRunner) -> None:
        order = {"function": "tests.integration.work:add", "args": [2], "kwargs": {"b": 3}, "max_retries": 1}
        answer = await dashboard.post("/api/jobs", json=order)
        assert answer.status_code == 201, answer.text
        made = answer.json()
        assert answer.headers["location"] == f"/api/jobs/{made['job_id']}"
        stored = await find_job(await queue.connection(), made["job_id"])
        assert stored is not None
        assert decode_envelope(stored.data).ct == "json"
        await naq_worker.run_until_idle()
        seen = (await dashboard.get(answer.headers["location"])).json()
        assert (seen["state"], seen["result"], seen["max_attempts"]) == ("succeeded", "5", None)

    async def test_an_id_makes_it_safe_to_repeat(self, dashboard: Client) -> None:
        order = {"function": "math:sqrt", "args": [2], "job_id": "once", "delay": "1h"}
        first = await dashboard.post("/api/jobs", json=order)
        again = await dashboard.post("/api/jobs", json=order)
        assert [first.json()["job_id"], again.json()["job_id"]] == ["once", "once"]
        assert "already exists" in again.json()["notice"]
        seen = (await dashboard.get("/api/jobs/once")).json()
        assert seen["state"] == "held"
        assert datetime.fromisoformat(seen["due_at"]) > datetime.now(UTC) + timedelta(minutes=50)

    @pytest.mark.parametrize(
        ("order", "named"),
        [
            ({"function": "rubbish"}, "module:function"),
            ({"function": "shop.mail.send"}, "shop.mail:send"),
            ({"function": "math:sqrt", "queue": "a b"}, "queue name"),
            ({"function": "math:sqrt", "job_id": "a.b"}, "job id"),
            ({"function": "math:sqrt", "delay": "soon"}, "delay"),
            ({"function": "math:sqrt", "timeout": "0"}, "timeout"),
            ({"function": "math:sqrt", "priority": "urgent"}, "priority"),
            ({"function": "math:sqrt", "retries": 3}, "retries"),
            ({"args": []}, "function"),
            ({"function": "math:sqrt", "args": ["x" * 600_000]}, "too long"),
        ],
    )
    async def test_a_wrong_order_is_refused(self, dashboard: Client, order: dict[str, Any], named: str) -> None:
        answer = await dashboard.post("/api/jobs", json=order)
        assert answer.status_code == 400, answer.text
        assert named in answer.json()["detail"]
        assert (await dashboard.get("/api/jobs")).json()["jobs"] == []

    async def test_an_operator_may_not(self, open_dashboard: OpenDashboard) -> None:
        async with open_dashboard(users=USERS) as client:
            answer = await client.post("/api/jobs", json={"function": "os:system", "args": ["id"]}, auth=("olga", "pw"))
            assert answer.status_code == 403
            assert "enqueue-job" in answer.json()["detail"]

    async def test_a_schedule_keeps_its_call_as_json_too(self, dashboard: Client, queue: Queue) -> None:
        order = {"function": "math:pow", "schedule_id": "both", "args": [2], "kwargs": {"y": 3}, "interval": "1h"}
        assert (await dashboard.post("/api/schedules", json=order)).status_code == 201
        assert (await dashboard.get("/api/schedules/both")).json()["arguments"] == "2, y=3"
        assert (await dashboard.post("/api/schedules/both/trigger")).status_code == 200
        history = (await dashboard.get("/api/schedules/both/history")).json()
        stored = await find_job(await queue.connection(), history[0]["job_id"])
        assert stored is not None
        assert decode_envelope(stored.data).ct == "json"
        assert (await dashboard.delete("/api/schedules/both")).status_code == 200
        assert (await dashboard.get("/api/schedules/both")).status_code == 404
