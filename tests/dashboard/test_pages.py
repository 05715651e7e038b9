"""What pages and the API show of real jobs."""

import asyncio
import json
import re
from datetime import timedelta
from typing import Any

import pytest

from naq_client import Queue
from naq_core.settings import Settings
from naq_core.storage.topology import ensure_streams
from naq_core.testing import WorkerRunner
from naq_scheduler import Scheduler
from tests.dashboard.conftest import Client
from tests.integration import work
from tests.support.clocks import make_late
from tests.support.eventually import eventually

PAGE = {"Accept": "text/html"}


async def shown(client: Client, path: str) -> str:
    answer = await client.get(path, headers=PAGE)
    assert answer.status_code == 200, answer.text[:2000]
    return str(answer.text)


@pytest.fixture
async def failed(queue: Queue, naq_worker: WorkerRunner) -> Any:
    """Let a job fail for good."""
    job = await queue.options(max_retries=0).enqueue(work.fail, "the printer burns")
    await naq_worker.run_until_idle()
    return job


@pytest.mark.parametrize(
    "path", ["/", "/queues", "/jobs", "/errors", "/delayed", "/signals", "/schedules", "/workflows", "/workers", "/events"]
)
async def test_pages_have_something_to_say_when_there_is_nothing(dashboard: Client, path: str) -> None:
    assert "<h1>" in await shown(dashboard, path)


async def test_a_queue_is_shown_with_what_waits(dashboard: Client, queue: Queue) -> None:
    for number in range(3):
        await queue.enqueue(work.add, number, 1)
    view = (await dashboard.get("/api/queues/default")).json()
    assert view["queued"] == view["waiting"] == 3
    text = await shown(dashboard, "/queues/default")
    assert "naq-worker-default" in text
    assert text.count('id="j-') == 3
    assert 'href="/queues/default"' in await shown(dashboard, "/queues")


async def test_jobs_that_wait_for_their_key_are_counted_by_key(dashboard: Client, queue: Queue) -> None:
    for key, count in {"customer-7": 3, "Müller & Söhne": 2}.items():
        await queue.enqueue_many(queue.options(key=key).call(work.add, number, 1) for number in range(count))
    view = (await dashboard.get("/api/queues/default")).json()
    assert (view["held"], view["waiting_for_key"]) == (5, 5)
    assert [(each["key"], each["waiting"]) for each in view["keys"]] == [("customer-7", 3), ("Müller & Söhne", 2)]
    assert [each["waiting_for_key"] for each in (await dashboard.get("/api/queues")).json()] == [5]
    text = await shown(dashboard, "/queues/default")
    assert "Keys for which jobs wait" in text
    assert "Müller &amp; Söhne" in text
    assert "5 for their key" in text
    assert "5 for their key" in await shown(dashboard, "/queues")
    assert "5 for their key" in await shown(dashboard, "/")


async def test_a_job_is_found_by_state_function_text_and_id(dashboard: Client, queue: Queue) -> None:
    job = await queue.enqueue(work.add, 4711, 1)
    await queue.enqueue(work.add, 8, 1)
    for query in (f"q={job.job_id}", "q=4711", "state=queued&q=4711", "queue=default&q=4711", "function=add&q=4711"):
        text = await shown(dashboard, f"/jobs?{query}")
        assert re.findall(r'id="j-([^"]+)"', text) == [job.job_id], query
    assert 'id="j-' not in await shown(dashboard, "/jobs?state=dead")


async def test_pages_of_jobs_follow_each_other(dashboard: Client, queue: Queue) -> None:
    jobs = [await queue.enqueue(work.add, number, 1) for number in range(5)]
    first = (await dashboard.get("/api/jobs?limit=3")).json()
    second = (await dashboard.get("/api/jobs", params={"limit": 3, "cursor": first["cursor"]})).json()
    assert [each["job_id"] for each in first["jobs"] + second["jobs"]] == [job.job_id for job in reversed(jobs)]


async def test_it_is_shown_who_fires_schedules_and_which_are_late(dashboard: Client, queue: Queue) -> None:
    await queue.schedule(work.add, 1, interval=3600, schedule_id="fine")
    await queue.schedule(work.add, 1, interval=3600, schedule_id="slow")
    await make_late(await queue.connection(), "slow", timedelta(minutes=7))
    told = (await dashboard.get("/api/scheduler")).json()
    assert (told["owner"], told["since"], told["active"], told["late"]) == ("", None, 2, ["slow"])
    assert {each["schedule_id"]: each["late"] > 400 for each in (await dashboard.get("/api/schedules")).json()} == {
        "fine": False,
        "slow": True,
    }
    text = await shown(dashboard, "/schedules")
    assert "naq scheduler</code></span>" in text
    assert text.count('class="chip s-late"') == 1
    assert "late: due, but not fired" in await shown(dashboard, "/schedules/slow")
    assert "late: due, but not fired" not in await shown(dashboard, "/schedules/fine")
    scheduler = Scheduler(settings=queue.settings, instance_id="the-leader")
    async with asyncio.TaskGroup() as group:
        group.create_task(scheduler.run())

        async def has_fired() -> None:
            told = (await dashboard.get("/api/scheduler")).json()
            assert (told["owner"], told["late"]) == (scheduler.instance_id, [])
            assert told["since"] is not None
            assert told["fired_at"] is not None

        await eventually(has_fired)
        scheduler.stop()
    text = await shown(dashboard, "/schedules")
    assert 'class="chip s-late"' not in text


