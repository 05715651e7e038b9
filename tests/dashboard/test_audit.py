"""Who did what with the dashboard: in the trail before it is done, with what came of it, and shown."""

from typing import Any

import pytest

from naq_client import Queue
from naq_core.audit import Actor, read_trail, recorded
from naq_core.inspect import get_job, get_queue
from naq_core.settings import Settings
from naq_core.views import AuditEntry, AuditFilter
from naq_dashboard import OPERATOR, VIEWER, User
from naq_dashboard.access.passwords import hash_password
from tests.dashboard.conftest import Client, OpenDashboard
from tests.integration import work
from tests.support.eventually import eventually

HTML = {"Accept": "text/html"}
SAME = {"Sec-Fetch-Site": "same-origin"}
USERS = (
    User(name="olga", access=OPERATOR, password="pw"),
    User(name="vera", access=VIEWER, password=hash_password("pw")),
)


async def trail(queue: Queue, **wanted: str) -> list[AuditEntry]:
    return (await read_trail(await queue.connection(), AuditFilter(**wanted))).entries


async def test_an_action_is_in_the_trail_with_what_came_of_it(dashboard: Client, queue: Queue) -> None:
    job = await queue.enqueue(work.add, 1, 1)
    await dashboard.post(f"/api/jobs/{job.job_id}/cancel", json={"reason": "why not"})
    await dashboard.post("/api/queues/default/purge", json={"confirm": "defualt"})
    await dashboard.post("/api/jobs/nobody/retry")
    found = [(each.action, each.target, each.outcome) for each in await trail(queue)]
    assert found == [
        ("retry-job", "nobody", "refused"),
        ("purge-queue", "default", "refused"),
        ("cancel-job", job.job_id, "done"),
    ]
    assert (await trail(queue, action="purge-queue"))[0].reason == "to confirm, type the name exactly: default"
    (done,) = await trail(queue, outcome="done")
    assert done.details == {"reason": "why not"}
    assert done.reason == "The job is cancelled and will not run."


async def test_it_says_who_and_how_they_are_known(open_dashboard: OpenDashboard, queue: Queue) -> None:
    async with open_dashboard(users=USERS, token="full-token") as client:
        await client.post("/api/queues/default/pause", auth=("olga", "pw"))
        await client.post("/api/queues/default/resume", headers={"Authorization": "Bearer full-token"})
    assert [(each.by, each.how, each.action) for each in await trail(queue)] == [
        ("token", "token", "resume-queue"),
        ("olga", "password", "pause-queue"),
    ]


@pytest.mark.naq(publish_budget="0.5s")
async def test_what_cannot_be_noted_is_not_done(dashboard: Client, queue: Queue) -> None:
    job = await queue.enqueue(work.add, 1, 1)
    connection = await queue.connection()
    names = connection.names
    wrong = {"name": names.audit_stream, "subjects": [f"{names.audit}.elsewhere"], "retention": "limits", "storage": "file"}
    await connection.api(f"STREAM.CREATE.{names.audit_stream}", wrong)
    for path, body in (
        (f"/api/jobs/{job.job_id}/cancel", {}),
        ("/api/queues/default/purge", {"confirm": "default"}),
        ("/api/bulk", {"action": "cancel", "filter": "queue:default"}),
    ):
        answer = await dashboard.post(path, json=body)
        assert answer.status_code in {400, 503}, answer.text
        assert "stream" in answer.json()["detail"]
    assert (await get_job(connection, job.job_id)).state == "queued"
    assert (await get_queue(connection, "default")).queued == 1


