"""Functions: what ran how often and how long, marks of deployments; and enqueueing again, backfills, what was changed."""

from datetime import UTC, datetime, timedelta

import pytest

from naq_client import Queue
from naq_core.record import JobState
from naq_core.storage.connection import Connection
from naq_core.storage.worker_history import note_worker
from naq_core.testing import WorkerRunner
from naq_core.views import JobPage
from naq_dashboard.queries import search
from tests.dashboard.conftest import Client
from tests.dashboard.test_actions import BROWSER, token_of
from tests.integration import work
from tests.support.eventually import eventually

ADD, FAIL = "tests.integration.work:add", "tests.integration.work:fail"
PAGE = {"Accept": "text/html"}


async def shown(client: Client, path: str) -> str:
    answer = await client.get(path, headers=PAGE)
    assert answer.status_code == 200, answer.text
    return answer.text


async def test_each_function_has_its_figures_and_a_page(dashboard: Client, queue: Queue, naq_worker: WorkerRunner) -> None:
    await dashboard.post("/api/deploys", json={"version": " v12 "})
    await queue.enqueue_many(queue.call(work.add, number) for number in range(3))
    failing = await queue.options(max_retries=1, retry_delay=0.01).enqueue(work.fail, "boom")
    await naq_worker.run_until_idle()

    async def is_counted() -> None:
        found = {each["function"]: each for each in (await dashboard.get("/api/functions?hours=1")).json()}
        assert (found[ADD]["succeeded"], found[ADD]["failed"], found[ADD]["queues"]) == (3, 0, ["default"])
        assert (found[FAIL]["started"], found[FAIL]["failed"], found[FAIL]["retried"]) == (2, 1, 1)
        assert 0 < found[ADD]["run_p50"] <= found[ADD]["run_p99"]
        assert sum(found[ADD]["ended"]) == 3

    await eventually(is_counted)
    text = await shown(dashboard, "/functions?sort=failed&find=work")
    assert text.index(FAIL) < text.index(ADD)
    assert "v12" in text
    assert "No function matches" in await shown(dashboard, "/functions?find=nothing")
    text = await shown(dashboard, f"/functions/{FAIL}")
    assert failing.job_id in text
    assert 'data-chart="run"' in text
    assert "Deployed: " in text
    assert "It did not run in this time" in await shown(dashboard, "/functions/no.such:thing")
    chart = (await dashboard.get(f"/api/metrics/series?function={FAIL}")).json()
    assert [each["version"] for each in chart["deploys"]] == ["v12"]
    assert {point["failed"] for point in chart["points"]} == {0, 1}
    lately = await shown(dashboard, "/")
    assert "Changed in the last hour" in lately
    assert "mark-deploy" in lately
    assert (await dashboard.post("/api/deploys", json={"version": ""})).status_code == 400
    assert (await dashboard.post("/api/deploys", json={"version": "x" * 99})).status_code == 400


