"""Errors, transactions and check-ins of jobs, with the SDK of Sentry."""

import asyncio
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sentry_sdk

from naq_client import Queue, chain
from naq_core import Job, JobCancelledError, JobFailedError, Settings, inspect, manage
from naq_core.middleware import Timing
from naq_core.schedules import make_named_spec
from naq_core.schedules.store import put_schedule, trigger_schedule
from naq_core.telemetry.sentry import Sentry, monitor_schedule
from tests.conftest import RunWorker
from tests.support import sentried, traced

SLOW = 60.0
HERE = "tests.support.traced"


@pytest.fixture
def kept() -> Iterator[sentried.Kept]:
    transport = sentried.Kept()
    sentried.start(transport)
    with sentry_sdk.isolation_scope():
        yield transport
    sentried.stop()


@pytest.fixture
def naq_settings(naq_settings: Settings, kept: sentried.Kept) -> Settings:
    return dataclasses.replace(naq_settings, middleware=(Sentry(),))


def of_type(kept: sentried.Kept, name: str) -> list[dict[str, Any]]:
    return [each for each in kept.sent if each["type"] == name]


def events(kept: sentried.Kept) -> list[dict[str, Any]]:
    return of_type(kept, "event")


def crumbs(event: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the breadcrumbs of NAQ; log lines are breadcrumbs too, where another test has set a level."""
    return [each for each in event["breadcrumbs"]["values"] if each["category"] == "naq"]


async def fails(queue: Queue, run_worker: RunWorker, job: Job[Any], **options: Any) -> None:
    async with run_worker(**options):
        with pytest.raises(JobFailedError):
            await job.result(SLOW)


@pytest.mark.parametrize("function", [traced.fail, traced.fail_async])
async def test_a_failed_job_is_one_error_with_its_stack(
    function: Any, kept: sentried.Kept, queue: Queue, run_worker: RunWorker
) -> None:
    job = await queue.options(tags=["vip"]).enqueue(function)
    await fails(queue, run_worker, job)
    (event,) = events(kept)
    (error,) = event["exception"]["values"]
    assert (error["type"], error["value"], error["mechanism"]) == ("ValueError", "boom", {"type": "naq", "handled": False})
    assert [frame["function"] for frame in error["stacktrace"]["frames"]] == [function.__name__]
    assert (event["transaction"], event["transaction_info"]) == (job.function_name, {"source": "task"})
    assert event["tags"] == {"naq.job_id": job.job_id, "naq.queue": "default", "naq.attempt": "1"}
    context = event["contexts"]["naq"]
    assert (context["function"], context["max_attempts"], context["tags"]) == (job.function_name, 1, ["vip"])
    assert [crumb["message"] for crumb in crumbs(event)] == ["enqueued on default"]


async def test_a_job_that_is_retried_is_reported_when_it_fails_for_good(
    kept: sentried.Kept, queue: Queue, run_worker: RunWorker
) -> None:
    options = queue.options(max_retries=1, retry_delay=0.01)
    good, bad = await options.enqueue(traced.flaky), await options.enqueue(traced.fail)
    async with run_worker():
        assert await good.result(SLOW) == 2
        with pytest.raises(JobFailedError):
            await bad.result(SLOW)
    (event,) = events(kept)
    assert event["tags"]["naq.attempt"] == "2"
    assert event["exception"]["values"][0]["value"] == "boom"


async def test_errors_that_are_retried_are_reported_on_demand(
    kept: sentried.Kept, settings: Settings, queue: Queue, run_worker: RunWorker
) -> None:
    job = await queue.options(max_retries=1, retry_delay=0.01).enqueue(traced.flaky)
    async with run_worker(settings=dataclasses.replace(settings, middleware=(Sentry(retries=True),))):
        assert await job.result(SLOW) == 2
    (event,) = events(kept)
    assert event["exception"]["values"][0]["value"] == "not yet"


async def test_a_time_out_is_an_error_at_the_place_where_it_came(
    kept: sentried.Kept, queue: Queue, run_worker: RunWorker
) -> None:
    await fails(queue, run_worker, await queue.options(timeout=0.05).enqueue(traced.stay))
    (event,) = events(kept)
    error = event["exception"]["values"][-1]
    assert error["type"] == "AttemptTimeoutError"
    assert error["stacktrace"]["frames"][0]["function"] == "stay"
    (done,) = of_type(kept, "transaction")
    assert done["contexts"]["trace"]["status"] == "deadline_exceeded"


@pytest.mark.parametrize(("what", "status"), [("retry", "aborted"), ("snooze", "aborted"), ("cancel", "cancelled")])
async def test_what_a_job_asks_for_is_no_error(
    what: str, status: str, kept: sentried.Kept, queue: Queue, run_worker: RunWorker
) -> None:
    job = await queue.options(max_retries=1).enqueue(traced.ask, what)
    async with run_worker():
        if what == "cancel":
            with pytest.raises(JobCancelledError):
                await job.result(SLOW)
        else:
            await job.result(SLOW)
    assert events(kept) == []
    assert of_type(kept, "transaction")[0]["contexts"]["trace"]["status"] == status


@pytest.mark.parametrize("function", [traced.here, traced.here_in_a_thread])
async def test_an_attempt_is_a_transaction_that_continues_the_trace(
    function: Any, kept: sentried.Kept, queue: Queue, run_worker: RunWorker
) -> None:
    with sentry_sdk.start_transaction(name="request"):
        job = await queue.options(headers={"baggage": "tenant=ada"}).enqueue(function)
        flow = await chain(queue.s(function), queue.s(traced.after)).enqueue(queue)
    headers = (await inspect.get_job(await queue.connection(), job.job_id)).headers
    assert headers["baggage"].startswith("tenant=ada,sentry-")
    async with run_worker():
        await job.result(SLOW)
        await flow.result(SLOW)
    request, *done = of_type(kept, "transaction")
    trace = request["contexts"]["trace"]["trace_id"]
    publish, _ = (span for span in request["spans"] if span["op"] == "queue.publish")
    assert [each["contexts"]["trace"]["trace_id"] for each in done] == [trace] * 3
    (own,) = (each for each in done if each["contexts"]["naq"]["job_id"] == job.job_id)
    assert own["contexts"]["trace"]["parent_span_id"] == publish["span_id"]
    assert (own["transaction"], own["contexts"]["trace"]["op"]) == (job.function_name, "queue.process")
    assert own["contexts"]["trace"]["status"] == "ok"


async def test_an_enqueue_leaves_a_breadcrumb(kept: sentried.Kept, queue: Queue) -> None:
    job = await queue.enqueue(traced.here)
    await queue.enqueue_many([queue.call(traced.here), queue.call(traced.here)])
    sentry_sdk.capture_message("later")
    (event,) = events(kept)
    first, second = crumbs(event)
    assert (first["message"], first["data"]) == (f"enqueue of {HERE}:here on default", {"job_ids": [job.job_id]})
    assert second["message"] == "enqueue of 2 jobs on default"


async def test_a_schedule_checks_in(kept: sentried.Kept, queue: Queue, run_worker: RunWorker) -> None:
    connection = await queue.connection()
    jobs: list[Job[Any]] = []
    for name in ("here", "fail"):
        spec = make_named_spec(f"{HERE}:{name}", cron="30 9 * * mon-fri", timezone="Europe/Berlin", schedule_id=f"The-{name}")
        await put_schedule(connection, spec)
        jobs.append(await queue.job(await trigger_schedule(connection, spec.schedule_id)))
    async with run_worker():
        await jobs[0].result(SLOW)
        with pytest.raises(JobFailedError):
            await jobs[1].result(SLOW)
    checks = of_type(kept, "check_in")
    assert sorted((each["monitor_slug"], each["status"]) for each in checks) == [
        ("the-fail", "error"),
        ("the-fail", "in_progress"),
        ("the-here", "in_progress"),
        ("the-here", "ok"),
    ]
    assert len({each["check_in_id"] for each in checks}) == 2
    config = {"schedule": {"type": "crontab", "value": "30 9 * * mon-fri"}, "timezone": "Europe/Berlin"}
    assert [each.get("monitor_config") for each in checks if each["status"] == "in_progress"] == [config] * 2


async def test_every_firing_begins_a_trace(kept: sentried.Kept, queue: Queue) -> None:
    connection = await queue.connection()
    await put_schedule(connection, make_named_spec(f"{HERE}:here", cron="@daily", schedule_id="s"))
    await put_schedule(connection, make_named_spec(f"{HERE}:here", cron="@daily", schedule_id="t"))
    ids = [await trigger_schedule(connection, each) for each in ("s", "t")]
    headers = [(await inspect.get_job(connection, each)).headers for each in ids]
    assert len({each["sentry-trace"].split("-")[0] for each in headers}) == 2


async def test_a_requeue_keeps_the_headers(kept: sentried.Kept, queue: Queue, run_worker: RunWorker) -> None:
    connection = await queue.connection()
    job = await queue.enqueue(traced.fail)
    await fails(queue, run_worker, job)
    headers = (await inspect.get_job(connection, job.job_id)).headers
    await manage.retry_job(connection, job.job_id)
    assert (await inspect.get_job(connection, job.job_id)).headers == headers


async def test_a_child_process_reports_its_job(
    kept: sentried.Kept, settings: Settings, queue: Queue, run_worker: RunWorker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NAQ_TEST_SENTRY", str(tmp_path / "sent"))
    job = await queue.options(process=True).enqueue(traced.fail)
    settings = dataclasses.replace(settings, middleware=("tests.support.sentried:middleware",))
    await fails(queue, run_worker, job, settings=settings)
    lines = await asyncio.to_thread((tmp_path / "sent").read_text, "utf-8")
    event, done = (json.loads(line) for line in lines.splitlines())
    assert [frame["function"] for frame in event["exception"]["values"][0]["stacktrace"]["frames"]] == ["fail"]
    assert done["transaction"] == job.function_name
    assert events(kept) == []
    logs = (await inspect.get_job(await queue.connection(), job.job_id)).logs
    assert list(logs) == []  # of the SDK's own


@pytest.mark.parametrize(
    ("timing", "expected"),
    [
        (Timing("@daily", None, "UTC"), {"type": "crontab", "value": "@daily"}),
        (Timing("*/5 * * * * *", None, "UTC"), None),
        (Timing(None, 7200.0, "UTC"), {"type": "interval", "value": 2, "unit": "hour"}),
        (Timing(None, 90.0, "UTC"), None),
    ],
)
def test_what_sentry_has_no_words_for_is_no_monitor(timing: Timing, expected: object) -> None:
    assert monitor_schedule(timing) == expected