async def test_chosen_jobs_have_an_entry_each_and_all_that_match_have_one(dashboard: Client, queue: Queue) -> None:
    jobs = [await queue.enqueue(work.add, number, 1) for number in range(4)]
    token = (await dashboard.get("/jobs", headers=HTML)).text.partition('<meta name="naq-csrf" content="')[2].partition('"')[0]
    chosen = {"verb": "cancel", "chosen": [jobs[0].job_id, jobs[1].job_id, jobs[0].job_id, "nobody"], "_csrf_token": token}
    answer = await dashboard.post("/do/bulk", data=chosen, headers=SAME | {"Accept": "application/json"})
    assert answer.json()["notice"].startswith("2 jobs cancelled. 1 left as they are")
    entries = await trail(queue)
    assert {(each.action, each.target, each.outcome) for each in entries} == {
        ("cancel-job", jobs[0].job_id, "done"),
        ("cancel-job", jobs[1].job_id, "done"),
        ("cancel-job", "nobody", "refused"),
    }
    assert len(entries) == 3
    await dashboard.post("/api/bulk", json={"action": "cancel", "filter": "queue:default state:queued"})

    async def ended() -> None:
        (entry,) = await trail(queue, kind="jobs")
        assert (entry.action, entry.target, entry.outcome) == ("cancel-jobs", "state:queued queue:default", "done")
        assert entry.reason == "2 jobs cancelled."

    await eventually(ended)