async def test_a_failed_job_tells_why(dashboard: Client, failed: Any) -> None:
    text = await shown(dashboard, f"/jobs/{failed.job_id}")
    assert "Failed permanently" in text
    assert "the printer burns" in text
    assert "Traceback" in text
    seen = (await dashboard.get(f"/api/jobs/{failed.job_id}")).json()
    assert (seen["state"], seen["errors"][-1]["message"]) == ("dead", "the printer burns")


async def test_failures_are_grouped(dashboard: Client, queue: Queue, naq_worker: WorkerRunner) -> None:
    for number in range(3):
        await queue.options(max_retries=0).enqueue(work.fail, f"order {number} is lost")
    await naq_worker.run_until_idle()
    groups = (await dashboard.get("/api/errors")).json()
    assert [(each["count"], each["queues"]) for each in groups] == [(3, ["default"])]
    assert "1 cause" in await shown(dashboard, "/errors")


async def test_all_of_a_group_are_retried_only_where_a_filter_can_mean_them(
    dashboard: Client, queue: Queue, naq_worker: WorkerRunner
) -> None:
    await queue.options(max_retries=0).enqueue(work.fail, "lost")
    connection = await queue.connection()
    await connection.publish(connection.names.dead("default", "unreadable"), b"\xff", {})
    await naq_worker.run_until_idle()
    text = await shown(dashboard, "/errors?queue=default")
    assert "2 causes" in text
    assert text.count('name="verb" value="retry"') == 1, "for the one with function and type"
    assert '<input type="hidden" name="queue" value="default">' in text


async def test_secrets_are_hidden_everywhere(dashboard: Client, queue: Queue) -> None:
    job: Any = await queue.enqueue(dict, password="hunter2", note="fine")
    for path in (f"/jobs/{job.job_id}", "/jobs", f"/api/jobs/{job.job_id}", "/api/jobs"):
        text = (await dashboard.get(path)).text
        assert "hunter2" not in text, path
        assert "fine" in text, path


async def test_a_result_is_shown_as_its_worker_wrote_it(dashboard: Client, queue: Queue, naq_worker: WorkerRunner) -> None:
    job = await queue.enqueue(work.add, 40, 2)
    await naq_worker.run_until_idle()
    assert ">42</pre>" in await shown(dashboard, f"/jobs/{job.job_id}")


HOSTILE = "<script>alert(1)</script>\x00\x1b[31m\u202e\r\revent: up\rdata: x\r\r"


@pytest.mark.parametrize("state", ["running", "retrying", "succeeded", "dead", "cancelled", "expired"])
async def test_a_record_that_anybody_may_have_written_is_only_text(dashboard: Client, queue: Queue, state: str) -> None:
    connection, never = await queue.connection(), 1e308
    await ensure_streams(connection)
    failure = {"attempt": 1, "type": HOSTILE, "message": HOSTILE, "traceback": HOSTILE, "at": never, "worker": HOSTILE}
    times = dict.fromkeys(("enqueued_at", "started_at", "ended_at", "next_at"), never)
    texts = dict.fromkeys(("function", "arguments", "reason", "worker", "workflow", "schedule", "result_type"), HOSTILE)
    document = {"state": state, "job_id": "evil", "queue": "mail", **times, **texts, "errors": [failure] * 5}
    document |= {"progress": {"done": never, "total": -never, "note": HOSTILE}, "result_text": "x" * 500_000}
    document |= {"logs": [{"at": never, "level": HOSTILE, "message": HOSTILE}]}
    await connection.publish(connection.names.result("mail", "evil"), json.dumps(document).encode(), {})
    for path in ("/jobs/evil", "/jobs", "/errors", "/delayed", "/"):
        answer = await dashboard.get(path, headers=PAGE)
        assert answer.status_code == 200, path
        assert not {"\x00", "\x1b", "\u202e"} & set(answer.text), path
        assert "<script>alert" not in answer.text, path
        assert len(answer.text) < 300_000, path


async def test_many_parameters_do_not_hide_what_the_page_is_of(dashboard: Client, queue: Queue) -> None:
    job = await queue.enqueue(work.add, 1, 1)
    more = "&".join(f"a{number}=1" for number in range(150))
    assert (await dashboard.get(f"/jobs/{job.job_id}?{more}", headers=PAGE)).status_code == 200


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/jobs/nothing", 404),
        ("/jobs/a.b*", 400),
        ("/queues/a.b", 400),
        ("/jobs?state=asleep", 400),
        ("/jobs?since=soon", 400),
        ("/jobs?limit=many", 400),
        ("/jobs?cursor=nonsense", 400),
        ("/jobs?q=%22open", 400),
        ("/workflows/nothing", 404),
        ("/schedules/nothing", 404),
        ("/stream?page=nothing", 404),
    ],
)
async def test_what_cannot_be_asked_is_said_plainly(dashboard: Client, path: str, status: int) -> None:
    for accept in (PAGE, {"Accept": "application/json"}):
        answer = await dashboard.get(path, headers=accept)
        assert answer.status_code == status, answer.text[:500]
        assert "Traceback" not in answer.text


async def test_a_long_list_of_queues_is_searched_and_ordered(dashboard: Client, settings: Settings) -> None:
    for number, name in enumerate(("mail-a", "mail-b", "images"), start=1):
        async with Queue(name, settings=settings) as queue:
            for each in range(number):
                await queue.enqueue(work.add, each)
    text = await shown(dashboard, "/queues?find=MAIL&sort=waiting")
    assert re.findall(r'id="q-([\w-]+)"', text) == ["mail-b", "mail-a"]
    assert "2 of 3" in text
    assert 'aria-sort="descending"' in text
    assert "No queue matches" in await shown(dashboard, "/queues?find=nothing&sort=nothing")
