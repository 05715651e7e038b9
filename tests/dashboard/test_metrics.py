"""Charts and Prometheus show what workers and clients have counted."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeAlias

import pytest
import yaml
from prometheus_client import Metric
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families as parsed

from naq_client import Queue
from naq_core import JobState
from naq_core.settings import Settings
from naq_core.testing import WorkerRunner
from naq_dashboard.api.prometheus import Facts
from naq_scheduler import Scheduler
from tests.dashboard.conftest import Client, OpenDashboard
from tests.integration import work
from tests.support.eventually import eventually

ADD, FAIL = "tests.integration.work:add", "tests.integration.work:fail"
MONITORING = Path(__file__).parents[2] / "docs" / "monitoring"

Samples: TypeAlias = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def samples_of(families: Iterable[Metric]) -> Samples:
    return {(each.name, tuple(sorted(each.labels.items()))): each.value for family in families for each in family.samples}


def value(samples: Samples, name: str, **labels: str) -> float:
    return samples[name, tuple(sorted(labels.items()))]


async def ask(dashboard: Client) -> Samples:
    return samples_of(parsed((await dashboard.get("/metrics")).text))


async def ask_until(dashboard: Client, count: float, name: str, **labels: str) -> Samples:
    """Ask until the server has added what was sent to it."""

    async def told() -> Samples:
        samples = await ask(dashboard)
        assert samples.get((name, tuple(sorted(labels.items())))) == count
        return samples

    return await eventually(told)


async def test_series_and_prometheus_agree(dashboard: Client, queue: Queue, naq_worker: WorkerRunner) -> None:
    for _ in range(4):
        await queue.enqueue(work.add, 1, 1)
    await queue.options(max_retries=0).enqueue(work.fail, "x")
    await naq_worker.run_until_idle()
    await queue.enqueue(work.add, 1, 1)
    (await queue.connection()).tally.flush()
    series = (await dashboard.get("/api/metrics/series?hours=1&queue=default")).json()
    assert sum(point["succeeded"] for point in series["points"]) == 4
    assert sum(point["started"] for point in series["points"]) == 5
    of_add = {"queue": "default", "task": ADD}
    await ask_until(dashboard, 1, "naq_job_duration_seconds_count", queue="default", task=FAIL)  # what is sent last
    samples = await ask_until(dashboard, 5, "naq_jobs_enqueued_total", **of_add)
    assert value(samples, "naq_jobs_started_total", **of_add) == 4
    assert value(samples, "naq_jobs_finished_total", outcome="succeeded", **of_add) == 4
    assert value(samples, "naq_jobs_finished_total", outcome="timed_out", **of_add) == 0
    assert value(samples, "naq_jobs_finished_total", outcome="failed", queue="default", task=FAIL) == 1
    for histogram in ("naq_job_duration_seconds", "naq_job_wait_seconds"):
        assert value(samples, f"{histogram}_bucket", le="+Inf", **of_add) == 4
        assert value(samples, f"{histogram}_bucket", le="3600.0", **of_add) == 4
        assert value(samples, f"{histogram}_count", **of_add) == 4
        assert value(samples, f"{histogram}_sum", **of_add) > 0
    for state, count in {"queued": 1, "dead": 1, "held": 0, "running": 0}.items():
        assert value(samples, "naq_queue_depth", queue="default", state=state) == count
    assert value(samples, "naq_queue_oldest_job_age_seconds", queue="default") > 0
    assert value(samples, "naq_queue_waiting_for_key", queue="default") == 0


async def test_counters_survive_the_dashboard(open_dashboard: OpenDashboard, queue: Queue, naq_worker: WorkerRunner) -> None:
    await queue.enqueue(work.add, 1, 1)
    await naq_worker.run_until_idle()
    async with open_dashboard() as first, open_dashboard() as second:
        for dashboard in (first, second):
            of_add = {"queue": "default", "task": ADD}
            await ask_until(dashboard, 1, "naq_jobs_finished_total", outcome="succeeded", **of_add)


async def test_workers_schedulers_and_queues_have_gauges(dashboard: Client, queue: Queue, naq_worker: WorkerRunner) -> None:
    assert value(await ask(dashboard), "naq_scheduler_leader") == 0
    await queue.schedule(work.add, 1, interval=3600)
    scheduler = Scheduler(settings=queue.settings)
    async with asyncio.TaskGroup() as group, naq_worker.running(concurrency=3) as worker:
        group.create_task(scheduler.run())
        job = await queue.enqueue(work.sleep, 30)

        async def runs() -> None:
            assert await job.status() is JobState.RUNNING

        await eventually(runs)
        await queue.pause()

        async def all_told() -> Samples:
            samples = await ask(dashboard)
            assert value(samples, "naq_scheduler_leader") == 1
            assert value(samples, "naq_queue_paused", queue="default") == 1
            assert value(samples, "naq_jobs_in_progress", queue="default") == 1
            return samples

        samples = await eventually(all_told)
        assert value(samples, "naq_worker_slots", worker=worker.worker_id) == 3
        assert value(samples, "naq_worker_last_heartbeat_timestamp_seconds", worker=worker.worker_id) > 1.7e9
        assert value(samples, "naq_nats_reconnects_total", client=worker.worker_id) == 0
        assert value(samples, "naq_nats_reconnects_total", client="dashboard") == 0
        assert value(samples, "naq_queue_workers", queue="default") == 1
        scheduler.stop()
        worker.stop_now()


async def test_schedules_count_what_they_fired(dashboard: Client, queue: Queue) -> None:
    await queue.schedule(work.add, 1, interval=0.1, max_runs=2)
    scheduler = Scheduler(settings=queue.settings)
    async with asyncio.TaskGroup() as group:
        group.create_task(scheduler.run())

        async def all_fired() -> None:
            assert scheduler.metrics.count("fired") == 2

        await eventually(all_fired)
        scheduler.stop()
    await ask_until(dashboard, 2, "naq_scheduler_fired_total", queue="default", task=ADD)
    await ask_until(dashboard, 2, "naq_jobs_enqueued_total", queue="default", task=ADD)
    own = samples_of(parsed(scheduler.metrics.text(scheduler_leader=0)))
    assert value(own, "naq_scheduler_fired_total", queue="default", task=ADD) == 2
    assert value(own, "naq_nats_reconnects_total") == 0
    assert value(own, "naq_scheduler_lateness_seconds_count") == 2


async def test_names_that_hurt_are_escaped(dashboard: Client, queue: Queue) -> None:
    name = 'evil:a"b\\c\nd{x="1"} 7'
    connection = await queue.connection()
    await queue.enqueue(work.add, 1)
    connection.tally.add("default", name, "started", 7)
    await connection.tally.finish()
    await ask_until(dashboard, 7, "naq_jobs_started_total", queue="default", task=name)


async def test_open_metrics_is_spoken_to_those_who_ask(dashboard: Client, queue: Queue, naq_worker: WorkerRunner) -> None:
    await queue.enqueue(work.add, 1, 1)
    await naq_worker.run_until_idle()
    plain = await dashboard.get("/metrics")
    assert plain.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    await ask_until(dashboard, 1, "naq_jobs_finished_total", queue="default", task=ADD, outcome="succeeded")
    answer = await dashboard.get("/metrics", headers={"accept": "application/openmetrics-text;version=1.0.0,text/plain;q=0.5"})
    assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    told = openmetrics.text_string_to_metric_families(answer.text)  # type: ignore[no-untyped-call]  # it has no types
    samples = samples_of(told)
    assert value(samples, "naq_jobs_finished_total", queue="default", task=ADD, outcome="succeeded") == 1


@pytest.mark.parametrize("accept", ["application/openmetrics-text; version=abc", "text/plain; version=1;;=,q=x", "/", ","])
async def test_who_asks_for_nonsense_gets_a_format_that_exists(dashboard: Client, accept: str) -> None:
    answer = await dashboard.get("/metrics", headers={"Accept": accept})
    assert answer.status_code == 200
    # prometheus-client 0.22 ignores a version that it does not understand; later ones fail, and NAQ takes the plain text.
    assert answer.headers["content-type"].startswith(("text/plain", "application/openmetrics-text; version=1.0.0"))


async def test_who_may_not_look_may_not_scrape_and_a_token_may(open_dashboard: OpenDashboard) -> None:
    async with open_dashboard(read_token="scrape" * 5) as dashboard:
        assert (await dashboard.get("/metrics")).status_code == 401
        bearer = {"authorization": f"Bearer {'scrape' * 5}"}
        assert (await dashboard.get("/metrics", headers=bearer)).status_code == 200


async def test_without_nats_there_is_no_answer_that_could_be_taken_for_one(open_dashboard: OpenDashboard) -> None:
    async with open_dashboard(Settings.load(nats_url="nats://127.0.0.1:1", publish_budget="0.5s")) as dashboard:
        assert (await dashboard.get("/metrics")).status_code == 503


def families() -> set[str]:
    """Every name that a dashboard gives, whatever it has to say."""
    nothing = Facts(
        problems=[], now=0.0, counters={}, queues=[], workers=[], schedules=0, has_leader=False, reconnects=0, streams=0
    )
    names = set()
    for family in nothing.collect():
        endings = {"counter": ["_total"], "histogram": ["_bucket", "_sum", "_count"]}.get(family.type, [""])
        names |= {f"{family.name}{ending}" for ending in endings}
    return names


def expressions(document: Any) -> Iterable[str]:
    """Every query of a board or of a file of rules; a variable of data sources has none."""
    if isinstance(document, dict):
        for key, each in document.items():
            if key in {"expr", "query"} and isinstance(each, str) and each != "prometheus":
                yield each
            yield from expressions(each)
    elif isinstance(document, list):
        for each in document:
            yield from expressions(each)


@pytest.mark.parametrize("file", ["grafana.json", "alerts.yml"])
def test_boards_and_alerts_ask_for_names_that_exist(file: str) -> None:
    text = (MONITORING / file).read_text(encoding="utf-8")
    found = list(expressions(json.loads(text) if file.endswith("json") else yaml.safe_load(text)))
    assert len(found) >= 6
    known = families()
    for expression in found:
        assert expression.count("(") == expression.count(")"), expression
        names = set(re.findall(r"\bnaq_\w+", expression))
        assert names, expression
        assert names <= known, expression


def test_the_documentation_has_all_names() -> None:
    text = (MONITORING.parent / "monitoring.md").read_text(encoding="utf-8")
    for name in families():
        plain = re.sub(r"_(bucket|sum|count)$", "", name)
        assert f"`{plain}" in text, plain
    assert {each for each in re.findall(r"`(naq_\w+)", text) if each.startswith("naq_")} >= {"naq_jobs_finished_total"}


def test_every_alert_says_what_it_is_about() -> None:
    document = yaml.safe_load((MONITORING / "alerts.yml").read_text(encoding="utf-8"))
    rules = [rule for group in document["groups"] for rule in group["rules"]]
    assert len({rule["alert"] for rule in rules}) == len(rules) >= 6
    for rule in rules:
        assert rule["labels"]["severity"] in {"warning", "critical"}
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["description"]


async def test_wrong_ranges_are_refused(dashboard: Client) -> None:
    for hours in ("0", "73", "x", "-1", "nan"):
        assert (await dashboard.get(f"/api/metrics/series?hours={hours}")).status_code == 400, hours
    assert (await dashboard.get("/?range=nonsense")).status_code == 200
