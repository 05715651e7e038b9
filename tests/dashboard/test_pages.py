"""What pages and the API show of real jobs."""

import re
from typing import Any

import pytest

from naq_client import Queue
from tests.conftest import RunWorker
from tests.dashboard.conftest import Client
from tests.integration import work
from tests.support.eventually import eventually

PAGE = {"Accept": "text/html"}


async def shown(client: Client, path: str) -> str:
    answer = await client.get(path, headers=PAGE)
    assert answer.status_code == 200, answer.text[:2000]
    return str(answer.text)


async def run_all(run_worker: RunWorker, *queues: str) -> None:
    """Run what waits, until a burst worker has left."""
    async with run_worker(*queues or ("default",), burst=True):
        pass


@pytest.fixture
async def failed(queue: Queue, run_worker: RunWorker) -> Any:
    """Let a job fail for good."""
    job = await queue.options(max_retries=0).enqueue(work.fail, "the printer burns")
    await run_all(run_worker)
    return job


@pytest.mark.parametrize("path", ["/", "/queues", "/jobs", "/errors", "/delayed", "/schedules", "/workflows", "/workers", "/events"])
async def test_pages_have_something_to_say_when_there_is_nothing(dashboard: Client, path: str) -> None:
    assert "<h1>" in await shown(dashboard, path)


async def test_a_queue_is_shown_with_what_waits(dashboard: Client, queue: Queue) -> None:
    for number in range(3):
        await queue.enqueue(work.add, number, 1)
    assert (await dashboard.get("/api/queues/default")).json()["waiting"] == 3
    text = await shown(dashboard, "/queues/default")
    assert "naq-worker-default" in text
    assert text.count('id="j-') == 3
    assert 'href="/queues/default"' in await shown(dashboard, "/queues")


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


async def test_a_failed_job_tells_why(dashboard: Client, failed: Any) -> None:
    text = await shown(dashboard, f"/jobs/{failed.job_id}")
    assert "Failed for good" in text
    assert "the printer burns" in text
    assert "Traceback" in text
    seen = (await dashboard.get(f"/api/jobs/{failed.job_id}")).json()
    assert (seen["state"], seen["errors"][-1]["message"]) == ("dead", "the printer burns")


async def test_failures_are_grouped(dashboard: Client, queue: Queue, run_worker: RunWorker) -> None:
    for number in range(3):
        await queue.options(max_retries=0).enqueue(work.fail, f"order {number} is lost")
    await run_all(run_worker)
    groups = (await dashboard.get("/api/errors")).json()
    assert [(each["count"], each["queues"]) for each in groups] == [(3, ["default"])]
    assert "1 cause" in await shown(dashboard, "/errors")


async def test_secrets_are_hidden_everywhere(dashboard: Client, queue: Queue) -> None:
    job = await queue.enqueue(work.echo, password="hunter2", note="fine")
    for path in (f"/jobs/{job.job_id}", "/jobs", f"/api/jobs/{job.job_id}", "/api/jobs"):
        text = (await dashboard.get(path)).text
        assert "hunter2" not in text, path
        assert "fine" in text, path


async def test_a_result_is_shown_as_its_worker_wrote_it(dashboard: Client, queue: Queue, run_worker: RunWorker) -> None:
    job = await queue.enqueue(work.add, 40, 2)
    await run_all(run_worker)
    assert ">42</pre>" in await shown(dashboard, f"/jobs/{job.job_id}")


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
        ("/stream/nothing", 404),
    ],
)
async def test_what_cannot_be_asked_is_said_plainly(dashboard: Client, path: str, status: int) -> None:
    for accept in (PAGE, {"Accept": "application/json"}):
        answer = await dashboard.get(path, headers=accept)
        assert answer.status_code == status, answer.text[:500]
        assert "Traceback" not in answer.text


async def test_an_open_page_learns_of_a_new_job_within_half_a_second(dashboard: Client, queue: Queue) -> None:
    board = dashboard.app.state.naq_dashboard
    await shown(dashboard, "/jobs")
    from naq_dashboard.handlers import BY_NAME  # noqa: PLC0415 - the stream behind the page, without a browser
    from naq_dashboard.pages.page import Query  # noqa: PLC0415 - as above

    assert BY_NAME["jobs"].load is not None
    loads = 0

    async def load() -> dict[str, str]:
        nonlocal loads
        loads += 1
        found = await BY_NAME["jobs"].load(board, Query((), _nobody()))
        return {"live-list": ",".join(job.job_id for job in found["found"].jobs)}

    board.feed.start()
    frames = board.live.stream("test", load)
    await anext(frames)
    job = await queue.enqueue(work.add, 1, 1)

    async def told() -> None:
        frame = await anext(frames)
        assert job.job_id in str(frame.data)

    await eventually(told)
    await frames.aclose()


def _nobody() -> Any:
    from naq_dashboard import VIEWER, Viewer  # noqa: PLC0415 - only here

    return Viewer("", VIEWER)