@pytest.mark.parametrize("path", ["/", "/errors", f"/functions/{FAIL}"])
async def test_where_not_all_dead_jobs_were_looked_at_it_does_not_say_that_there_are_none(
    path: str, dashboard: Client, queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    await queue.enqueue(work.add, 1)
    assert "No dead jobs" in await shown(dashboard, path)

    async def cut_short(*_: object) -> JobPage:
        return JobPage(jobs=[], cursor="1.0", scanned=123)

    monkeypatch.setattr(search, "list_jobs", cut_short)

    async def says_so() -> None:  # what was read before is kept for a moment
        text = await shown(dashboard, path)
        assert "No dead jobs" not in text
        assert "None of the 123 searched so far." in text

    await eventually(says_so)


async def test_a_job_tells_its_course_and_is_enqueued_again(dashboard: Client, queue: Queue, naq_worker: WorkerRunner) -> None:
    first = await queue.options(max_retries=2, retry_delay=0.01, tags=["vip"]).enqueue(work.fail, "boom")
    await naq_worker.run_until_idle()
    assert await first.status() is JobState.DEAD
    text = await shown(dashboard, f"/jobs/{first.job_id}")
    assert [f"Attempt {number}: ValueError" in text for number in (1, 2, 3)] == [True] * 3
    assert "Waits for attempt 2" in text
    assert "as attempt 2" in text  # the third failed like the second
    form = await shown(dashboard, f"/new-job?like={first.job_id}")
    assert ">[\n  &#34;boom&#34;\n]</textarea>" in form
    assert 'value="vip"' in form
    assert 'value="2"' in form
    made = {
        "function": FAIL,
        "arguments": '["again"]',
        "tags": "vip",
        "max_retries": "0",
        "_csrf_token": await token_of(dashboard),
    }
    answer = await dashboard.post("/do/enqueue-job", data=made, headers=BROWSER | {"Accept": "application/json"})
    assert answer.status_code == 200, answer.text
    refused = await dashboard.post("/api/jobs", json={"function": ADD, "kwargs": {"password": "•••"}})
    assert (refused.status_code, "hidden value" in refused.json()["detail"]) == (400, True)
    order = {"function": "tests.integration.work:anything", "queue": "idle", "kwargs": {"password": "x1y2"}}
    hidden = (await dashboard.post("/api/jobs", json=order)).json()["job_id"]
    text = await shown(dashboard, f"/new-job?like={hidden}")
    assert "must be typed again" in text
    assert "x1y2" not in text


async def test_a_cancelled_job_can_be_put_back_where_nothing_was_done(dashboard: Client, queue: Queue) -> None:
    async def cancel(job_id: str, was: str) -> bool:
        form = {"job_id": job_id, "was": was, "_csrf_token": await token_of(dashboard)}
        answer = await dashboard.post("/do/cancel-job", data=form, headers=BROWSER | {"Accept": "application/json"})
        return "undo" in answer.json()

    assert await cancel((await queue.enqueue(work.add, 1)).job_id, "queued")
    assert not await cancel((await queue.options(delay=60).enqueue(work.add, 1)).job_id, "held")


async def test_a_queue_is_paused_until_a_time_of_day_in_the_zone_of_the_page(dashboard: Client, queue: Queue) -> None:
    await queue.enqueue(work.add, 1)
    form = {"queue": "default", "duration": "18:00", "tz": "Asia/Tokyo", "_csrf_token": await token_of(dashboard)}
    answer = await dashboard.post("/do/pause-queue", data=form, headers=BROWSER | {"Accept": "application/json"})
    assert " 18:00:00 JST" in answer.json()["notice"]
    until = (await dashboard.get("/api/queues/default")).json()["paused_until"]
    assert until.partition("T")[2] == "09:00:00Z"
    refused = await dashboard.post("/api/queues/default/pause", json={"duration": "2001-01-01"})
    assert refused.status_code == 400
    found = await shown(dashboard, "/jobs?q=since:2001-01-01T09:00&tz=Asia/Tokyo")
    assert "2001-01-01 09:00:00 JST" in found


async def test_a_range_of_a_schedule_is_backfilled_once(dashboard: Client, queue: Queue) -> None:
    await queue.schedule(work.add, 1, interval=timedelta(hours=1), schedule_id="hourly")
    since = (datetime.now(UTC) - timedelta(hours=5, minutes=1)).isoformat()
    text = await shown(dashboard, f"/schedules/hourly?since={since.replace('+', '%2B')}")
    assert "<b>6</b> times" in text
    assert "Enqueue 6 runs" in text
    assert "at most" not in text
    told = [(await dashboard.post("/api/schedules/hourly/backfill", json={"since": since})).json()["notice"] for _ in range(2)]
    assert told == ["6 runs enqueued.", "0 runs enqueued. 6 of 6 times had a job already."]
    assert (await dashboard.get("/api/jobs/count?schedule=hourly")).json()["count"] == 6
    history = await shown(dashboard, "/schedules/hourly")
    assert "backfilled \N{MULTIPLICATION SIGN} 6" in history
    for wrong in ({}, {"since": "1h", "until": "2h"}, {"since": "2001-01-01"}):
        assert (await dashboard.post("/api/schedules/hourly/backfill", json=wrong)).status_code == 400


async def test_running_jobs_are_listed_by_how_long_they_run(dashboard: Client, queue: Queue, naq_worker: WorkerRunner) -> None:
    async with naq_worker.running() as worker:
        jobs = [await queue.enqueue(work.sleep, 30)]

        async def is_running() -> None:
            assert await jobs[-1].status() is JobState.RUNNING

        await eventually(is_running)
        jobs.append(await queue.enqueue(work.sleep, 30))
        await eventually(is_running)
        newest = await shown(dashboard, "/jobs?state=running")
        oldest = await shown(dashboard, "/jobs?state=running&sort=longest")
        first, second = (f'id="j-{job.job_id}"' for job in jobs)
        assert newest.index(second) < newest.index(first)
        assert oldest.index(first) < oldest.index(second)
        worker.stop_now()


async def test_a_worker_that_was_killed_while_idle_leaves_a_trace(dashboard: Client, naq_connection: Connection) -> None:
    assert (await dashboard.get("/api/workers")).json() == []
    told = {"worker_id": "w-1", "host": "node-7", "pid": 12, "queues": ["mail"], "running": {}, "at": naq_connection.clock.now()}
    await note_worker(naq_connection, told)
    await note_worker(naq_connection, told | {"worker_id": "w-2"}, has_ended=True)
    found = {each["name"]: each for each in (await dashboard.get("/api/attention")).json() if each["kind"] == "worker-gone"}
    assert found.keys() == {"w-1"}
    assert "node-7" in found["w-1"]["advice"]
    text = await shown(dashboard, "/workers")
    assert text.index("Ended within a day") < text.index("w-1")
    assert "vanished" in text
    assert "stopped" in text
    assert "node-7" in await shown(dashboard, "/workers/w-1")


async def test_a_worker_notes_that_it_has_stopped(dashboard: Client, naq_worker: WorkerRunner) -> None:
    async with naq_worker.running() as worker:

        async def has_beaten() -> None:
            assert worker.worker_id in {each["worker_id"] for each in (await dashboard.get("/api/workers")).json()}

        await eventually(has_beaten)
        assert worker._life is not None
        keepalive = worker._life._keepalive
        keepalive.beat_soon()

        async def is_noted() -> None:
            assert keepalive._beats > 1

        await eventually(is_noted)
    text = await shown(dashboard, "/workers")
    assert worker.worker_id in text.partition("Ended within a day")[2]
