"""Spans and metrics of jobs, with the SDK of OpenTelemetry."""

import asyncio
import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import baggage, context
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, StatusCode

from naq_client import Queue, chain
from naq_core import Job, JobCancelledError, JobFailedError, Settings, inspect, manage
from naq_core.schedules import make_named_spec
from naq_core.schedules.store import put_schedule, trigger_schedule
from naq_core.views import JobFilter
from naq_scheduler import Scheduler
from tests.conftest import RunWorker
from tests.support import traced
from tests.support.eventually import eventually

SLOW = 60.0
HERE = "tests.support.traced"


@pytest.mark.parametrize(("module", "package"), [("otel", "opentelemetry"), ("sentry", "sentry_sdk"), ("structlog", "structlog")])
def test_a_package_that_is_missing_is_named(module: str, package: str) -> None:
    """And nothing imports it unasked."""
    code = f"""
import sys
import naq_client, naq_core.layers, naq_worker
assert not [name for name in sys.modules if name.startswith(({package!r}, "naq_core.telemetry"))]
sys.modules[{package!r}] = None
naq_core.layers.load(["naq_core.telemetry.{module}:{module}"], "NAQ_MIDDLEWARE")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert re.search(r"cannot be imported: ImportError: \S+ is not installed: pip install \S+", done.stderr)


@pytest.fixture
def recorded(request: pytest.FixtureRequest) -> traced.Recorded:
    return traced.Recorded(parent=getattr(request, "param", False))


@pytest.fixture
def naq_settings(naq_settings: Settings, recorded: traced.Recorded) -> Settings:
    return dataclasses.replace(naq_settings, middleware=(recorded.middleware,))


def ids(span: ReadableSpan) -> tuple[str, str]:
    found = span.get_span_context()
    assert found is not None
    return f"{found.trace_id:032x}", f"{found.span_id:016x}"


def links(span: ReadableSpan) -> list[tuple[str, str]]:
    return [(f"{link.context.trace_id:032x}", f"{link.context.span_id:016x}") for link in span.links]


def shown(span: ReadableSpan) -> dict[str, Any]:
    return {name.removeprefix("messaging."): value for name, value in (span.attributes or {}).items()}


async def has_spans(recorded: traced.Recorded, name: str, count: int) -> list[ReadableSpan]:
    """Wait for spans: the last one of a job ends with its attempt, before its record."""

    async def are_there() -> None:
        assert len(recorded.spans(name)) == count

    await eventually(are_there, SLOW)
    return recorded.spans(name)


@pytest.mark.parametrize("recorded", [False, True], indirect=True, ids=["link", "parent"])
@pytest.mark.parametrize("function", [traced.here, traced.here_in_a_thread])
async def test_an_attempt_is_linked_to_its_enqueue_or_its_child(
    function: Any, recorded: traced.Recorded, queue: Queue, run_worker: RunWorker
) -> None:
    tracer = recorded.tracers.get_tracer("test")
    token = context.attach(baggage.set_baggage("tenant", "ada"))
    try:
        with tracer.start_as_current_span("request") as request:
            job = await queue.enqueue(function)
    finally:
        context.detach(token)
    async with run_worker():
        result = await job.result(SLOW)
    (sent,) = recorded.spans("enqueue default")
    (done,) = recorded.spans("process default")
    assert result == [*ids(done), "ada"]
    assert (sent.kind, done.kind) == (SpanKind.PRODUCER, SpanKind.CONSUMER)
    assert sent.parent is not None
    assert sent.parent.span_id == request.get_span_context().span_id
    if recorded.middleware.parent:
        assert done.parent is not None
        assert (ids(done)[0], done.parent.span_id) == (ids(sent)[0], sent.context.span_id)
        assert links(done) == []
    else:
        assert (done.parent, links(done)) == (None, [ids(sent)])
        assert ids(done)[0] != ids(sent)[0]
    common = {"system": "nats", "destination.name": "default", "message.id": job.job_id, "naq.task.name": job.function_name}
    assert shown(sent) == {**common, "operation.name": "enqueue", "operation.type": "send"}
    process = {"operation.name": "process", "operation.type": "process", "naq.job.attempt": 1, "naq.job.outcome": "succeeded"}
    assert shown(done) == {**common, **process}
    assert (sent.status.status_code, done.status.status_code) == (StatusCode.UNSET, StatusCode.UNSET)


@pytest.mark.parametrize("function", [traced.here, traced.here_in_a_process])
async def test_a_child_process_sends_the_span_of_its_attempt(
    function: Any,
    recorded: traced.Recorded,
    settings: Settings,
    queue: Queue,
    run_worker: RunWorker,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("NAQ_TEST_SPANS", str(tmp_path / "spans"))
    job = await queue.options(process=True).enqueue(function)
    async with run_worker(settings=dataclasses.replace(settings, middleware=(f"{HERE}:to_file",))):
        result = await job.result(SLOW)
    (line,) = (tmp_path / "spans").read_text(encoding="utf-8").splitlines()
    span = json.loads(line)
    assert (span["name"], span["kind"]) == ("process default", "SpanKind.CONSUMER")
    assert result == [span["context"]["trace_id"][2:], span["context"]["span_id"][2:], "None"]
    (sent,) = recorded.spans("enqueue default")
    (link,) = span["links"]
    assert (link["context"]["trace_id"][2:], link["context"]["span_id"][2:]) == ids(sent)


async def test_each_attempt_of_a_retried_job_has_a_span(recorded: traced.Recorded, queue: Queue, run_worker: RunWorker) -> None:
    job = await queue.options(max_retries=1, retry_delay=0.01).enqueue(traced.flaky)
    async with run_worker():
        assert await job.result(SLOW) == 2
    (sent,) = recorded.spans("enqueue default")
    first, second = recorded.spans("process default")
    assert links(first) == links(second) == [ids(sent)]
    assert [shown(span)["naq.job.attempt"] for span in (first, second)] == [1, 2]
    assert [shown(span)["naq.job.outcome"] for span in (first, second)] == ["retried", "succeeded"]
    assert (first.status.status_code, first.status.description) == (StatusCode.ERROR, "ValueError: not yet")
    assert shown(first)["error.type"] == "ValueError"
    (event,) = first.events
    assert 'raise ValueError("not yet")' in str((event.attributes or {})["exception.stacktrace"])
    assert (second.status.status_code, list(second.events)) == (StatusCode.UNSET, [])


@pytest.mark.parametrize("process", [False, True])
async def test_the_last_attempt_is_the_one_that_has_failed(
    process: bool,
    recorded: traced.Recorded,
    settings: Settings,
    queue: Queue,
    run_worker: RunWorker,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    options = queue.options(max_retries=1, retry_delay=0.01, retry_on=[ValueError], process=process)
    jobs: list[Job[Any]] = [await options.enqueue(each) for each in (traced.fail, traced.fail_hard)]
    monkeypatch.setenv("NAQ_TEST_SPANS", str(tmp_path / "spans"))
    middleware = (f"{HERE}:to_file",) if process else (recorded.middleware,)
    async with run_worker(settings=dataclasses.replace(settings, middleware=middleware)):
        for job in jobs:
            with pytest.raises(JobFailedError):
                await job.result(SLOW)
    if process:
        spans = [json.loads(line) for line in (tmp_path / "spans").read_text(encoding="utf-8").splitlines()]
        found = [(each["attributes"]["error.type"], each["attributes"]["naq.job.outcome"]) for each in spans]
    else:
        done = [shown(span) for span in recorded.spans("process default")]
        found = [(each["error.type"], each["naq.job.outcome"]) for each in done]
    assert sorted(found) == [("OSError", "failed"), ("ValueError", "failed"), ("ValueError", "retried")]


@pytest.mark.parametrize(("what", "outcome"), [("retry", "retried"), ("snooze", "snoozed"), ("cancel", "cancelled")])
async def test_what_a_job_asks_for_is_no_error(
    what: str, outcome: str, recorded: traced.Recorded, queue: Queue, run_worker: RunWorker
) -> None:
    job = await queue.options(max_retries=1).enqueue(traced.ask, what)
    async with run_worker():
        if what == "cancel":
            with pytest.raises(JobCancelledError):
                await job.result(SLOW)
        else:
            assert await job.result(SLOW) == what
    span = recorded.spans("process default")[0]
    assert shown(span)["naq.job.outcome"] == outcome
    assert (span.status.status_code, list(span.events)) == (StatusCode.UNSET, [])


async def test_a_time_out_is_an_error_and_a_cancellation_is_not(
    recorded: traced.Recorded, queue: Queue, run_worker: RunWorker
) -> None:
    late = await queue.options(timeout=0.05).enqueue(traced.stay)
    async with run_worker():
        with pytest.raises(JobFailedError, match="AttemptTimeoutError"):
            await late.result(SLOW)
        (span,) = recorded.spans("process default")
        assert shown(span)["naq.job.outcome"] == "timed_out"
        assert shown(span)["error.type"] == "naq_core.errors.AttemptTimeoutError"
        assert span.status.description is not None
        assert "exceeded its timeout of 0.05 s" in span.status.description
        unwanted = await queue.enqueue(traced.stay)

        async def runs() -> None:
            assert (await inspect.get_job(await queue.connection(), unwanted.job_id)).state == "running"

        await eventually(runs, SLOW)
        await unwanted.cancel()
        _, span = await has_spans(recorded, "process default", 2)
    assert shown(span)["naq.job.outcome"] == "interrupted"
    assert span.status.status_code is StatusCode.UNSET


async def test_a_chain_is_created_by_one_enqueue(recorded: traced.Recorded, queue: Queue, run_worker: RunWorker) -> None:
    handle = await chain(queue.s(traced.here), queue.s(traced.after)).enqueue(queue)
    async with run_worker():
        await handle.result(SLOW)
    created = recorded.spans("create default")
    (sent,) = recorded.spans("enqueue default")
    done = recorded.spans("process default")
    assert (sent.kind, {span.kind for span in created}) == (SpanKind.CLIENT, {SpanKind.PRODUCER})
    assert links(sent) == [ids(span) for span in created]
    assert [links(span) for span in done] == [[ids(span)] for span in created]
    assert shown(sent)["batch.message_count"] == 2
    assert {shown(span)["message.conversation_id"] for span in (*created, sent, *done)} == {handle.workflow_id}


async def test_a_large_batch_has_one_span(recorded: traced.Recorded, queue: Queue) -> None:
    await queue.enqueue_many([queue.call(traced.here) for _ in range(1001)])
    (sent,) = recorded.spans("enqueue default")
    assert (sent.kind, shown(sent)["batch.message_count"], recorded.spans("create default")) == (SpanKind.PRODUCER, 1001, [])
    page = await inspect.list_jobs(await queue.connection(), JobFilter())
    assert {tuple(job.headers["traceparent"].split("-")[1:3]) for job in page.jobs} == {ids(sent)}


async def test_every_firing_of_a_schedule_begins_a_trace(recorded: traced.Recorded, settings: Settings, queue: Queue) -> None:
    stored = {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01", "tracestate": "x=1", "mine": "1"}
    connection = await queue.connection()
    spec = make_named_spec(f"{HERE}:here", interval=0.2, schedule_id="s", options={"headers": stored})
    await put_schedule(connection, spec)
    scheduler = Scheduler(settings=settings)

    async def has_fired() -> None:
        assert len(recorded.spans("enqueue default")) >= 2

    async with asyncio.TaskGroup() as group:
        with recorded.tracers.get_tracer("test").start_as_current_span("program"):
            running = group.create_task(scheduler.run())
        await eventually(has_fired, SLOW)
        scheduler.stop()
        await asyncio.wait([running])
    sent = recorded.spans("enqueue default")
    traces = {ids(span)[0] for span in sent}
    assert len(traces) == len(sent)
    assert "a" * 32 not in traces
    assert all(span.parent is None and shown(span)["naq.schedule.id"] == "s" for span in sent)
    jobs = (await inspect.list_jobs(connection, JobFilter())).jobs
    assert {job.headers["traceparent"].split("-")[1] for job in jobs} <= traces
    assert all("tracestate" not in job.headers and job.headers["mine"] == "1" for job in jobs)


async def test_a_firing_by_hand_links_to_who_asked_for_it(recorded: traced.Recorded, queue: Queue) -> None:
    connection = await queue.connection()
    await put_schedule(connection, make_named_spec(f"{HERE}:here", cron="@daily", schedule_id="s"))
    with recorded.tracers.get_tracer("test").start_as_current_span("request") as request:
        await trigger_schedule(connection, "s")
    (sent,) = recorded.spans("enqueue default")
    assert (sent.parent, sent.links[0].context) == (None, request.get_span_context())


async def test_a_requeue_keeps_the_context_of_the_job(recorded: traced.Recorded, queue: Queue, run_worker: RunWorker) -> None:
    connection = await queue.connection()
    job = await queue.enqueue(traced.fail)
    async with run_worker():
        with pytest.raises(JobFailedError):
            await job.result(SLOW)
        headers = (await inspect.get_job(connection, job.job_id)).headers
        await manage.retry_job(connection, job.job_id)
        done = await has_spans(recorded, "process default", 2)
    assert (await inspect.get_job(connection, job.job_id)).headers == headers
    (sent,) = recorded.spans("enqueue default")
    (again,) = recorded.spans("requeue default")
    assert [links(span) for span in (again, *done)] == [[ids(sent)]] * 3


async def test_an_enqueue_that_fails_is_an_error(recorded: traced.Recorded, queue: Queue) -> None:
    options = queue.options(unique="k")
    await options.enqueue(traced.here)
    with pytest.raises(Exception, match="exists"):
        await options.enqueue(traced.here)
    assert [span.status.status_code for span in recorded.spans("enqueue default")] == [StatusCode.UNSET, StatusCode.ERROR]


async def test_headers_of_the_caller_are_the_parent_outside_of_a_trace(recorded: traced.Recorded, queue: Queue) -> None:
    given = {"traceparent": f"00-{'a' * 32}-{'b' * 16}-01"}
    await queue.options(headers=given).enqueue(traced.here)
    (sent,) = recorded.spans("enqueue default")
    assert sent.parent is not None
    assert (ids(sent)[0], f"{sent.parent.span_id:x}") == ("a" * 32, "b" * 16)


async def test_what_is_too_long_for_a_header_is_left_out(recorded: traced.Recorded, queue: Queue) -> None:
    token = context.attach(baggage.set_baggage("tenant", "x" * 9000))
    try:
        job = await queue.enqueue(traced.here)
    finally:
        context.detach(token)
    assert set((await inspect.get_job(await queue.connection(), job.job_id)).headers) == {"traceparent"}


async def test_metrics_have_the_names_of_the_conventions(recorded: traced.Recorded, queue: Queue, run_worker: RunWorker) -> None:
    jobs: list[Job[Any]] = [await queue.enqueue(each) for each in (traced.here, traced.here, traced.fail)]
    async with run_worker():
        for job in jobs[:2]:
            await job.result(SLOW)
        with pytest.raises(JobFailedError):
            await jobs[2].result(SLOW)
    system = {"messaging.system": "nats", "messaging.destination.name": "default"}
    send = {**system, "messaging.operation.name": "enqueue"}
    assert recorded.points("messaging.client.sent.messages") == [(send, 3)]
    assert recorded.points("messaging.client.operation.duration") == [({**send, "messaging.operation.type": "send"}, 3)]
    process = {**system, "messaging.operation.name": "process"}
    good = {**process, "naq.task.name": f"{HERE}:here"}
    bad = {**process, "naq.task.name": f"{HERE}:fail", "error.type": "ValueError"}
    consumed = recorded.points("messaging.client.consumed.messages")
    assert sorted(consumed, key=str) == sorted([(good, 2), (bad, 1)], key=str)
    durations = recorded.points("messaging.process.duration")
    expected = [({**good, "naq.job.outcome": "succeeded"}, 2), ({**bad, "naq.job.outcome": "failed"}, 1)]
    assert sorted(durations, key=str) == sorted(expected, key=str)