class TestRefusals:
    async def test_what_a_role_may_not_do_is_noted(self, open_dashboard: OpenDashboard, queue: Queue) -> None:
        async with open_dashboard(users=USERS) as client:
            assert (await client.post("/api/queues/default/purge", auth=("olga", "pw"))).status_code == 403
            bulk = {"action": "delete", "filter": "state:dead"}
            assert (await client.post("/api/bulk", json=bulk, auth=("vera", "pw"))).status_code == 403
            assert (await client.post("/do/stop-worker", data={"worker_id": "w"}, auth=("olga", "pw"))).status_code == 403
        entries = await trail(queue)
        assert {(each.by, each.action, each.target, each.outcome) for each in entries} == {
            ("olga", "purge-queue", "default", "refused"),
            ("vera", "delete-jobs", "state:dead", "refused"),
            ("olga", "stop-worker", "w", "refused"),
        }

    async def test_logins_are_noted_and_wrong_ones_without_what_was_typed(
        self, open_dashboard: OpenDashboard, queue: Queue, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with open_dashboard(users=USERS, token="full-token") as client:
            for name, password in (("olga", "guess-1"), ("secret-in-the-wrong-field", "guess-2"), ("olga", "pw")):
                await client.post("/login", data={"name": name, "password": password}, headers=SAME)
            await client.post("/logout", headers=SAME)
            assert (await client.get("/api/jobs", headers={"Authorization": "Bearer guess-3"})).status_code == 401
        entries = await trail(queue)
        assert {(each.by, each.action, each.outcome, each.reason) for each in entries} == {
            ("olga", "log-in", "refused", "wrong password"),
            ("", "log-in", "refused", "no such name"),
            ("", "log-in", "refused", "wrong token"),
            ("olga", "log-in", "done", ""),
            ("olga", "log-out", "done", ""),
        }
        assert {each.details["from"] for each in entries} == {"127.0.0.1"}
        for secret in ("guess", "secret-in", "full-token"):
            assert secret not in repr(entries)
            assert secret not in caplog.text

    async def test_a_login_needs_no_trail(self, open_dashboard: OpenDashboard, settings: Settings) -> None:
        away = Settings.load(nats_url="nats://127.0.0.1:9", namespace=settings.namespace)
        async with open_dashboard(away, users=USERS) as client:
            answer = await client.post("/login", data={"name": "olga", "password": "pw"}, headers=SAME, follow_redirects=False)
            assert answer.status_code == 303


class TestShowing:
    async def test_the_page_and_the_api_filter_and_page(self, dashboard: Client, queue: Queue) -> None:
        connection = await queue.connection()
        for number in range(60):
            actor = Actor("ada" if number % 2 else "mallory", "session")
            async with recorded(connection, actor, "pause-queue", f"q{number}"):
                pass
        first = await dashboard.get("/audit", headers=HTML)
        assert first.status_code == 200
        assert "q59" in first.text
        assert '/queues/q9"' not in first.text
        page = (await dashboard.get("/api/audit", params={"limit": 50})).json()
        older = await dashboard.get("/audit", params={"cursor": page["cursor"]}, headers=HTML)
        assert '/queues/q9"' in older.text
        rest = (await dashboard.get("/api/audit", params={"cursor": page["cursor"]})).json()
        assert [each["target"] for each in page["entries"] + rest["entries"]] == [f"q{n}" for n in reversed(range(60))]
        only = await dashboard.get("/audit", params={"by": "ada", "target": "q1"}, headers=HTML)
        assert '/queues/q11"' in only.text
        assert '/queues/q10"' not in only.text
        assert (await dashboard.get("/audit", params={"cursor": "x"}, headers=HTML)).status_code == 400

    async def test_it_hides_what_looks_secret(self, dashboard: Client, queue: Queue) -> None:
        job = await queue.enqueue(work.add, 1, 1)
        await dashboard.post(f"/api/jobs/{job.job_id}/cancel", json={"reason": "password=hunter2"})
        for path in ("/audit", f"/jobs/{job.job_id}", "/api/audit"):
            text = (await dashboard.get(path, headers={} if "api" in path else HTML)).text
            assert "cancel-job" in text, path
            assert "hunter2" not in text, path

    async def test_arguments_of_a_schedule_are_not_in_it(self, dashboard: Client, queue: Queue) -> None:
        body = {"function": "math:sqrt", "interval": "1h", "schedule_id": "hourly", "args": ["the-secret"]}
        assert (await dashboard.post("/api/schedules", json=body)).status_code == 201
        (entry,) = await trail(queue)
        assert (entry.action, entry.target, entry.details) == (
            "create-schedule",
            "hourly",
            {"function": "math:sqrt", "interval": "1h"},
        )
        assert "the-secret" not in repr(entry)

    @pytest.mark.parametrize("kind", ["job", "queue", "schedule"])
    async def test_a_page_shows_what_was_done_to_its_own_thing(self, dashboard: Client, queue: Queue, kind: str) -> None:
        job = await queue.enqueue(work.add, 1, 1)
        await queue.schedule(work.add, 1, 1, schedule_id="nightly", interval=3600)
        target = {"job": job.job_id, "queue": "default", "schedule": "nightly"}[kind]
        path = f"/{kind}s/{target}"
        assert "Activity" not in (await dashboard.get(path, headers=HTML)).text
        connection = await queue.connection()
        async with recorded(connection, Actor("ada@desk", "command line"), f"pause-{kind}", target):
            pass
        async with recorded(connection, Actor("mallory", "session"), f"pause-{kind}", "another"):
            pass

        async def shown() -> None:
            text = (await dashboard.get(path, headers=HTML)).text
            assert "Activity" in text
            assert "ada@desk" in text
            assert "mallory" not in text

        await eventually(shown)

    async def test_whoever_may_look_sees_it(self, open_dashboard: OpenDashboard, queue: Queue) -> None:
        async with open_dashboard(users=USERS) as client:
            await client.post(f"/api/queues/{queue.name}/pause", auth=("olga", "pw"))
            assert "pause-queue" in (await client.get("/audit", headers=HTML, auth=("vera", "pw"))).text
            assert (await client.get("/api/audit")).status_code == 401

    @pytest.mark.parametrize(
        "hostile", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "{{7*7}}", "\u202e\u2028"]
    )
    async def test_hostile_text_is_text(self, dashboard: Client, queue: Queue, hostile: str) -> None:
        connection = await queue.connection()
        for kind in ("job", "queue", "thing"):
            async with recorded(connection, Actor(hostile, hostile), f"pause-{kind}", hostile, {hostile: hostile}) as entry:
                entry.reason = entry.outcome = hostile
        text = (await dashboard.get("/audit", params={"by": hostile, "action": hostile[:3]}, headers=HTML)).text
        text += (await dashboard.get("/audit", headers=HTML)).text
        assert "<script>alert" not in text
        assert "<img src=x" not in text
        assert ">49<" not in text


async def test_read_only_dashboards_note_refusals_too(open_dashboard: OpenDashboard, queue: Queue) -> None:
    options: dict[str, Any] = {"read_only": True, "token": "full-token"}
    async with open_dashboard(**options) as client:
        headers = {"Authorization": "Bearer full-token"}
        assert (await client.post("/api/queues/default/pause", headers=headers)).status_code == 403
    (entry,) = await trail(queue)
    assert (entry.outcome, entry.reason) == ("refused", "token is not allowed to pause-queue")
