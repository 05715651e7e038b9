"""Charts and Prometheus show what workers have stored."""

import re

from naq_client import Queue
from naq_core.testing import WorkerRunner
from tests.dashboard.conftest import Client
from tests.integration import work


async def test_series_and_prometheus_agree(dashboard: Client, queue: Queue, naq_worker: WorkerRunner) -> None:
    for _ in range(4):
        await queue.enqueue(work.add, 1, 1)
    await queue.options(max_retries=0).enqueue(work.fail, "x")
    await naq_worker.run_until_idle()
    await queue.enqueue(work.add, 1, 1)
    series = (await dashboard.get("/api/metrics/series?hours=1&queue=default")).json()
    assert sum(point["succeeded"] for point in series["points"]) == 4
    answer = await dashboard.get("/metrics")
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert answer.headers["content-type"].startswith("text/plain")
    text = answer.text
    found = re.search(
        r'^naq_jobs_finished_total\{queue="default",task="[^"]*add",outcome="succeeded"\} (\d+)$', text, re.MULTILINE
    )
    assert found is not None
    assert found[1] == "4"
    assert 'naq_queue_depth{queue="default",state="waiting"} 1' in text
    assert 'naq_queue_depth{queue="default",state="dead"} 1' in text
    assert re.search(r'^naq_job_duration_seconds_bucket\{queue="default",task="[^"]*add",le="\+Inf"\} 4$', text, re.MULTILINE)


async def test_every_line_is_of_the_format(dashboard: Client, queue: Queue, naq_worker: WorkerRunner) -> None:
    await queue.enqueue(work.add, 1, 1)
    await naq_worker.run_until_idle()
    line = re.compile(r'(# (HELP|TYPE) \w+ .+|\w+(\{(\w+="(\\.|[^"\\])*",?)+\})? -?[\d.e+]+)')
    for each in (await dashboard.get("/metrics")).text.splitlines():
        assert line.fullmatch(each), each


async def test_wrong_ranges_are_refused(dashboard: Client) -> None:
    for hours in ("0", "73", "x", "-1", "nan"):
        assert (await dashboard.get(f"/api/metrics/series?hours={hours}")).status_code == 400, hours
    assert (await dashboard.get("/?range=nonsense")).status_code == 200
